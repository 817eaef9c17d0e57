"""Text becomes rows: lines, paragraphs, chunks of n characters, code lines of Python files.

A unit is a name and a function from text to pieces; every piece keeps the characters of its source. What a
unit leaves out (blank lines, comments, the text of docstrings) it leaves out whole; it never rewrites.
"""

from __future__ import annotations

import ast
import re
import threading
import warnings
from collections.abc import Callable, Iterable
from typing import Literal, get_args

Unit = Literal["files", "lines", "paragraphs", "chunks", "statements"]
UNITS: tuple[Unit, ...] = get_args(Unit)

CHUNK_CHARS = 1000
# A statement shorter than this says nothing ("try:", "return"); a longer line is mostly data.
STATEMENT_CHARS = (10, 120)
# Above this many lines a block, blank lines are accidents and not what divides the text.
PARAGRAPH_LINES = 50

_COMMENT, _TEXT = "\x01", "\x02"
# Just enough of Python's lexer to know where comments and strings are. It never fails: an unclosed triple
# quote runs to the end of the file, an unclosed single one to the end of its line.
_TOKEN = re.compile(
    r"""
      \#[^\n]*
    | \"\"\"(?:[^"\\]|\\.|"(?!""))*(?:\"\"\"|\Z)
    | '''(?:[^'\\]|\\.|'(?!''))*(?:'''|\Z)
    | "(?:[^"\\\n]|\\.)*"?
    | '(?:[^'\\\n]|\\.)*'?
    """,
    re.X | re.S,
)
_NOT_CODE = re.compile(rf"\s*(?:{_COMMENT}|[rRbBuUfFtT]{{0,2}}{_TEXT}|\Z)")
_parsing = threading.Lock()


def lines(text: str) -> list[str]:
    """The lines that are not blank, without the white space at their ends."""
    return [line.rstrip() for line in _unix(text).split("\n") if line.strip()]


def paragraphs(text: str) -> list[str]:
    """The blocks between blank lines."""
    return [
        block.strip("\n") for block in re.split(r"\n[^\S\n]*(?:\n[^\S\n]*)+", _unix(text)) if block.strip()
    ]


def chunks(text: str, size: int = CHUNK_CHARS) -> list[str]:
    """Pieces of `size` characters, the last one shorter; put together they are the text again."""
    return [text[start : start + size] for start in range(0, len(text), size)]


def statements(text: str) -> list[str]:
    """The code lines of a Python file as they stand, stripped: parts of longer statements are among them.

    Comments, blank lines, docstrings and the inside of other triple-quoted strings are left out, and lines
    outside of `STATEMENT_CHARS`. Works on files that do not parse.
    """
    text = _unix(text).replace(_COMMENT, " ").replace(_TEXT, " ")
    marked = _TOKEN.sub(_mark, text)
    shortest, longest = STATEMENT_CHARS
    found = []
    for line, shape in zip(text.split("\n"), marked.split("\n"), strict=True):
        line = line.strip()
        if shortest <= len(line) <= longest and not _NOT_CODE.match(shape):
            found.append(line)
    return found


def parses_python(text: str) -> bool:
    """Whether `ast.parse` accepts the text as it stands. An empty text says nothing and does not count."""
    return parse_all([text])[0]


def parse_all(texts: Iterable[str | None]) -> list[bool]:
    """`parses_python` of each text; one thread at a time, since filters of warnings are the process's."""
    with _parsing, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [_parses(text) for text in texts]


def parses_json(text: str | None) -> bool:
    """Whether the text is one JSON value."""
    import json

    try:
        json.loads(text or "")
    except (ValueError, RecursionError):
        return False
    return True


def choose_unit(name: str, text: str) -> Unit:
    """The unit that suits a text: by its name for Python, else by how its blank lines divide it."""
    if name.endswith((".py", ".pyi")):
        return "statements"
    blocks = paragraphs(text)
    filled = sum(1 for line in text.split("\n") if line.strip())
    return "paragraphs" if len(blocks) > 1 and filled / len(blocks) <= PARAGRAPH_LINES else "lines"


def pieces(text: str, unit: Unit, size: int = CHUNK_CHARS) -> list[str]:
    """The rows of a text."""
    if unit == "chunks":
        return chunks(text, size)
    return _SPLITTERS[unit](text)


def _whole(text: str) -> list[str]:
    return [text] if text.strip() else []


_SPLITTERS: dict[str, Callable[[str], list[str]]] = {
    "files": _whole,
    "lines": lines,
    "paragraphs": paragraphs,
    "statements": statements,
}


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _mark(token: re.Match[str]) -> str:
    """Show in the shape of the file which lines begin in a comment or in a triple-quoted string."""
    found = token[0]
    if found[0] == "#":
        return _COMMENT
    if found[:3] in ('"""', "'''"):
        return _TEXT + ("\n" + _TEXT) * found.count("\n")
    return found


def _parses(text: str | None) -> bool:
    if not text or not text.strip():
        return False
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # Null bytes are a ValueError in some versions; too deep a nesting is one of the other two.
        return False
    return True
