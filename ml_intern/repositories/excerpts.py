"""The lines of a file around a word: a call rather than an import, a whole snippet rather than a line."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from ml_intern.repositories.texts import lines_in

BEFORE = 3
AFTER = 10
LONGEST = 28
MOST_ALSO = 10
WIDEST = 400
NEAR = 12
"""Lines within which several words belong together."""


@dataclass(frozen=True)
class Found:
    """Lines `first` to `last` of a file; `whole`: the keyword as it was given, not its words apart."""

    first: int
    last: int
    text: str
    whole: bool
    also: list[int] = field(default_factory=list)


def words_of(keyword: str) -> list[str]:
    """The words of a keyword, without quotes."""
    return [word for word in re.split(r"\s+", keyword.replace('"', " ").strip()) if word]


def find(text: str, keyword: str, path: str = "") -> Found | None:
    """The best place of a keyword in a text; None where it is not in it."""
    lines = lines_in(text)
    phrase = " ".join(words_of(keyword))
    if not phrase:
        return None
    holding = [n for n, line in enumerate(lines) if phrase.lower() in line.lower()]
    whole = bool(holding)
    if holding:
        best = max(holding, key=lambda n: (_worth(lines[n], phrase), -n))
    else:
        holding = _together(lines, [word.lower() for word in words_of(keyword)])
        if not holding:
            return None
        best = holding[0]
    first, last = _stretch(lines, best, path)
    shown = "\n".join(line[:WIDEST] for line in lines[first : last + 1])
    also = [n + 1 for n in holding if not first <= n <= last][:MOST_ALSO]
    return Found(first + 1, last + 1, shown, whole, also)


def _worth(line: str, phrase: str) -> int:
    """How much a line shows of how a name is used."""
    worth = 0
    if phrase in line:
        worth += 2
    if re.search(rf"(?<![\w]){re.escape(phrase)}(?![\w])", line, re.I):
        worth += 2
    bare = line.strip()
    if re.search(rf"{re.escape(phrase)}\s*[(\[=.]", line, re.I) and not re.match(
        r"(class|def|async def)\b", bare
    ):
        worth += 3
    if re.match(r"((>>> )?(import|from)\b|#|//|\*|\"\"\")", bare):
        worth -= 2
    return worth


def _together(lines: Sequence[str], words: list[str]) -> list[int]:
    """Lines from which on all words come within a few lines."""
    if len(words) < 2:
        return []
    at = {word: [n for n, line in enumerate(lines) if word in line.lower()] for word in set(words)}
    if not all(at.values()):
        return []
    rarest = min(at.values(), key=len)
    return [n for n in rarest if all(_is_near(n, found) for found in at.values())]


def _is_near(n: int, lines: Sequence[int]) -> bool:
    """Whether one of some lines, in order, lies within a few lines of another."""
    after = bisect_left(lines, n - NEAR)
    return after < len(lines) and lines[after] <= n + NEAR


def _stretch(lines: Sequence[str], best: int, path: str) -> tuple[int, int]:
    """First and last line to show, from 0."""
    if re.search(r"\.(md|mdx|rst|markdown)$", path, re.I) and (fence := _fence(lines, best)):
        return fence
    first, last = max(0, best - BEFORE), min(len(lines) - 1, best + AFTER)
    depth = 0
    for n in range(best, min(len(lines), first + LONGEST)):
        depth += sum(map(lines[n].count, "([{")) - sum(map(lines[n].count, ")]}"))
        if depth <= 0:  # the call that begins here ends here
            return first, max(last, n)
    return first, max(last, min(len(lines) - 1, first + LONGEST - 1)) if depth > 0 else last


def _fence(lines: Sequence[str], best: int) -> tuple[int, int] | None:
    """The fenced block around a line, cut to what a page shows; None outside of one."""
    opened: int | None = None
    for n, line in enumerate(lines):
        if not re.match(r"\s*(```|~~~)", line):
            continue
        if opened is None:
            if n > best:
                return None
            opened = n
        elif n >= best:
            first = max(opened, best - LONGEST // 2)
            return first, min(n, first + LONGEST - 1)
        else:
            opened = None
    return None
