"""The numbers of a text, each with what it may mean and the words around it."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ml_intern.claims import words
from ml_intern.hub.claims import PAPER_IDS

_DECIMAL_COMMA = re.compile(
    r"(?<![\d,.\[(])(0),(\d+)(?![\d,])|(?<![\d,.\[(])(?<!\d)(\d{1,3}),(\d{1,2})(?=\s?(?:%|Prozent|Punkte))"
)
"""As many languages write it: 0,83 and 83,3 %."""

_MINUS = str.maketrans({"−": "-", "‐": "-", "‑": "-", "﹣": "-", "－": "-"})
_ONES = [
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen"),
    *("seventeen", "eighteen", "nineteen"),
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
SPELLED = {word: i for i, word in enumerate(_ONES)} | {word: 10 * i for i, word in enumerate(_TENS, 2)}
_ANY_ONE, _ANY_TEN = "|".join(_ONES), "|".join(_TENS)
_ONE_DIGIT = "|".join(_ONES[:10])
_SPELLED = re.compile(
    rf"\b(?P<tens>{_ANY_TEN})(?:[ -](?P<unit>{_ONE_DIGIT}))?\b"
    rf"|\b(?P<one>{_ANY_ONE})\b(?P<point>\s+point(?:\s+(?:{_ONE_DIGIT}))+)?",
    re.I,
)
_TIMES = {"doubled": 2.0, "tripled": 3.0, "quadrupled": 4.0, "halved": 0.5, "twice": 2.0, "doubling": 2.0}
_MULTIPLIED = re.compile(rf"\b({'|'.join(_TIMES)})\b", re.I)
_LARGE = {"hundred": 1e2, "thousand": 1e3, "million": 1e6, "billion": 1e9}

_NUMBER = re.compile(
    r"(?<![\w@#/.+])(?<!\d-)"
    r"(?P<sign>[-+±]?)"
    r"(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d{1,3}(?:[\u202f\u00a0]\d{3})+|\d+(?:\.\d+)?|\.\d+)"
    r"(?P<power>[eE][-+]?\d+|\s?(?:×|x|\*|·|\\times|\\cdot)\s?10\s?\^?\{?(?P<exp>[-+]?\d+)\}?)?"
    r"(?![\d]|[.,]\d|@\w)"
)
_AFTER = re.compile(
    r"\s?(?P<percent>%|percent(?:age)?\b|per ?cent\b|pct\b)(?P<points>[- ](?:age )?points?\b)?"
    r"|\s?(?P<pp>percentage points?\b|points?\b(?! of)|pp\b|pts?\b)"
    r"|(?P<times>\s?×(?!\s?\d)|x\b(?!\s?\d)|[- ]fold\b|\s?times\b(?!\s+(?:out|in)\b))"
    r"|(?P<scale>\s?(?:k|K|M|B|G)\b(?![-/]))(?!\w)"
    r"|\s(?P<large>hundred|thousand|million|billion)\b"
)
_UNIT = re.compile(r"[\s-]?(GPU[- ]hours?|[A-Za-z]+)\b", re.I)
_SCALES = {"k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9, "G": 1e9}

_CHANGED = re.compile(
    r"\s*(?:\w{1,20}\s)?(?:lower|higher|less|more|fewer|better|worse|faster|slower|longer|shorter|gains?|drops?|reduction"
    r"|improvement|increase|decrease|of)\b"
)

_NOTHING = (
    re.compile(r"^(```|~~~).*?^\1", re.M | re.S),
    re.compile(r"\bhttps?://\S+"),
    PAPER_IDS,
    re.compile(r"(?<!\w)(?:~|\.{0,2})?/?(?:[\w.@-]{1,80}/){1,30}[\w.@-]{0,80}[A-Za-z_][\w.@-]{0,80}"),
    re.compile(r"\b\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?Z?)?\b"),
    re.compile(r"\b\d{1,2}:\d{2}(?::\d{2})?\b(?!\s*(?:min|h\b))"),
    re.compile(r"\b\d{8}-(?:\d{6}\b|\d{0,6}(?:…|\.\.\.))\S*"),
    re.compile(r"\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{8,64}\b"),
    re.compile(r"\bv?\d+(?:\.\d+){2,}\S*|\bv\d+(?:\.\d+)*\b"),
    re.compile(r"^[ \t]*(?:>[ \t]*)?\d+[.)]\s", re.M),
    re.compile(r"\b(?:0x[0-9a-fA-F]+)\b"),
    re.compile(r"\b(?:[A-Za-z]\w{0,40}-){1,8}\d[\w.]*|\b[A-Za-z_]{1,80}\d[\w.]*(?:-[\w.]+)*"),
    re.compile(r"\[\d+(?:, ?\d+)*\](?=[\s.,;)]*[A-Za-z(]|\s*$)(?<!\[0\])", re.M),
)
"""Digits that claim nothing: code, addresses, papers, paths, dates, ids, hashes, versions, lists, notes."""

_BREAK = re.compile(r"(?<=[.!?])\s{1,40}(?=[A-Z\"'(*_`\[])|\n[ \t]*\n|\n(?=[ \t]*(?:[-*+•]|\d+[.)]|#|\|))|\n")


BEFORE, AFTER, NEAR = 400, 200, 60
"""Characters of a sentence that are looked at on either side of a number: one may be as long as a text."""

_Match = tuple[int, int, dict[str, Any]]
"""Where a number begins and ends in its sentence, and what is known of it."""


@dataclass(frozen=True)
class Told:
    """A number as a text tells it.

    Attributes:
        shown: As it is written.
        start: Where it begins in the text.
        end: Where it ends.
        value: What it says; a percentage as a share of one, seconds where `unit` is a time.
        slack: How far a known value may be from it: half a unit of the last digit shown.
        unit: ``%``, ``points``, ``times``, ``time``, ``money``, ``size``, ``pm`` (a plus-minus) or nothing.
        plain: The digits without their unit.
        fraction: Whether it is written with a decimal point or an exponent.
        spelled: Whether it is written as a word.
        before: The sentence up to it; in a table the names of its row and column.
        after: The rest of the sentence.
        cell: Whether it stands in a table.
        approximate: Whether the text says so.
        bound: ``>`` or ``<`` where the text says that it is more or less.
        context: The sentence before, for what "it" is.
    """

    shown: str
    start: int
    end: int
    value: float
    slack: float
    unit: str = ""
    plain: float = 0.0
    fraction: bool = False
    spelled: bool = False
    before: str = ""
    after: str = ""
    cell: bool = False
    approximate: bool = False
    bound: str = ""
    context: str = ""

    @cached_property
    def sentence(self) -> str:
        """All the words that it stands among."""
        return f"{self.before} {self.shown} {self.after}"


def normal(text: str) -> str:
    """The text with plain digits and signs, of the same length: full-width digits and odd minus signs go."""
    text = text.translate(_MINUS)
    if not text.isascii():
        text = "".join(_plain(c) for c in text)
    return _DECIMAL_COMMA.sub(lambda m: f"{m[1] or m[3]}.{m[2] or m[4]}", text)


def _plain(character: str) -> str:
    if character in "％﹪":
        return "%"
    if character in "．，":
        return {"．": ".", "，": ","}[character]
    if not character.isascii() and (number := unicodedata.decimal(character, None)) is not None:
        return str(number)
    return character


def numbers_in(text: str) -> list[Told]:
    """Every number of a text in order, without those that are parts of names, addresses, dates or code."""
    given, plain = text, normal(text)
    text = _blanked(plain)
    found: list[Told] = []
    for first, last, heads in _sentences(text, plain):
        found += _of_sentence(text, plain, given, first, last, heads)
    return found


def _blanked(text: str) -> str:
    """What claims nothing as spaces, so that all else stays where it is; LaTeX as it reads."""
    for pattern in _NOTHING:
        text = pattern.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)
    text = re.sub(r"\\(?=[%$&#_{}])", " ", text)
    text = re.sub(r"\$(?=(?:[^$\n]*\\|[\d.,%\s]+\$)[^$\n]*)([^$\n]*)\$", r" \1 ", text)
    text = re.sub(r"\\(?:text|mathrm|mathbf|textbf|textit|emph)\{", lambda m: " " * len(m[0]), text)
    text = re.sub(r"(?<=\d)\{,\}(?=\d{3})", ",", text) if "{,}" not in text else _latex_thousands(text)
    text = re.sub(r"\\[,;! ]", "  ", text)
    text = re.sub(r"\$(?!\s?\d)|(?<=\S)\$(?=[\s.,;:)]|$)", " ", text)
    text = re.sub(r"(?<!\w)_+(?=\S)|(?<=\S)_+(?!\w)|\*\*|`", lambda m: " " * len(m[0]), text)
    return re.sub(r"(?<!\w)\*(?=\S)|(?<=\S)\*(?![\w*])", " ", text)


def _latex_thousands(text: str) -> str:
    """1{,}319 as 1,319 with the length kept: the digits move to the left."""
    return re.sub(r"(\d)\{,\}(\d{3})", r"\1,\2  ", text)


def _sentences(text: str, plain: str) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """Where sentences begin and end; a table's cells come one by one, with the names of their columns."""
    head: list[str] = []
    at = 0
    pieces = [m.span() for m in _BREAK.finditer(text)]
    for first, after in [*pieces, (len(text), len(text))]:
        line = text[at:first]
        if line.lstrip().startswith("|") and line.count("|") > 1:
            if re.fullmatch(r"[\s|:\-]+", line):
                pass
            elif not head:
                head = [c.strip() for c in plain[at:first].strip().strip("|").split("|")]
            else:
                yield from _cells(plain, at, first, head)
        elif line.strip():
            head = []
            yield at, first, ()
        elif "\n\n" in text[at:after]:
            head = []
        at = after


def _cells(text: str, first: int, last: int, head: list[str]) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """The cells of a row, each with the name of its column and the words of the row."""
    line = text[first:last]
    bars = [i for i, c in enumerate(line) if c == "|"]
    cells = [(a + 1, b) for a, b in itertools.pairwise(bars)]
    if not line.rstrip().endswith("|"):
        cells.append((bars[-1] + 1, len(line)))
    named = [line[a:b].strip() for a, b in cells]
    row = " ".join(n for n in named if re.search(r"[A-Za-z]{2}", n) and not re.fullmatch(r"[\d.%\s]+", n))
    for i, (a, b) in enumerate(cells):
        yield first + a, first + b, (row, head[i] if i < len(head) else "")


def _of_sentence(
    text: str, plain: str, given: str, first: int, last: int, heads: tuple[str, ...]
) -> Iterator[Told]:
    sentence, words_of = text[first:last], plain[first:last]
    context = plain[max(0, first - 200) : first].rstrip().rpartition("\n")[2] if not heads else ""
    told_before = heads[1] if heads else plain[plain.rfind("\n", 0, first) + 1 : first]
    for start, end, told in _with_bounds(sentence, [*_with_units(sentence, _matches(sentence))], told_before):
        before, after = words_of[max(0, start - BEFORE) : start], words_of[end : end + AFTER]
        ahead = f"{' '.join(heads)} : {before}" if heads else before
        yield Told(
            **told,
            shown=given[first + start : first + end].strip(),
            start=first + start,
            end=first + end,
            before=ahead,
            after=after,
            cell=bool(heads),
            approximate=bool(words.APPROXIMATE.search(before[-NEAR:])),
            bound=">"
            if words.ABOVE.search(before[-NEAR:])
            else "<"
            if words.BELOW.search(before[-NEAR:])
            else "",
            context=context,
        )


def _with_units(sentence: str, found: list[_Match]) -> Iterator[_Match]:
    """Without those inside of others; the first end of a range has the unit of the second."""
    apart: list[_Match] = []
    for match in found:
        if not apart or match[0] >= apart[-1][1]:
            apart.append(match)
    for i, (start, end, told) in enumerate(apart):
        after = apart[i + 1] if i + 1 < len(apart) else None
        ranged = after and re.fullmatch(
            r"\s*(?:-|–|—|to|and|→|->|of(?: the| your)?)\s*", sentence[end : after[0]]
        )
        changed = after and _CHANGED.match(sentence[after[1] :])
        if (
            after
            and ranged
            and not changed
            and not told["unit"]
            and told["value"] == told["plain"]
            and after[2]["unit"]
        ):
            scale = after[2]["value"] / after[2]["plain"] if after[2]["plain"] else 1.0
            unit = {"unit": after[2]["unit"], "value": told["value"] * scale, "slack": told["slack"] * scale}
            told = {**told, **unit}
        yield start, end, told


_TO_A_BOUND = re.compile(
    r"[^\d.;\[\](]{0,40}[\[(,]?\s*(?:(?:with )?(?:an? |the )?(?:\d\d\s?%\s*)?(?:confidence )?(?:interval|CI)"
    r"\s*(?:of|from|is|:|,)?\s*)?[\[(]?\s*",
    re.I,
)
_BETWEEN_BOUNDS = re.compile(r"\s*(?:,|;|to|and|\.\.|–|—|-)\s*")
_IN_POINTS = re.compile(r"[-+]\d[\d.]*\s*(?:percentage )?(?:points?|pp)\b|^[^\d]*\b(?:points|pp)\W*$")


def _with_bounds(sentence: str, found: list[_Match], told_before: str) -> list[_Match]:
    """The ends of an interval have the unit of the number that they stand behind and lie around.

    A signed number with an interval and no unit goes on in points where the text before it tells points.
    """
    found = [*found]
    for i, (start, end, told) in enumerate(found):
        ends = _ends_behind(sentence, found, i)
        if not ends:
            continue
        low, high = (found[j][2]["plain"] * _sign(found[j]) for j in ends)
        around = low <= told["plain"] <= high or low <= -told["plain"] <= high
        large = max(abs(low), abs(high)) > 1
        goes_on = not told["unit"] and sentence[start] in "+-" and around and large
        if goes_on and _IN_POINTS.search(told_before + sentence[:start]):
            told = _in_unit(told, "points")
            found[i] = (start, end, told)
        if around and (told["unit"] == "points" or (told["unit"] == "%" and large)):
            for j in ends:
                found[j] = (*found[j][:2], _in_unit(found[j][2], told["unit"]))
    return found


def _ends_behind(sentence: str, found: list[_Match], i: int) -> tuple[int, int] | None:
    """The two numbers without a unit that stand behind one as the ends of its interval."""
    for j in (i + 1, i + 2):  # the level of the interval may stand between
        if j + 1 >= len(found) or any(found[k][2]["unit"] for k in (j, j + 1)):
            continue
        gap = sentence[found[i][1] : found[j][0]]
        between = sentence[found[j][1] : found[j + 1][0]]
        if re.search(r"[\[(]|interval|CI", gap) and _TO_A_BOUND.fullmatch(gap):
            return (j, j + 1) if _BETWEEN_BOUNDS.fullmatch(between) else None
    return None


def _sign(match: _Match) -> int:
    return -1 if match[2]["value"] < 0 else 1


def _in_unit(told: dict[str, Any], unit: str) -> dict[str, Any]:
    return {**told, "unit": unit, "value": told["value"] / 100, "slack": told["slack"] / 100}


def _matches(sentence: str) -> list[_Match]:
    found: list[_Match] = []
    for match in _NUMBER.finditer(sentence):
        if (read := _digits(sentence, match)) is not None:
            found.append(read)
    for match in _SPELLED.finditer(sentence):
        found.append(_spelled(sentence, match))
    for match in _MULTIPLIED.finditer(sentence):
        value = _TIMES[match[1].lower()]
        told = {"value": value, "slack": value / 8, "unit": "times", "plain": value, "spelled": True}
        found.append((*match.span(), told))
    return sorted(found, key=lambda each: (each[0], -each[1]))


def _digits(sentence: str, match: re.Match[str]) -> _Match | None:
    digits = re.sub(r"[,\s\u202f\u00a0]", "", match["digits"])
    power = int(match["exp"] or 0) if match["exp"] else int((match["power"] or "e0")[1:])
    exponent = 10.0**power if abs(power) < 300 else 0.0
    decimals = len(digits.partition(".")[2])
    start, end = match.start("digits"), match.end()
    sign = match["sign"]
    # "3 - 4", "gpt-4" and ranges have no sign; "fell by -0.3" has.
    ahead = sentence[max(0, match.start() - NEAR) : match.start()]
    negative = sign == "-" and not re.search(r"[\w)]$|[\d)]\s+$", ahead)
    end, scale, unit = _unit(sentence, start, end)
    if unit is None:
        return None
    value = float(digits) * exponent
    told: dict[str, Any] = {
        "value": (-1 if negative else 1) * value * scale,
        "slack": 0.5 * 10.0**-decimals * exponent * scale,
        "unit": "pm" if sign == "±" or re.search(r"(?:±|\+/-|\\pm)\s*$", ahead) else unit,
        "plain": value,
        "fraction": decimals > 0 or bool(match["power"]),
    }
    return match.start("sign") if negative or sign == "+" else start, end, told


def _unit(sentence: str, start: int, end: int) -> tuple[int, float, str | None]:
    """Where a number ends with its unit, by what it is multiplied, and what it is a number of."""
    rest, ahead = sentence[end : end + AFTER], sentence[max(0, start - NEAR) : start]
    if re.search(r"[$€£]\s?$", ahead):
        scaled = re.match(r"\s?(k|K|M|B)\b", rest)
        return (end + scaled.end(), _SCALES[scaled[1]], "money") if scaled else (end, 1.0, "money")
    after = _AFTER.match(rest)
    if after:
        stop = end + after.end()
        if after["percent"]:
            return stop, 0.01, "points" if after["points"] else "%"
        if after["pp"]:
            return stop, 0.01, "points"
        if after["times"]:
            return stop, 1.0, "times"
        if after["scale"]:
            return stop, _SCALES[after["scale"].strip()], ""
        return stop, _LARGE[after["large"]], ""
    if re.search(r"\bfactor\s+(?:of\s+)?(?:about\s+)?$", ahead, re.I):
        return end, 1.0, "times"
    if cents := words.MONEY.match(rest):
        return end + cents.end(), 0.01 if "cent" in cents[0].lower() else 1.0, "money"
    word = _UNIT.match(rest)
    name = word[1].lower() if word else ""
    if word and name in words.TIME:
        return end + word.end(), words.TIME[name], "time"
    if word and name in words.SIZE:
        return end + word.end(), words.SIZE[name], "size"
    if re.match(r"(?:st|nd|rd|th)\b", rest):
        return end, 1.0, None
    if re.match(r"[A-Za-z_@]|/\w|-[A-Za-z]{2}(?!\w*fold)", rest) and not re.match(
        r"-(?:row|item|step|epoch)", rest
    ):
        return end, 1.0, None if not re.match(r"/[a-z]", rest) else ""
    return end, 1.0, ""


def _spelled(sentence: str, match: re.Match[str]) -> _Match:
    if match["tens"]:
        value = float(SPELLED[match["tens"].lower()] + SPELLED.get((match["unit"] or "").lower(), 0))
    else:
        value = float(SPELLED[match["one"].lower()])
    slack, fraction = 0.5, False
    if match["point"]:
        tail = [SPELLED[w] for w in match["point"].lower().split()[1:]]
        value += sum(d * 10.0 ** -(i + 1) for i, d in enumerate(tail))
        slack, fraction = 0.5 * 10.0 ** -len(tail), True
    end, scale, unit = _unit(sentence, match.start(), match.end())
    told: dict[str, Any] = {
        "value": value * scale,
        "slack": slack * scale,
        "unit": unit or "",
        "plain": value,
        "fraction": fraction,
        "spelled": True,
    }
    return match.start(), end, told
