"""Looks for credentials in what is about to be published: what has left cannot be taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from ml_intern.errors import ToolError
from ml_intern.secrets.masking import holds_known_secret, holds_secret

BLOCK = 1 << 20
OVERLAP = 4096
"""Longer than any credential, so that none hides on the border of two blocks."""
DATA = frozenset({".jsonl", ".csv", ".tsv"})
"""Rows may talk about passwords and headers; in them only what can be nothing else counts."""
MOST_NAMED = 5


def refuse_credentials(folder: Path) -> None:
    """Look into every text file of a folder.

    Raises:
        ToolError: Some hold a credential; says which and at which line.
    """
    found = [
        f"{path.relative_to(folder)} (line {line})"
        for path in sorted(folder.rglob("*"))
        if path.is_file() and (line := _first_line(path))
    ]
    if found:
        more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
        raise ToolError(
            f"Not published: there is a credential in {', '.join(found[:MOST_NAMED])}{more}.",
            "Take it out, and change it where it was given: it has been in a file.",
        )


def _first_line(path: Path) -> int:
    """The line of the first credential in a text file; 0 where there is none, or where it is no text."""
    judge = holds_known_secret if path.suffix in DATA else holds_secret
    lines = 0
    for kept, text in _blocks(path):
        if judge(text):
            return lines + _line_in(text, judge)
        lines += text.count("\n", 0, len(text) - kept)
    return 0


def _blocks(path: Path) -> Iterator[tuple[int, str]]:
    """A file's text in blocks; each begins with the end of the one before. With how much comes again."""
    with path.open("rb") as file:
        before = b""
        while data := file.read(BLOCK):
            if not before and b"\0" in data[:8192]:
                return
            whole = before + data
            before = whole[-OVERLAP:]
            kept = before.decode("utf-8", "replace")
            yield len(kept), whole[: -len(before)].decode("utf-8", "replace") + kept


def _line_in(text: str, judge: Callable[[str], bool]) -> int:
    """The line at whose end the first credential is there, found by halving."""
    lines = text.splitlines(keepends=True)
    low, high = 1, len(lines)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if judge("".join(lines[:middle])) else (middle + 1, high)
    return low
