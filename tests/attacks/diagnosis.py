"""What everybody was doing when a kernel did not start: the threads of the host, and the processes behind it."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

BEHIND = ("e2b_inside", "kernel.py", "nsenter", "bwrap", "docker")
"""A word of these stands on the command line of each process that a kernel's start goes through."""


def diagnosis(channel: Any = None) -> str:
    """As text.

    Args:
        channel: E2B's link, where there is one.
    """
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = [f"load {os.getloadavg()}"]
    for ident, frame in sys._current_frames().items():
        last = traceback.format_list(traceback.extract_stack(frame)[-5:])
        parts.append(f"thread {names.get(ident)}:\n{''.join(last)}")
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            line = (entry / "cmdline").read_text().replace("\0", " ")
            if any(word in line for word in BEHIND):
                parts.append(f"process {entry.name} {_state(entry)}: {line[:160]}")
    if channel is not None:
        told = {**vars(channel), **{f"out.{name}": value for name, value in vars(channel._out).items()}}
        parts += [f"{name} = {str(value)[:200]}" for name, value in told.items()]
    return "\n".join(parts)


def _state(entry: Path) -> str:
    told = []
    for task in (entry / "task").iterdir():
        with suppress(OSError):
            state = (task / "stat").read_text().rpartition(")")[2].split()[0]
            told.append(
                f"{state} {(task / 'wchan').read_text()} {(task / 'syscall').read_text().strip()[:60]}"
            )
    return "; ".join(told)
