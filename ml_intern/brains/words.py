"""How a sentence is cut into words: small words, punctuation, plurals and numbers in words do not matter."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_SMALL = """
a an the please kindly just now then me my our you your can could would will i want like need some it that
this thanks thank hey hi so also
"""
SMALL = frozenset(_SMALL.split())
"""Words that a sentence may have or lack and still mean the same. What parts slots (on, as, in) is none."""

_UNITS = {
    "min": "minute",
    "mins": "minute",
    "sec": "second",
    "secs": "second",
    "s": "second",
    "hr": "hour",
    "hrs": "hour",
    "h": "hour",
}
_ONES = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen
"""
_TENS = """
twenty thirty forty fifty sixty seventy eighty ninety
"""
NUMBER_WORDS = {word: value for value, word in enumerate(_ONES.split())}
NUMBER_WORDS |= {word: 20 + 10 * index for index, word in enumerate(_TENS.split())}
_SCALES = {"hundred": 100, "thousand": 1_000, "million": 1_000_000}
_SUFFIXES = {"k": 1_000, "m": 1_000_000, "%": 0.01}

_TOKEN = re.compile(
    r"""
    "[^"\n]*" | “[^”\n]*” | `[^`\n]*` | (?<!\w)'[^'\n]*'(?!\w)   # a quoted value is one word
    | \d+(?:\.\d+)?(?=(?:mins?|minutes?|secs?|seconds?|hrs?|hours?)\b)   # "2min" is two
    | [^\s,;!?]+(?:,(?=\d{3}\b)\d{3})* | [,;!?]
    """,
    re.X,
)


@dataclass(frozen=True)
class Word:
    """A word of a sentence: as it is compared, and where it stands."""

    plain: str
    start: int
    end: int

    @property
    def small(self) -> bool:
        """True when the word may be passed over."""
        return not self.plain or self.plain in SMALL


def words_of(sentence: str) -> list[Word]:
    """The words of a sentence, in order; a quoted part is one word."""
    return [Word(plain(match[0]), *match.span()) for match in _TOKEN.finditer(sentence)]


def plain(word: str) -> str:
    """A word as it is compared: lower case, without punctuation around it, singular, units written out."""
    bare = (
        re.sub(r"^[^\w{%$/.~]+|[^\w}%$/]+$", "", word.lower().replace("’", "'"))
        .replace("-", "")
        .replace("'", "")
    )
    bare = _UNITS.get(bare, bare)
    return bare[:-1] if len(bare) > 3 and bare.endswith("s") and not bare.endswith("ss") else bare


def number(text: str) -> float | None:
    """The number that a text says in digits (``1,000``, ``2.5``, ``10k``) or in words (``twenty five``)."""
    bare = text.strip().lower().replace(",", "").replace("_", "")
    digits = re.fullmatch(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)([km%]?)", bare)
    if digits:
        value = float(digits[1]) * _SUFFIXES.get(digits[2], 1)
        return value if math.isfinite(value) else None
    return _spoken(re.split(r"[\s-]+", bare))


def _spoken(words: list[str]) -> float | None:
    total, group, seen = 0.0, 0.0, False
    for word in words:
        if word in NUMBER_WORDS:
            group += NUMBER_WORDS[word]
        elif word in _SCALES and _SCALES[word] == 100:
            group = (group or 1) * 100
        elif word in _SCALES:
            total, group = total + (group or 1) * _SCALES[word], 0.0
        elif word in ("a", "an") and not seen:
            group += 1
        elif word == "half" and not seen:
            group += 0.5
        elif word != "and":
            return None
        seen = seen or word != "and"
    return total + group if seen else None
