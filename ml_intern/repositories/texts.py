"""What is in a file: text, a notebook, or something that no reader takes."""

from __future__ import annotations

import re

from ml_intern.errors import ToolError
from ml_intern.repositories.notebooks import notebook_text

_POINTER = b"version https://git-lfs.github.com/spec/"
_MARKS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig"))


class NoText(ToolError):
    """A file that cannot be shown."""


def text_of(path: str, data: bytes) -> tuple[str, str]:
    """A file's text, and a remark on it.

    Raises:
        NoText: It is binary, or only a pointer lies in git.
    """
    if data.startswith(_POINTER):
        size = re.search(rb"\nsize (\d+)", data[:500])
        bytes_ = f" of {int(size[1]):,} bytes" if size else ""
        raise NoText(
            f"{path} is kept in Git LFS: git holds a pointer to a file{bytes_}.",
            "Read the code that uses it.",
        )
    for mark, charset in _MARKS:
        if data.startswith(mark):
            return data.decode(charset, "replace"), ""
    if b"\0" in data[:8192]:
        raise NoText(f"{path} is binary ({len(data):,} bytes).", "Only text is shown.")
    if path.lower().endswith(".ipynb"):
        try:
            return notebook_text(data), "A notebook: the sources of its cells; lines count in this text."
        except ValueError as error:
            return data.decode("utf-8", "replace"), f"Shown as it stands: {error}."
    return data.decode("utf-8", "replace"), ""


def lines_in(text: str) -> list[str]:
    """Lines as GitHub counts them: a form feed, say, ends none."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def has_anchors(path: str) -> bool:
    """Whether lines of the shown text are the lines of the file."""
    return not path.lower().endswith(".ipynb")


def with_lines(url: str, path: str, first: int, last: int) -> str:
    """A page's URL with its lines marked; pages that GitHub renders have lines in their plain form only."""
    if not has_anchors(path):
        return url
    plain = "?plain=1" if re.search(r"\.(md|markdown|mdx|rst|adoc|org)$", path, re.I) else ""
    return f"{url}{plain}#L{first}-L{last}" if last > first else f"{url}{plain}#L{first}"
