"""Replacing a passage of a text that a language model quoted, perhaps not quite right.

The passage is looked for as it stands; then with each small inaccuracy that models make allowed: spaces at
line ends, curly quotes, another indentation. What was allowed is told, and more than one place is an error,
never a guess.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Literal

from ml_intern.errors import ToolError

How = Literal["replace", "all", "before", "after"]

CURLY = str.maketrans(
    dict.fromkeys("‘’‚‛", "'") | dict.fromkeys("“”„‟", '"') | dict.fromkeys("–—−", "-") | {"\u00a0": " "}
)
"""One character for one, so that places in the plain text are places in the original."""


@dataclass(frozen=True)
class Edit:
    """What an edit did: the new text, the places, the first line touched, and what was allowed."""

    text: str
    places: int
    line: int
    note: str = ""


@dataclass(frozen=True)
class _Match:
    start: int
    end: int
    indent: tuple[str, str] = ("", "")
    """Prefix to take from each line of the new text, and the one to put there."""


def edit(text: str, old: str, new: str, how: How = "replace") -> Edit:
    """Replace a passage, or put text before or after it.

    Args:
        text: The whole text.
        old: The passage, exactly once in the text unless `how` is "all"; part of a line will do.
        new: What comes in its place, or beside it.
        how: "replace" the one place, "all" places, or put `new` "before" or "after" the one place.

    Raises:
        ToolError: The passage is empty, not there, or there more than once; or nothing would change.
    """
    if not old:
        raise ToolError("The passage to look for is empty.", "write_file writes a whole file.")
    if "\r\n" in text and "\r\n" not in old:
        old, new = old.replace("\n", "\r\n"), new.replace("\r\n", "\n").replace("\n", "\r\n")
    matches, note = _find(text, old)
    if not matches:
        raise ToolError("The passage is not in the file.", _nearest(text, old))
    if len(matches) > 1 and how != "all":
        lines = ", ".join(str(_line(text, m.start)) for m in matches[:10])
        raise ToolError(
            f"The passage is there {len(matches)} times (lines {lines}).",
            'Quote more of its surroundings, or say how="all".',
        )
    changed = text
    for match in reversed(matches):
        changed = (
            changed[: match.start]
            + _put(text[match.start : match.end], new, match, how)
            + changed[match.end :]
        )
    if changed == text:
        raise ToolError("The edit changes nothing: old and new are the same.")
    return Edit(changed, len(matches), _line(text, matches[0].start), note)


def _find(text: str, old: str) -> tuple[list[_Match], str]:
    """All places of the passage, with the fewest inaccuracies allowed that give any."""
    exact = [_Match(m.start(), m.end()) for m in re.finditer(re.escape(old), text)]
    if exact:
        return exact, ""
    plain, plain_old = text.translate(CURLY), old.translate(CURLY)
    tries = (
        (text, old, _loose_ends, "spaces at line ends"),
        (plain, plain_old, _as_is, "curly quotes or dashes"),
        (plain, plain_old, _loose_ends, "curly quotes or dashes, and spaces at line ends"),
        (text, old, _any_indent, "the indentation"),
        (plain, plain_old, _any_indent, "the indentation, and curly quotes or dashes"),
    )
    for where, what, search, difference in tries:
        if found := search(where, what):
            return found, f"Found although {difference} differed."
    return [], ""


def _as_is(text: str, old: str) -> list[_Match]:
    return [_Match(m.start(), m.end()) for m in re.finditer(re.escape(old), text)]


def _loose_ends(text: str, old: str) -> list[_Match]:
    if not old.strip():
        return []
    lines = [re.escape(line.rstrip()) for line in old.split("\n")]
    return [_Match(m.start(), m.end()) for m in re.finditer(r"[ \t]*\r?\n".join(lines), text)]


def _any_indent(text: str, old: str) -> list[_Match]:
    """Whole lines whose indentation differs from the passage's by the same prefix on each line."""
    lines = old.strip("\r\n").split("\n")
    if not any(line.strip() for line in lines):
        return []
    patterns = [rf"([ \t]*){re.escape(line.strip())}" if line.strip() else r"([ \t]*)" for line in lines]
    found = []
    for m in re.finditer(r"^" + r"[ \t]*\r?\n".join(patterns), text, re.M):
        shift = {_shift(line, m[i + 1]) for i, line in enumerate(lines) if line.strip()}
        if len(shift) == 1 and (prefix := shift.pop()) is not None:
            found.append(_Match(m.start(), m.end(), prefix))
    return found


def _shift(line: str, indent: str) -> tuple[str, str] | None:
    """How a quoted line's indentation becomes the file's: a prefix less or a prefix more."""
    quoted = line[: len(line) - len(line.lstrip(" \t"))]
    if indent.endswith(quoted):
        return "", indent[: len(indent) - len(quoted)]
    if quoted.endswith(indent):
        return quoted[: len(quoted) - len(indent)], ""
    return (quoted, indent) if "\t" in quoted + indent else None


def _put(found: str, new: str, match: _Match, how: How) -> str:
    less, more = match.indent
    if less or more:
        # The passage was matched as whole lines; so is what comes in its place.
        new = "\n".join(
            more + line.removeprefix(less) if line.strip() else line for line in new.strip("\n").split("\n")
        )
    if how == "before":
        return f"{new}\n{found}" if less or more else new + found
    if how == "after":
        return f"{found}\n{new}" if less or more else found + new
    return new


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _nearest(text: str, old: str) -> str:
    """The line most like the passage's first, so that the next try quotes it right."""
    first = next((line.strip() for line in old.splitlines() if line.strip()), "")
    lines = text.splitlines()[:20_000]
    close = difflib.get_close_matches(first, [line.strip() for line in lines], n=1, cutoff=0.6)
    if not close:
        return "Read the file again and quote the passage exactly."
    number = next(i for i, line in enumerate(lines, 1) if line.strip() == close[0])
    return f"The nearest is line {number}: {close[0][:200]!r}."
