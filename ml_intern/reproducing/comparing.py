"""The card's numbers beside the new ones, with a verdict on each."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.hub.card import line, show, table
from ml_intern.hub.objects import write_atomic
from ml_intern.reproducing.card import Card, Value

if TYPE_CHECKING:
    from ml_intern.ledger import Experiment, Measured

FILE, TEXT = "reproduction.json", "reproduction.md"
SAME, WITHIN, OUTSIDE = "same", "within the interval", "outside"
UNMEASURED, UNJUDGED = "not measured again", "has no interval"
COUNTS = ("parameters", "steps", "tokens_seen", "epochs")
_TIMES = ("train_seconds",)


@dataclass(frozen=True)
class Number:
    """A number of the card and what came out now.

    Attributes:
        what: ``test bits_per_byte``, ``parameters``.
        card: As the card has it: ``value``, and ``low`` and ``high`` where it has an interval.
        now: The same of today; None where it was not measured.
        verdict: ``same`` (of bit-equal weights, or a count), ``within the interval`` of the card,
            ``outside``, ``not measured again``, or ``has no interval``.
    """

    what: str
    card: dict[str, float]
    now: dict[str, float] | None
    verdict: str


@dataclass(frozen=True)
class Weights:
    """A trained model by its card's name: is it bit for bit the same?

    Attributes:
        card: Fingerprint of weights, configuration, tokenizer and templates; empty where the card has none.
        now: The same of today.
        differing: Files that differ, where the card tells their hashes.
    """

    name: str
    card: str
    now: str
    differing: list[str] = field(default_factory=list)

    @property
    def same(self) -> bool | None:
        """None: nobody can know."""
        return self.card == self.now if self.card and self.now else None


@dataclass(frozen=True)
class Made:
    """A dataset of the card and what came of the same steps."""

    name: str
    rows: int
    rows_now: int
    sha256: str
    sha256_now: str

    @property
    def same(self) -> bool:
        """Row for row."""
        return self.sha256 == self.sha256_now


@dataclass
class Outcome:
    """What came of a reproduction; `failed` says why it did not come to its end."""

    card: str
    revision: str = ""
    data: list[Made] = field(default_factory=list)
    weights: list[Weights] = field(default_factory=list)
    numbers: list[Number] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    failed: str = ""

    @property
    def reproduced(self) -> bool:
        """Nothing is outside, and something was held against the card: its weights or a measured number."""
        if self.failed or any(n.verdict == OUTSIDE for n in self.numbers):
            return False
        if self.weights and self.weights[-1].same:
            return True
        return any(n.verdict in (SAME, WITHIN) and "low" in n.card for n in self.numbers)

    @property
    def says(self) -> str:
        """The verdict in a sentence."""
        if self.failed:
            return f"Not reproduced: {self.failed}"
        counts = {v: sum(n.verdict == v for n in self.numbers) for v in (SAME, WITHIN, OUTSIDE)}
        told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count) or "none judged"
        same = self.weights[-1].same if self.weights else None
        how = "the weights are bit for bit the same" if same else "the weights differ"
        if not self.weights or same is None:
            how = "nobody can tell whether the weights are the same"
        out = [n.what for n in self.numbers if n.verdict == OUTSIDE]
        bad = f"; outside: {', '.join(out[:5])}" if out else ""
        return f"{'Reproduced' if self.reproduced else 'Not reproduced'}: {how}; numbers: {told}{bad}."

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "card": self.card,
            "revision": self.revision,
            "reproduced": self.reproduced,
            "says": self.says,
            "data": [{**asdict(d), "same": d.same} for d in self.data],
            "weights": [{**asdict(w), "same": w.same} for w in self.weights],
            "numbers": [asdict(n) for n in self.numbers],
            "lacking": self.lacking,
            "differences": self.differences,
        }

    def markdown(self) -> str:
        """For people: the verdict and the tables."""
        parts = [self.says]
        if self.numbers:
            rows = [[line(n.what), _told(n.card), _told(n.now), n.verdict] for n in self.numbers]
            parts.append(table(["number", "card", "now", "verdict"], rows))
        if self.weights:
            words = {True: "the same", False: "differ", None: "unknown"}
            models = [
                [f"`{w.name}`", f"`{w.card[:16]}`", f"`{w.now[:16]}`", words[w.same] + _which(w)]
                for w in self.weights
            ]
            parts.append(table(["model", "fingerprint of the card", "now", "weights"], models))
        if self.data:
            sets = [
                [f"`{d.name}`", f"{d.rows:,}", f"{d.rows_now:,}", "same rows" if d.same else "other rows"]
                for d in self.data
            ]
            parts.append(table(["dataset", "rows of the card", "now", "sha256"], sets))
        parts += [
            "\n".join(f"- {line(t)}" for t in told) for told in (self.lacking, self.differences) if told
        ]
        return "\n\n".join(parts)

    def write(self, folder: Path) -> None:
        """Keep it in the session's folder, for the report and for who asks again."""
        write_atomic(folder / FILE, json.dumps(self.to_json(), indent=1, ensure_ascii=False).encode())
        write_atomic(folder / TEXT, f"{self.markdown()}\n".encode())


def read_outcome(folder: Path) -> dict[str, Any] | None:
    """What a session's reproduction came to; None where it is none, or has not come to its end."""
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def numbers(card: Card, now: Experiment | None, same_weights: bool, unjudged: set[str]) -> list[Number]:
    """Every number of the card that the new experiment could have, with its verdict.

    Args:
        card: The card.
        now: The ledger's row of the reproduction.
        same_weights: Whether the new weights are bit for bit those of the card.
        unjudged: Splits whose items are not those of the card.
    """
    then = card.experiment
    found = []
    for split, were, are in (
        ("test", then.test, now.test if now else {}),
        ("dev", then.dev, now.dev if now else {}),
    ):
        for name, old in were.items():
            new = are.get(name) if split not in unjudged else None
            found.append(_measured(f"{split} {name}", old, new, same_weights))
    facts = now.facts if now else {}
    found += [
        _fact(name, value, facts.get(name), same_weights)
        for name, value in then.facts.items()
        if name not in _TIMES
    ]
    return found


def _measured(what: str, old: Value, new: Measured | None, same_weights: bool) -> Number:
    card = {"value": old.value, "low": old.low, "high": old.high}
    if new is None:
        return Number(what, card, None, UNMEASURED)
    now = {"value": new.value, "low": new.low, "high": new.high}
    if same_weights and _equal(old.value, new.value):
        return Number(what, card, now, SAME)
    slack = 1e-9 * max(abs(old.low), abs(old.high))
    inside = old.low - slack <= new.value <= old.high + slack
    return Number(what, card, now, WITHIN if inside else OUTSIDE)


def _fact(name: str, old: float, new: float | None, same_weights: bool) -> Number:
    if new is None:
        return Number(name, {"value": old}, None, UNMEASURED)
    equal = _equal(old, new)
    otherwise = OUTSIDE if name in COUNTS else UNJUDGED
    verdict = SAME if equal and (same_weights or name in COUNTS) else otherwise
    return Number(name, {"value": old}, {"value": new}, verdict)


def _equal(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)


def differing_files(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Names of the files that are not the same; none where the card does not tell."""
    return [n for n in sorted({*then, *now}) if then.get(n) != now.get(n)] if then else []


def _told(value: Mapping[str, float] | None) -> str:
    if value is None:
        return ""
    text = f"{value['value']:,.0f}" if _whole(value["value"]) and "low" not in value else show(value["value"])
    return f"{text} ({show(value['low'])} to {show(value['high'])})" if "low" in value else text


def _whole(value: float) -> bool:
    return value == int(value) and abs(value) < 1e15


def _which(w: Weights) -> str:
    return f": {', '.join(line(n) for n in w.differing[:6])}" if w.differing and not w.same else ""
