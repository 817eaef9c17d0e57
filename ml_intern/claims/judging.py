"""Which numbers of a text stand: those that a measurement, a job, a tool or the person vouches for.

A number resolves where a known value, rounded as it is shown, gives it: 0.3996 is 0.40, and it is not 0.45.
What the value is must fit what the words around the number say: a score is not vouched for by a step that
happens to be equal, a test score not by one of the dev split, and nothing by what the brain's own code
printed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ml_intern.claims import words
from ml_intern.claims.evidence import Evidence, Known, Replaced
from ml_intern.claims.meaning import FEW, About, allowed, cited, counts, named
from ml_intern.claims.owners import misplaced, names_in
from ml_intern.claims.reading import Told, normal, numbers_in
from ml_intern.claims.verdicts import overstated

MOST_TEXT, MOST_NUMBERS = 60_000, 1_000
"""Characters and numbers of a text that are looked at, from its beginning."""

_PRINTED = "only your own code printed it, no tool measured it"
_NOTHING = "nothing that was measured gives it"
_APART = "the two values before it are not so far apart"

_REPLACED = "a later comparison took its place"

_BESIDE = 250
"""Characters between a number and those that it follows from."""

_FROM_A_BOUND = 0.15
"""How far "more than" and "under" may be from what is known, as a share."""

_ABOUT = 0.1
_ABOUT_A_SCORE = 0.03
"""What "about" allows at the most, as a share: of times and counts, and of scores."""


@dataclass(frozen=True)
class Finding:
    """A number that does not stand.

    Attributes:
        shown: As it is written.
        start: Where it begins in the text.
        end: Where it ends.
        why: Why not.
        nearest: What is known instead, in words; empty where nothing is.
        replaced: Whether it was so until another comparison took its place.
    """

    shown: str
    start: int
    end: int
    why: str
    nearest: str = ""
    replaced: bool = False

    def __str__(self) -> str:
        return f"{self.shown}: {self.why}" + (f"; {self.nearest}" if self.nearest else "")


@dataclass
class Review:
    """What became of the numbers of a text.

    Attributes:
        verified: Numbers that a measurement, a job, a tool or the person vouches for.
        computed: Numbers that only the brain's own code has printed, of which nothing is said that has to be
            measured.
        quoted: Numbers that the text says are somebody else's.
        unverified: Numbers that do not stand.
        words: Sentences that say more than a comparison has found.
        values: What the verified numbers say.
    """

    verified: list[str] = field(default_factory=list)
    computed: list[str] = field(default_factory=list)
    quoted: list[str] = field(default_factory=list)
    unverified: list[Finding] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    @property
    def stands(self) -> bool:
        """Whether there is nothing to say against the text."""
        return not self.unverified and not self.words

    def verify(self, told: Told) -> None:
        """Note a number that stands."""
        self.verified.append(told.shown)
        self.values.append(told.value)

    def to_json(self) -> dict[str, object]:
        """What ``--json`` shows."""
        return {
            "verified": len(self.verified),
            "unverified": [{"number": f.shown, "why": f.why, "nearest": f.nearest} for f in self.unverified],
            "computed": list(dict.fromkeys(self.computed)),
            "quoted": list(dict.fromkeys(self.quoted)),
            "overstated": self.words,
        }


def review(text: str, evidence: Evidence) -> Review:
    """Hold a text against what is known. Where nothing was measured or read, nothing is said against it."""
    found = Review()
    if not evidence.active:
        return found
    numbers = numbers_in(text[:MOST_TEXT])[:MOST_NUMBERS]
    told = [each for each in numbers if claims_something(each, evidence)]
    left = [each for each in told if not _stands(each, numbers, evidence, found)]
    stood = [each for each in told if each not in left]
    for each in left:
        if not _contradicted(each, numbers) and _follows(each, stood):
            found.verify(each)
        else:
            _object(each, numbers, evidence, found)
    found.words = overstated(normal(text[:MOST_TEXT]), evidence)
    return found


def claims_something(told: Told, evidence: Evidence) -> bool:
    """Whether a number says that something was measured, counted, spent or set."""
    if _level(told) or _supposed(told):
        return False
    if told.unit:
        return not (told.unit == "%" and told.value == 1.0 and not measured_by(told, evidence))
    if words.NAMED.search(told.before) and not told.cell:
        return False
    if told.fraction:
        return True
    if told.value < FEW and told.plain == told.value:
        return told.value > 1 and bool(words.SMALL_NOUNS.match(told.after.lstrip()))
    if words.NOUNS.match(told.after.lstrip()) or re.search(r"\b[nN]\s*[=:]\s*$", told.before):
        return True
    if told.plain != told.value or "," in told.shown or told.plain >= 10_000:
        return True
    if re.match(r"\s*(?:of|out of|/)\s*\d", told.after) or re.search(
        r"\d\s*(?:of|out of|/)\s*$", told.before
    ):
        return bool(measured_by(told, evidence))
    if 1900 <= told.value <= 2100:
        return False
    near = told.before[-60:] + told.after[:20]
    return bool(
        words.SCORE.search(near) or words.CURVE.search(told.before[-60:]) or names_in(near, evidence.metrics)
    )


def measured_by(told: Told, evidence: Evidence) -> bool:
    """Whether the words around a number speak of a score."""
    if words.SCORE.search(told.sentence) or names_in(told.sentence, evidence.metrics):
        return True
    share = told.unit == "%" or (not told.unit and told.fraction and told.plain == told.value)
    return share and bool(words.DEV.search(told.sentence) or words.TEST.search(told.sentence))


def _level(told: Told) -> bool:
    """The level of an interval claims nothing."""
    after = re.match(r"\s*-?(?:confidence|ci\b|intervals?|credible|bootstrap|level)", told.after, re.I)
    return told.unit == "%" and (
        bool(after) or bool(re.search(r"\b(?:confidence|CI)\s*[(:=]?\s*$", told.before))
    )


def _supposed(told: Told) -> bool:
    """Said of what may be or should be done, not of what was measured."""
    if re.match(r"(?:\s+[\w-]+){0,2}\s+(?:would|could|might|should|may)\b", told.after):
        return True
    if not (found := list(words.HYPOTHETICAL.finditer(told.before))):
        return False
    # "You should know that the accuracy is 0.9" says that it is.
    since = told.before[found[-1].end() :]
    return not (words.SCORE.search(told.sentence) and words.MEASURED.search(since))


def _about(told: Told, evidence: Evidence) -> About:
    return About(_scored(told, evidence), frozenset(names_in(told.sentence, evidence.metrics)))


def _stands(told: Told, numbers: Sequence[Told], evidence: Evidence, found: Review) -> bool:
    """Whether what is known gives a number, and it is what the sentence says it is."""
    about = _about(told, evidence)
    if _contradicted(told, numbers):
        return False
    fits = [k for k in _matching(told, evidence) if allowed(told, k, about)]
    if fits and about.scored and misplaced(told, fits, evidence):
        return False
    then = words.EARLIER.search(told.sentence) and _was(told, evidence, about)
    if fits or then or _between(told, numbers, evidence, about) or _bounded(told, evidence, about):
        found.verify(told)
        return True
    return False


def _object(told: Told, numbers: Sequence[Told], evidence: Evidence, found: Review) -> None:
    """Note what is wrong with a number that does not stand, unless it is somebody else's or a side remark."""
    about = _about(told, evidence)
    matched = list(_matching(told, evidence))
    fits = [k for k in matched if allowed(told, k, about)]
    own = any(k.kind == "own" for k in matched)
    if cited(told):
        found.quoted.append(told.shown)
    elif own and not about.scored and not fits:
        found.computed.append(told.shown)
    elif not fits and (was := _was(told, evidence, about)) and not _contradicted(told, numbers):
        found.unverified.append(Finding(told.shown, told.start, told.end, _REPLACED, was.now, True))
    else:
        why = misplaced(told, fits, evidence) if fits and about.scored else _PRINTED if own else _NOTHING
        why = _APART if _contradicted(told, numbers) else why
        near = _nearest(told, evidence, about.scored)
        found.unverified.append(Finding(told.shown, told.start, told.end, why, near))


# What a number may be


def _readings(told: Told, scored: bool) -> Iterator[tuple[float, float, Callable[[Known], bool]]]:
    """The values that a number may stand for, with their slack and of what they may be."""
    slack = _slack(told, scored)
    yield told.value, slack, lambda k: True
    if told.unit in ("%", "points"):
        # Papers and logs tell percentages as they are; a loss falls by points of its own.
        yield (
            told.plain,
            slack * 100,
            lambda k: (
                k.kind in ("tool", "said", "own") or (told.unit == "points" and k.kind in ("change", "curve"))
            ),
        )
    elif told.unit == "times":
        yield told.value - 1, slack, lambda k: k.part == "relative" and "more" in told.after[:12]
    elif told.unit in ("time", "size") or told.plain != told.value:
        yield (
            told.plain,
            (slack * told.plain / told.value if told.value else slack),
            lambda k: k.kind in ("tool", "said", "own", "fact"),
        )
        if told.unit == "size":
            for scale in (1e6, 2.0**20, 1e9, 2.0**30):
                yield told.value / scale, slack / scale, lambda k: k.metric.endswith(("mb", "gb", "MB", "GB"))
    elif scored and told.plain > 1:
        yield told.plain / 100, slack / 100, lambda k: k.kind in ("score", "change")


def _slack(told: Told, scored: bool) -> float:
    """Half a unit of the last digit; where the text says "about", of the last digit that is no zero."""
    if not told.approximate or told.unit in ("times", "pm"):
        return told.slack
    unit, value = 2 * told.slack, abs(told.value)
    while unit and value and round(value / unit) % 10 == 0 and unit < value:
        unit *= 10
    most = (_ABOUT_A_SCORE if scored else _ABOUT) * value
    return max(told.slack, min(unit / 2, most))


def _matching(told: Told, evidence: Evidence) -> Iterator[Known]:
    scored = _scored(told, evidence)
    for value, slack, may_be in _readings(told, scored):
        yield from (k for k in evidence.near(value, slack) if may_be(k))


def _was(told: Told, evidence: Evidence, about: About) -> Replaced | None:
    """What a number was, until another comparison took its place."""
    for value, slack, may_be in _readings(told, about.scored):
        for was in evidence.were(value, slack):
            if may_be(was.known) and allowed(told, was.known, about):
                return was
    return None


def _scored(told: Told, evidence: Evidence) -> bool:
    """Whether a number is told as a score or a change of one."""
    if told.unit in ("time", "money", "size"):
        return False
    if not told.unit and counts(told):
        return False
    points = told.unit in ("points", "pm") or re.search(r"\d\s*(?:percentage )?points?\b", told.sentence)
    return bool(points) or measured_by(told, evidence)


# What follows from what stands


def _follows(told: Told, stood: Sequence[Told]) -> bool:
    """Whether it is what two numbers beside it give, as they are shown: their difference, ratio or change."""
    if told.unit not in ("points", "%", "times") and (told.unit or not words.CHANGE.search(told.sentence)):
        return False
    beside = [s for s in stood if s.unit not in ("time", "money") and abs(told.start - s.end) < _BESIDE]
    pairs = ((a, b) for a in beside for b in beside if a is not b and _alike(a, b))
    return any(_equal(told, value) for a, b in pairs for value in _changes(a, b, told.unit))


def _contradicted(told: Told, numbers: Sequence[Told]) -> bool:
    """Whether the two values that a difference stands right behind give another one.

    "34.9 % against 49.5 %, -15.7 points": that another pair is so far apart vouches for nothing.
    """
    i = numbers.index(told)
    if told.unit != "points" or i < 2:
        return False
    a, b = numbers[i - 2], numbers[i - 1]
    if not all(0 <= t.value <= 1 and (t.unit == "%" or (t.fraction and not t.unit)) for t in (a, b)):
        return False
    between, behind = a.after[: max(0, b.start - a.end)], b.after[: max(0, told.start - b.end)]
    held = re.fullmatch(
        r"[^.;]{0,40}\b(?:against|versus|vs\.?|instead of|compared (?:with|to))[^.;]{0,40}", between
    )
    if not held or not re.fullmatch(
        r"[\w\s`*-]{0,40}[,:(=]\s*(?:difference|which is|that is|i\.e\.|or)?\s*", behind
    ):
        return False
    apart = abs(abs(a.value - b.value) - abs(told.value))
    return apart > (a.slack + b.slack + told.slack) * (1 + 1e-9)


def _alike(a: Told, b: Told) -> bool:
    """Whether one can be taken from the other: 34.9 % from 49.5 %, but not from 16 samples."""
    shares = all(abs(t.value) <= 1 and t.unit in ("", "%") for t in (a, b))
    mixed = a.fraction != b.fraction and (counts(a) or counts(b))
    return shares or (a.unit == b.unit and not mixed)


def _changes(a: Told, b: Told, unit: str) -> Iterator[float]:
    if unit in ("points", "", "%"):
        yield b.value - a.value
    if unit == "%" and b.value and not a.unit and not b.unit and not a.fraction and not b.fraction:
        yield a.value / b.value
    if a.value and unit in ("times", ""):
        yield b.value / a.value
    if a.value and unit in ("%", ""):
        yield b.value / a.value - 1


def _equal(told: Told, value: float) -> bool:
    same = abs(abs(told.value) - abs(value)) <= told.slack * (1 + 1e-9) + 1e-12
    return same or (
        told.unit == "points" and abs(abs(told.plain) - abs(value)) <= told.slack * 100 * (1 + 1e-9)
    )


def _between(told: Told, numbers: Sequence[Told], evidence: Evidence, about: About) -> bool:
    """Whether it is the end of a narrow range in which something that is known lies."""
    partner = _partner(told, numbers)
    if partner is None:
        return False
    low, high = sorted((abs(told.plain), abs(partner.plain)))
    if _in_an_interval(told) or (about.scored and words.CHANGED_FROM.search(told.before)):
        return False
    if high > low * (1.2 if about.scored else 2.1) or (about.scored and told.unit in ("points", "pm")):
        return False
    scale = abs(told.value / told.plain) if told.plain else 1.0
    middle, half = (low + high) / 2 * scale, (high - low) / 2 * scale
    return any(allowed(told, k, about) for k in evidence.near(middle, half))


def _in_an_interval(told: Told) -> bool:
    """Whether it is told as the end of an interval, which says where the end is."""
    if re.search(r"\bbetween\s[^.;]*$", told.before, re.I):
        return False
    inside = re.search(r"\[[^\]]*$", told.before)
    return bool(inside or re.search(r"\b(?:intervals?|ci|confidence)\b", told.sentence, re.I))


def _partner(told: Told, numbers: Sequence[Told]) -> Told | None:
    i = numbers.index(told)
    for j in (i - 1, i + 1):
        if 0 <= j < len(numbers):
            a, b = (numbers[j], told) if j < i else (told, numbers[j])
            gap = a.after[: max(0, b.start - a.end)]
            if re.fullmatch(r"\s*(?:-|–|—|to)\s*", gap) and len(gap) == b.start - a.end:
                return numbers[j]
    return None


def _bounded(told: Told, evidence: Evidence, about: About) -> bool:
    """Whether "more than 90 %" is true of what is known and near to it."""
    if not told.bound or not told.value:
        return False
    reach = abs(told.value) * (_ABOUT if about.scored else _FROM_A_BOUND)
    for known in evidence.near(told.value, reach):
        if allowed(told, known, about) and known.kind != "tool":
            above = abs(known.value) >= abs(told.value)
            if above == (told.bound == ">") and not (about.scored and misplaced(told, [known], evidence)):
                return True
    return False


# What is known instead


def _nearest(told: Told, evidence: Evidence, scored: bool) -> str:
    """The nearest value of what the number is said to be, in words."""
    metrics = names_in(told.sentence, evidence.metrics)
    splits = {
        name for name, pattern in (("test", words.TEST), ("dev", words.DEV)) if pattern.search(told.sentence)
    }
    signed = not told.unit and told.shown[:1] in "+-−"
    if told.unit in ("points", "times", "pm") or signed:
        part = {"times": "ratio"}.get(told.unit, "difference")
        ids = set(re.findall(r"\bexp-\d+\b", told.sentence))
        pick = _first(
            lambda k: k.kind == "change" and k.part == part and k.metric in metrics and k.owner in ids,
            lambda k: k.kind == "change" and k.part == part and k.metric in metrics,
            lambda k: k.kind == "change" and k.part == part and k.owner in ids,
            lambda k: k.kind == "change" and k.part == part,
        )
    elif scored:
        owners = set(re.findall(r"\bexp-\d+\b", told.sentence))
        pick = _first(
            lambda k: (
                _is_value(k)
                and k.metric in metrics
                and k.split in splits
                and (not owners or k.owner in owners)
            ),
            lambda k: _is_value(k) and k.metric in metrics and (not splits or k.split in splits),
            lambda k: _is_value(k) and k.metric in metrics,
            lambda k: _is_value(k) and (not splits or k.split in splits),
            _is_value,
        )
    elif told.unit in ("time", "money"):
        pick = _first(lambda k: k.kind == told.unit)
    else:
        pick = _first(lambda k: k.kind in ("fact", "step", "curve", "tool") and named(told, k))
    for wanted in pick:
        value = told.value / 100 if signed and told.plain > 1 else told.value
        if (known := evidence.nearest(value, wanted)) is not None:
            return f"{known.source} is {_shown(known.value)}"
    return ""


def _is_value(known: Known) -> bool:
    return known.kind == "score" and known.part == "value"


def _first(*tries: Callable[[Known], bool]) -> Iterable[Callable[[Known], bool]]:
    return tries


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
