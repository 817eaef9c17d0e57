"""What a server answers, as small JSON-able values."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ml_intern.errors import ToolError
from ml_intern.outside.words import one_line
from ml_intern.secrets.masking import mask_all

if TYPE_CHECKING:
    from mcp_types import CallToolResult

    from ml_intern.context import ToolContext

LONGEST_VALUE = 100_000
"""Characters of a result that come back into the cell; what is longer goes to a file in the workspace."""
LONGEST_ERROR = 600


def read_result(result: CallToolResult, tool: str, speaker: str) -> Any:
    """The value of a call, credentials hidden: the structured content, else the text, else a list of parts.

    Raises:
        ToolError: The server says that the call failed.
    """
    if result.is_error:
        said = " ".join(getattr(part, "text", "") for part in result.content)
        words = one_line(said, LONGEST_ERROR) or "it failed, without a word why."
        raise ToolError(f"{tool} failed; {speaker} says: {words}")
    if result.structured_content is not None:
        value = result.structured_content
        return mask_all(value["result"] if isinstance(value, dict) and [*value] == ["result"] else value)
    parts = [_part(part) for part in result.content]
    return mask_all(parts[0] if len(parts) == 1 else parts or None)


def _part(part: Any) -> Any:
    if part.type == "text":
        return _text(part.text)
    if part.type in ("image", "audio"):
        return _note(part.type, part.mime_type, part.data)
    if part.type == "resource":
        inner = part.resource
        if hasattr(inner, "text"):
            return {"uri": str(inner.uri), "text": inner.text}
        return _note("file", inner.mime_type, inner.blob) | {"uri": str(inner.uri)}
    return part.model_dump(mode="json", by_alias=True, exclude_none=True)


def _text(text: str) -> Any:
    """Text that is a JSON object or list comes back as one."""
    if text.lstrip()[:1] not in ("{", "["):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _note(kind: str, mime: str | None, data: str) -> dict[str, Any]:
    size = len(data) * 3 // 4 - data[-2:].count("=")
    return {"kind": kind, "mime_type": mime, "bytes": size, "note": "not text, so it was left out"}


def keep_small(value: Any, ctx: ToolContext, tool: str) -> Any:
    """The value, or where it is long, a file in the workspace that holds it.

    Raises:
        ToolError: It is nested deeper than JSON goes.
    """
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError):
        raise ToolError(f"{tool} sent a result that is no JSON.") from None
    if len(text) <= LONGEST_VALUE:
        return value
    from ml_intern.workspace.safe_files import write_file

    ending = "txt" if isinstance(value, str) else "json"
    path = ctx.files.writable(f"outside/{tool}-{ctx.call}.{ending}")
    write_file(ctx.files.workspace, path, text.encode("utf-8", "replace"))
    return {"file": str(path), "characters": len(text), "begins": text[:2000]}
