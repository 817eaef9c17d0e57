"""Whether what a known value is fits what the words around a number say that it is."""

from __future__ import annotations

import re
from typing import NamedTuple

from ml_intern.claims import words
from ml_intern.claims.evidence import VOUCHED, Known
from ml_intern.claims.reading import Told

FEW = 13
"""Whole numbers below it are claims only before what a session counts: two reasons are not measured."""


class About(NamedTuple):
    """What a number is told of: whether it is a score, or a change of one, and by which metrics."""

    scored: bool
    metrics: frozenset[str]


def allowed(told: Told, known: Known, about: About) -> bool:
    """Whether what a value is fits what the number is told as."""
    if known.kind not in VOUCHED:
        return False
    if known.kind == "said":
        few = abs(told.value) < FEW and words.SMALL_NOUNS.match(told.after.lstrip())
        return not (about.scored or few) or bool(words.ASKED.search(told.sentence))
    if known.kind == "change" and about.metrics and known.metric not in about.metrics:
        return False
    if told.unit == "pm" and about.metrics and known.metric not in about.metrics:
        return False
    if told.unit in _BY_UNIT:
        return _BY_UNIT[told.unit](told, known)
    if about.scored:
        return _of_a_score(told, known, about)
    if told.unit == "%":
        return _of_a_share(told, known)
    if counts(told):
        return _of_a_count(told, known)
    return _of_a_number(told, known)


def _of_a_number(told: Told, known: Known) -> bool:
    """Whether a value fits a number without a unit that is told as no score and counts nothing."""
    if re.search(r"\bp(?:-?value)?\W*(?:of|is|=|<|>)?\W*$", told.before):
        return known.part in ("p", "p_corrected")
    if words.CURVE.search(_governing(told)):
        fits = known.part == "text" or named(told, known)
        return known.kind in ("curve", "fact", "tool", "step") and fits
    if known.kind == "step":
        return _of_a_count(told, known)
    if known.kind == "time":
        return bool(words.CLOCK.search(told.sentence))
    if known.kind == "score":
        return _told_so(told, known)
    if known.kind == "change" or known.part in _CHANGES:
        return _change_told(told, known)
    return known.kind != "curve" or named(told, known)


def _governing(told: Told) -> str:
    """The words since the number before; where only "to" or "and" stands between, those before that one."""
    if told.cell:
        return told.before
    parts = re.split(r"(?<![\w.-])[-+]?\d[\d.,e%-]*", told.before)
    between = re.compile(r"\b(?:and|from|about|roughly)\b")
    while len(parts) > 1 and not re.search(r"[a-z]{3}", between.sub("", parts[-1])):
        parts.pop()
    return parts[-1][-100:]


def counts(told: Told) -> bool:
    """Whether it is told as a number of things: 8,123 rows, 0.3M parameters."""
    whole = not told.fraction or told.plain != told.value
    return whole and bool(words.NOUNS.match(told.after.lstrip()))


_CHANGES = ("difference", "ratio", "relative", "errors")
_AT_A_STEP = re.compile(
    r"\b(?:at|by|after|around|near|until|before|from)\s+(?:about |roughly )?(?:step|epoch|update)s?\b", re.I
)


def _of_time(told: Told, known: Known) -> bool:
    if known.part in ("ratio", "relative"):
        return False
    return known.kind == "time" or known.part == "text" or bool(words.CLOCK.search(known.metric))


def _of_money(told: Told, known: Known) -> bool:
    if known.part in ("ratio", "relative"):
        return False
    return known.kind == "money" or known.part == "text" or bool(words.PRICE.search(known.metric))


def _of_times(told: Told, known: Known) -> bool:
    return known.part == "ratio" or (known.part == "relative" and "more" in told.after[:12])


def _of_points(told: Told, known: Known) -> bool:
    if known.part == "detectable":
        return True
    if known.kind == "curve":
        return known.part == "difference" and named(told, known)
    return known.kind == "change" and known.part in ("difference", "spread", "luck_of_best")


def _of_a_spread(told: Told, known: Known) -> bool:
    return known.part in ("half", "spread")


def _of_a_size(told: Told, known: Known) -> bool:
    return known.kind in ("fact", "curve", "tool")


_BY_UNIT = {
    "time": _of_time,
    "money": _of_money,
    "times": _of_times,
    "points": _of_points,
    "pm": _of_a_spread,
    "size": _of_a_size,
}


def _of_a_score(told: Told, known: Known, about: About) -> bool:
    if known.kind in ("score", "change") and not about.metrics and words.OTHER_METRICS.search(told.sentence):
        return False
    if known.kind == "score":
        return _told_so(told, known)
    if known.kind == "change":
        return _change_told(told, known)
    if known.kind == "tool" and known.part == "text":
        return cited(told)
    return known.kind in ("curve", "fact", "tool") and named(told, known)


def _of_a_share(told: Told, known: Known) -> bool:
    if known.kind == "score":
        return _told_so(told, known)
    if known.kind == "change":
        return _change_told(told, known)
    if known.kind == "curve" and not named(told, known):
        return False
    if known.part in _CHANGES:
        return _change_told(told, known)
    return known.kind == "tool" or named(told, known)


def _told_so(told: Told, known: Known) -> bool:
    """Whether a sentence speaks of that part of a score: of the ends of its interval, of what is wrong."""
    part = known.part.removeprefix("1-")
    if part != known.part and not words.ERRORS.search(told.sentence):
        return False
    if (
        part == "value"
        and re.search(r"\[[^\]]*$", told.before)
        and re.match(r"\s*[],;]|\s*(?:to|–|-)", told.after)
    ):
        return False
    if part in ("low", "high"):
        inside = re.search(r"[\[(][^\])]*$", told.before)
        ends = told.cell and words.ENDS.search(told.before)
        return bool(inside or ends or words.INTERVAL.search(told.sentence))
    if part == "half":
        return bool(words.INTERVAL.search(told.sentence))
    return part != "count" or (not told.unit and not told.fraction)


def _change_told(told: Told, known: Known) -> bool:
    if known.part == "errors":
        return bool(words.ERRORS.search(told.sentence) and words.CHANGE.search(told.sentence + " fewer"))
    ids = set(re.findall(r"\bexp-\d+\b", told.sentence))
    if known.other and ids and not ids & {known.owner, known.other}:
        return False
    if known.other and len(ids) > 1 and not {known.owner, known.other} <= ids:
        return False
    if known.part == "ratio":
        return bool(words.SHARE_OF_ANOTHER.search(told.sentence) and told.unit == "%")
    if known.part in ("p", "p_corrected"):
        return bool(re.search(r"\bp\b", told.before[-20:]))
    if known.part == "spread":
        return bool(words.SPREAD.search(told.sentence))
    by = re.search(r"\bby\s+(?:about\s+|roughly\s+)?$", told.before)
    return bool(by or told.cell or words.CHANGE.search(told.sentence) or told.shown[:1] in "+-−")


def _of_a_count(told: Told, known: Known) -> bool:
    """Whether a value counts what the number is told to count."""
    thing = words.NOUNS.match(told.after.lstrip())
    small = words.SMALL_NOUNS.match(told.after.lstrip())
    noun = (thing or small)[0].lower() if thing or small else told.before[-30:].lower()  # type: ignore[index]
    if known.kind in ("time", "money", "change") or known.part in ("ratio", "relative"):
        return False
    if known.kind in ("score", "curve") and known.part != "count":
        return bool(known.kind == "curve" and named(told, known))
    name = re.sub(r"[^a-z]+", " ", f"{known.source} {known.metric}".lower())
    if known.kind == "step" and known.part == "point" and not _AT_A_STEP.search(told.sentence):
        return False
    groups = [g for g in words.KINDS_OF_THINGS if g.search(noun)]
    if any(g.search(name) for g in groups):
        return True
    if known.kind == "step" or abs(told.value) < FEW:
        return False
    return not groups or known.kind == "tool" or known.part == "count"


def named(told: Told, known: Known) -> bool:
    """Whether all the words of a curve's or a setting's name stand beside the number.

    Of a curve that is where it began and ended, its extremes and its mean; a curve goes through every value
    between, so that these count only where a text says at which step.
    """
    if known.kind == "curve" and known.part == "point" and not _AT_A_STEP.search(told.sentence):
        return False
    said = set(re.findall(r"[a-z]+", told.sentence.lower()))
    said |= {"learning", "rate"} if "lr" in said else set()
    name = re.findall(r"[a-z]+", known.metric.rpartition(".")[2].lower())
    telling = [w for w in name if w not in ("mean", "train", "eval", "avg", "per", "device")] or name
    return bool(telling) and all(w in said or f"{w}s" in said or w.removesuffix("s") in said for w in telling)


def cited(told: Told) -> bool:
    """Whether the text says that a number is somebody else's."""
    return bool(words.CITED.search(told.sentence))
