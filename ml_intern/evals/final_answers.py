"""The final answer of a text with mathematics, in one form for the ways to write it, so that it is counted.

Whether an answer is right is for math-verify to say. This is for votes alone, where reading each text by a
grammar would take longer than drawing it: what it does not know to be equal splits a vote, and no more.
"""

from __future__ import annotations

import re
from fractions import Fraction

_SAID = re.compile(r"(?:answer(?: is|:)|####)\s*:?\s*([^\n]+)", re.I)
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:\s*/\s*\d+)?|-?\.\d+")
_FRACTION = re.compile(r"\\[dtc]?frac\{(-?\d+)\}\{(\d+)\}|\\[dtc]?frac(\d)(\d)")
_NOTHING = re.compile(r"\\(?:left|right|displaystyle|[!,;: ])|\^\\circ|[$\s]|\\[()\[\]]")
_WORDS = re.compile(r"\\(?:text|mathrm|mbox|textbf)\{([^{}]*)\}")
_EXACT = re.compile(r"[-+]?\d{1,50}(?:\.\d{1,50})?(?:/\d{1,50})?|[-+]?\.\d{1,50}")
"""Numbers that are computed with: of 1e999999999 nobody wants the digits."""


def final_answer(text: str) -> str | None:
    """What stands in the last box, else behind the last "answer is" or "####", else the last number."""
    boxed = _boxed(text)
    if boxed is None and (said := _SAID.findall(text)):
        boxed = said[-1]
    if boxed is None:
        numbers = _NUMBER.findall(text)
        return _plain(numbers[-1]) if numbers else None
    return _plain(boxed) or None


def _boxed(text: str) -> str | None:
    """The content of the last \\boxed{…}, whose braces may be nested."""
    begin = max(text.rfind("\\boxed{"), text.rfind("\\fbox{"))
    if begin < 0:
        return None
    first = text.index("{", begin) + 1
    depth = 1
    for at in range(first, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return text[first:at]
    return None


def _plain(answer: str) -> str:
    # Beside a number words are its unit.
    units = _WORDS.sub("" if re.search(r"\d", _WORDS.sub("", answer)) else r"\1", answer)
    answer = _FRACTION.sub(lambda m: f"{m[1] or m[3]}/{m[2] or m[4]}", units)
    answer = (
        _NOTHING.sub("", answer.replace("{,}", ",")).rstrip(".").rstrip("%").removesuffix("\\").casefold()
    )
    answer = re.sub(r"^[a-z]=(?=.)", "", answer)
    number = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", answer)
    if _EXACT.fullmatch(number) and not re.search(r"/0+$", number):
        return str(_fraction(number))
    return number


def _fraction(number: str) -> Fraction:
    above, _, below = number.partition("/")
    return Fraction(above) / int(below or 1)
