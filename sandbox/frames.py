"""The host's end of the kernel's protocol: JSON lines of which nothing is trusted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import IO, Any

FRAME_LIMIT = 8 << 20
"""Longest frame in bytes, in both directions; a longer one is dropped."""

KINDS = frozenset({"ready", "call", "output", "done"})


def encode(frame: dict[str, Any]) -> bytes:
    """One frame as a line."""
    return json.dumps(frame).encode() + b"\n"


def read_frames(stream: IO[bytes], dropped: Callable[[], None]) -> Iterator[dict[str, Any]]:
    """The well-formed frames of a stream, until it ends.

    Args:
        stream: The kernel's standard output.
        dropped: Called for each line that is too long or is no frame.
    """
    while line := stream.readline(FRAME_LIMIT + 1):
        if len(line) > FRAME_LIMIT and not line.endswith(b"\n"):
            _skip_line(stream)
            dropped()
            continue
        frame = decode(line)
        if frame is None:
            dropped()
        else:
            yield frame


def decode(line: bytes) -> dict[str, Any] | None:
    """A frame that has a known type and, but for `ready`, a whole number as id; otherwise nothing."""
    try:
        frame = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(frame, dict) or frame.get("type") not in KINDS:
        return None
    if frame["type"] != "ready" and type(frame.get("id")) is not int:
        return None
    # Half a surrogate pair passes JSON, but no terminal, file or database takes it.
    cleaned: dict[str, Any] = _clean(frame) if b"\\ud" in line.lower() else frame
    return cleaned


def text(value: Any, limit: int) -> str:
    """A field that ought to be text, bounded; nothing where it is something else."""
    return value[:limit] if isinstance(value, str) else ""


def texts(value: Any, names: int, limit: int) -> dict[str, str]:
    """A field that ought to be a dict of texts, bounded in both directions."""
    if not isinstance(value, dict):
        return {}
    return {k[:limit]: v[:limit] for k, v in list(value.items())[:names] if isinstance(v, str)}


def _skip_line(stream: IO[bytes]) -> None:
    while (rest := stream.readline(1 << 16)) and not rest.endswith(b"\n"):
        pass


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return value
