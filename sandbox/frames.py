"""The host's end of the kernel's protocol: JSON lines of which nothing is trusted."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import IO, Any

FRAME_LIMIT = 8 << 20
"""Longest frame in bytes, in both directions; a longer one is dropped."""

KINDS = frozenset({"ready", "call", "output", "done"})

# In JSON's spelling: an escaped backslash or a whole surrogate pair (kept), or half a pair.
_HALVES = re.compile(
    r"""(\\\\|\\u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2})|\\u[dD][89a-fA-F][\da-fA-F]{2}"""
)


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
    words = line.decode("utf-8", "replace")
    if "\\ud" in words or "\\uD" in words:
        # Half a surrogate pair passes JSON, but no terminal, file or database takes it.
        words = _HALVES.sub(lambda found: found[1] or r"\ufffd", words)
    try:
        frame = json.loads(words)
    except (ValueError, RecursionError):
        return None
    if not isinstance(frame, dict) or not isinstance(kind := frame.get("type"), str) or kind not in KINDS:
        return None
    if frame["type"] != "ready" and type(frame.get("id")) is not int:
        return None
    return frame


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
