"""Which numbers of a card, most of which the host wrote, nobody measured.

What the brain wrote (answers, notes) is read more closely by `ml_intern.claims`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

_NUMBER = re.compile(
    r"(?<![\w@#/.+−-])"
    r"(?P<sign>[-+−]?)"
    r"(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)"
    r"(?P<exponent>[eE][-+−]?\d+)?"
    r"(?P<unit>\s?%|\s?percent(?!\w)|\s?×|[A-Za-z]{1,3})?"
    r"(?![\w@/]|[.,]\d)"
)
_SCALES = {"k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9, "G": 1e9}
_ORDINALS = {"st", "nd", "rd", "th"}

PAPER_IDS = re.compile(
    r"\barxiv:\s?\d{4}\.\d{4,5}(?:v\d{1,2})?\b"
    r"|(?<![\w.,/+-])\d\d(?:0[1-9]|1[0-2])\.\d{4,5}(?:v\d{1,2})?\b(?!\s?%|[.,]?\d)"
    r"|\b[a-z]{2,10}(?:-[a-z]{2,4})?(?:\.[A-Z]{2})?/\d{7}(?:v\d{1,2})?\b"
    r"|\b10\.\d{4,9}/(?=[^\s]{0,80}(?:[A-Za-z]|\d{5}))[^\s<>\"]{2,200}",
    re.I,
)
"""Names of papers: ids of arXiv, of either kind, and DOIs."""

# What is written with digits but claims nothing: code, addresses, names of papers, dates, hours, paths, ids
# of sessions, hashes, versions, the numbers of a list.
_NO_CLAIM = (
    re.compile(r"^(```|~~~).*?^\1", re.M | re.S),
    re.compile(r"\bhttps?://\S+"),
    PAPER_IDS,
    re.compile(r"\b\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?Z?)?\b"),
    re.compile(r"\b\d{1,2}:\d{2}(?::\d{2})?\b"),
    re.compile(r"(?<![\w/.])~?/(?:[A-Za-z_.][\w.@+-]*/)(?:[\w.@+-]+/)*[\w.@+-]*…?"),
    re.compile(r"\b\d{8}-(?:\d{6}\b|\d{0,6}(?:…|\.\.\.))\S*"),
    re.compile(r"\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{10,64}\b"),
    re.compile(r"\b\d+(?:\.\d+){2,}\S*"),
    re.compile(r"^\s*\d+[.)]\s", re.M),
)


class HasNumbers(Protocol):
    """The ledger, as far as claims need it."""

    def numbers(self) -> Iterable[tuple[float, str]]:
        """Every value that may be told, and where it comes from."""


@dataclass(frozen=True)
class Claim:
    """A number in a text.

    Attributes:
        shown: As it is written.
        value: What it says, a percentage as a share of one.
        slack: Half a unit of the last digit shown.
        bare: The digits without their unit: "0.3M" may repeat a setting that says just that.
    """

    shown: str
    value: float
    slack: float
    bare: float | None = None

    def fits(self, known: float) -> bool:
        """Whether a known value, rounded as the claim is, gives the claim. The sign is left to the words."""
        if not math.isfinite(known):
            return False
        near = abs(abs(self.value) - abs(known)) <= self.slack * (1 + 1e-9) + 1e-12 * abs(known)
        return near or (self.bare is not None and self.bare == abs(known))


def claims(text: str) -> list[Claim]:
    """Every number that a text claims, in order."""
    for pattern in _NO_CLAIM:
        text = pattern.sub(" ", text)
    # A range and a fraction are two numbers each.
    text = re.sub(r"(?<=\d)\s*[–—/]\s*(?=\d)|(?<=\d)-(?=\d)", " to ", text)
    text = re.sub(r"(?<!\w)_+|_+(?!\w)", " ", text)  # emphasis, which would hide a number among letters
    found = (_claim(match) for match in _NUMBER.finditer(text))
    return [claim for claim in found if claim is not None]


def unresolved(text: str, ledger: HasNumbers, known: Iterable[float] = ()) -> list[str]:
    """The numbers of a text that are not in the ledger, up to the rounding shown.

    Args:
        text: Markdown or plain text. Code blocks, addresses, dates, versions and identifiers claim nothing.
        ledger: Where numbers come from.
        known: Further values that are true: counts of rows or bytes, the level of an interval.

    Returns:
        Each number as it is written, once.
    """
    values = [float(value) for value, _ in ledger.numbers()] + [float(value) for value in known]
    missing = [c.shown for c in claims(text) if not any(c.fits(value) for value in values)]
    return list(dict.fromkeys(missing))


def _claim(match: re.Match[str]) -> Claim | None:
    unit = (match["unit"] or "").strip()
    if unit in _ORDINALS:
        return None
    digits, exponent = (
        match["digits"].replace(",", ""),
        int((match["exponent"] or "e0")[1:].replace("−", "-")),
    )
    scale = 10.0**exponent * (0.01 if unit in ("%", "percent") else _SCALES.get(unit, 1.0))
    decimals = len(digits.partition(".")[2])
    sign = -1.0 if match["sign"] in ("-", "−") else 1.0
    bare = float(digits) if unit in _SCALES else None
    return Claim(match[0].strip(), sign * float(digits) * scale, 0.5 * 10.0**-decimals * scale, bare)
