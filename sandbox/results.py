"""What is told of a cell at its end: from the kernel's last frame, or in place of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from ml_intern.sandbox.cell import Cell, CellResult
from ml_intern.sandbox.frames import text, texts


def finished(cell: Cell, done: dict[str, Any], why: str, lost: str, output_chars: int) -> CellResult:
    """The result of a cell whose kernel said that it is done. The kernel is not believed: all is bounded.

    Args:
        cell: The cell.
        done: The kernel's last frame about it.
        why: Why it was asked to stop; nothing where it was not.
        lost: What a restart of the kernel before the cell lost.
        output_chars: A cell's text is whole up to here.
    """
    error = text(done.get("error"), 40_000)
    if why and error.startswith("KeyboardInterrupt"):
        error += f"\nThe cell was stopped: {why}. Variables are as the cell left them."
    return CellResult(
        ok=done.get("ok") is True,
        output=text(done.get("output"), 4 * output_chars + 1000),
        value=text(done.get("value"), 20_000),
        error=error,
        final=done.get("final") is True,
        answer=text(done.get("answer"), 1 << 20),
        variables=texts(done.get("variables"), 200, 200),
        seconds=time.monotonic() - cell.began,
        lost=lost,
        stopped_s=None if cell.stop_asked is None else cell.stop_asked - cell.began,
        stopped_chars=cell.chars_at_stop,
    )


def told_loss(known: Sequence[str], saved: Sequence[str]) -> str:
    """What a restart of the kernel lost of its variables, and what survived."""
    gone = [name for name in known if name not in saved]
    told = "The kernel was restarted."
    if saved:
        told += f" Survived: {_listed(saved)}."
    return told + (
        f" Lost: {_listed(gone)}." if gone else "" if saved else " There were no variables to lose."
    )


def shortened(whole: str, limit: int) -> str:
    """A long text's head and tail."""
    if len(whole) <= limit:
        return whole
    half = limit // 2
    return f"{whole[:half]}\n… {len(whole) - 2 * half} characters left out …\n{whole[-half:]}"


def _listed(names: Sequence[str], limit: int = 30) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
