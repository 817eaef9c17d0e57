"""What came of a call, as a client reads it."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import mcp_types as types

from ml_intern.agent import strangers
from ml_intern.mcp_server.declarations import RESULT, wraps
from ml_intern.router.calls import Outcome
from ml_intern.sandbox.kernel import brief
from ml_intern.secrets.masking import mask, mask_all

if TYPE_CHECKING:
    from ml_intern.mcp_server.running import Running

LONGEST = 60_000
"""Characters of a result that are sent as text; our own tools page long before."""


def answered(running: Running, outcome: Outcome) -> types.CallToolResult:
    """The result of a call."""
    if not outcome.ok:
        return failed(outcome.message, outcome.hint)
    spec = running.session.router.specs.get(running.name)
    value = finite(mask_all(outcome.value))
    shown = brief(value, spec.quiet) if spec is not None and spec.quiet else value
    text = value if isinstance(value, str) else json.dumps(shown, ensure_ascii=False, default=str)
    notes = [again(running)] if running.repeated else []
    if strangers.speaks(running.name, spec.origin if spec else None):
        notes += strangers.told([running.name])
    told = [paged(running, text), *notes]
    return types.CallToolResult(
        content=[types.TextContent(text=part) for part in told],
        structured_content=_structured(running, value),
    )


def failed(message: str, hint: str = "") -> types.CallToolResult:
    """An error that the assistant reads: what is wrong, and what to do."""
    text = mask("\n".join(filter(None, [message, hint])))
    return types.CallToolResult(content=[types.TextContent(text=text)], is_error=True)


def again(running: Running) -> str:
    """What is said where a call of before was looked after instead of being made."""
    return (
        f"This is what came of the same call to {running.name} before the server was started again; "
        "it was not done a second time."
    )


def paged(running: Running, text: str) -> str:
    """The text; of one that is too long the beginning, and where the whole is."""
    if len(text) <= LONGEST:
        return text
    from ml_intern.workspace.safe_files import write_file

    workspace = running.session.workspace
    path = workspace / "results" / f"{running.source}.txt"
    path.parent.mkdir(exist_ok=True)
    write_file(workspace, path, text.encode("utf-8", "replace"))
    more = f"{len(text) - LONGEST:,} characters more"
    return f"{text[:LONGEST]}\n… {more}: read_file({str(path)!r}) reads it, a page at a time."


def _structured(running: Running, value: Any) -> dict[str, Any] | None:
    spec = running.session.router.specs.get(running.name)
    if spec is not None and wraps(spec):
        return {RESULT: value}
    return value if isinstance(value, dict) else None


def finite(value: Any) -> Any:
    """The value with null for what JSON has no number for."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list) else value
