"""Conditions on a job that runs, such as ``loss < 2.0``, ``loss plateau`` or ``reward collapse or step >=
100``.

Standard library only: a job's supervisor uses it to end a training by rule.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ml_intern.errors import ToolError
from ml_intern.jobs.curves import Point, curve, is_number, level, rows, window
from ml_intern.jobs.rules import look
from ml_intern.jobs.runs import COLLAPSE, NOTES, Run, Seen
from ml_intern.jobs.thresholds import Thresholds

HINT = (
    "Write a comparison ('loss < 2.0', 'step >= 100', 'eval_loss < 1.5'), a word for a rule ('loss plateau', "
    "'divergence', 'overfitting', 'nan', 'reward collapse', 'kl blow-up', 'entropy collapse', "
    "'length collapse', 'zero variance', 'held out worse', 'displaced', 'alert' for any), or "
    "several with 'or' and 'and'."
)
ALERT = "alert"
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_COMPARISON = re.compile(r"([\w/.-]+?)\s*(<=|>=|<|>)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)", re.I)
_KINDS: dict[str, frozenset[str]] = {
    "nan": frozenset({"nan", "zero_loss"}),
    "divergence": frozenset({"divergence"}),
    "overfitting": frozenset({"overfitting"}),
    "learned little": frozenset({"learned_little"}),
    "spikes": frozenset({"spikes"}),
    "zero variance": frozenset({"zero_variance"}),
    "kl blow up": frozenset({"kl_blow_up"}),
    "entropy collapse": frozenset({"entropy_collapse"}),
    "length collapse": frozenset({"length_collapse"}),
    "reward drop": frozenset({"reward_drop"}),
    "displaced": frozenset({"displaced"}),
    "held out worse": frozenset({"held_out_worse"}),
    "cut off": frozenset({"cut_off"}),
    "reward collapse": COLLAPSE,
    ALERT: frozenset(),
}
_SAME = {
    "diverges": "divergence", "diverged": "divergence", "loss divergence": "divergence",
    "overfit": "overfitting", "overfits": "overfitting", "collapse": "reward collapse", "any alert": ALERT,
    "alerts": ALERT, "an alert": ALERT, "spike": "spikes", "kl blowup": "kl blow up",
    "likelihood displacement": "displaced",
}  # fmt: skip
_FLAT = ("plateau", "flat", "plateaus")


class Status(Protocol):
    """What of a job's status is looked at."""

    step: int
    metrics: dict[str, float]
    output: str


@dataclass(frozen=True)
class Met:
    """That a condition holds, and why, in words with numbers."""

    why: str


Look = Callable[[int, Mapping[str, float], Run], Met | None]


@dataclass
class Condition:
    """A condition that was understood.

    Attributes:
        text: As it was written.
        names: The metrics that it compares.
        limits: When its rules speak.
        curves: Whether it asks for more than the newest values.
    """

    text: str
    names: list[str]
    limits: Thresholds
    curves: bool
    _any_of: list[list[Look]] = field(repr=False)
    _seen: dict[str, tuple[int, Run]] = field(default_factory=dict, repr=False)

    def __call__(self, status: Status) -> bool:
        """Whether a job meets it now."""
        return self.met(status) is not None

    def met(self, status: Status) -> Met | None:
        """Why a job meets it now, or None. What it measured is read from its folder, when that has grown."""
        return self.check(
            status.step, status.metrics, self._run(Path(status.output).parent / "metrics.jsonl")
        )

    def check(self, step: int, newest: Mapping[str, float], run: Run) -> Met | None:
        """The same for a step, the newest values and the rows themselves."""
        for every in self._any_of:
            met = [look(step, newest, run) for look in every]
            if all(met):
                return Met(" and ".join(m.why for m in met if m))
        return None

    def _run(self, path: Path) -> Run:
        try:
            size = path.stat().st_size if path.name and path.parent.name else 0
        except OSError:
            return Run([], limits=self.limits)
        known = self._seen.get(str(path))
        if known is None or known[0] != size:
            known = self._seen[str(path)] = (size, Run(rows(path) if size else [], limits=self.limits))
        return known[1]


def condition(text: str, limits: Thresholds | None = None) -> Condition:
    """Read a condition.

    Raises:
        ToolError: It is not understood; says what can be written.
    """
    names: list[str] = []
    parts = [
        re.split(r"\s+and\s+", part.strip(), flags=re.I) for part in re.split(r"\s+or\s+", text, flags=re.I)
    ]
    any_of = [[_one(one.strip(), text, names) for one in every] for every in parts]
    curves = not all(_COMPARISON.fullmatch(one.strip()) for every in parts for one in every)
    return Condition(text, names, limits or Thresholds(), curves, any_of)


def _one(text: str, whole: str, names: list[str]) -> Look:
    found = _COMPARISON.fullmatch(text)
    if found:
        names += [found[1]] if found[1] != "step" else []
        return _comparison(found[1], found[2], float(found[3]))
    words = " ".join(re.sub(r"[-_\s]+", " ", text.lower()).split())
    metric, _, last = text.strip().rpartition(" ")
    if words in _FLAT or (last.lower() in _FLAT and re.fullmatch(r"[\w/.-]+", metric)):
        name = metric or "loss"
        names += [name] if name != "loss" else []
        return _flat(name)
    words = _SAME.get(words, words)
    if words in _KINDS:
        return _rule(_KINDS[words] or None)
    raise ToolError(f"The condition {whole!r} is not understood{_slip(text, words)}.", HINT)


def _slip(text: str, words: str) -> str:
    """What is probably meant."""
    if re.search(r"==|!=|[^<>]=", text):
        return " (an exact value may never be met: compare with <, <=, > or >=)"
    if re.search(r"[<>]", text):
        return " (a comparison has a metric on its left and a number on its right)"
    from ml_intern.tooling import did_you_mean  # it brings pydantic along, which a supervisor does without

    return did_you_mean(words, [*_KINDS, *_SAME, "loss plateau"])


def _comparison(name: str, sign: str, bound: float) -> Look:
    compare = _COMPARE[sign]

    def holds(step: int, newest: Mapping[str, float], run: Run) -> Met | None:
        value = step if name == "step" else newest.get(name)
        if value is None or not is_number(value) or not compare(value, bound):
            return None
        if name == "step":
            return Met(f"step is {value:.6g}, {sign} {bound:g}")
        return Met(f"{name} is {value:.6g}, {sign} {bound:g}, at step {step}")

    return holds


def _flat(name: str) -> Look:
    """A plateau of any metric: the rule for the loss, on the metric's own values."""

    def holds(step: int, newest: Mapping[str, float], run: Run) -> Met | None:
        table = [{"step": int(s), "loss": value} for s, value in _falling(curve(run.table, name))]
        found = [seen for seen in look(Run(table, limits=run.limits)) if seen.kind == "plateau"]
        return Met(found[0].message.replace("The loss", name)) if found else None

    return holds


def _falling(points: list[Point]) -> list[Point]:
    """The same curve, turned over where it rises: a reward is flat as a loss is, seen from below."""
    if not points or level(points[-window(points) :]) <= level(points[: window(points)]):
        return points
    top = level(points[-window(points) :])
    return [(step, 2 * top - value) for step, value in points]


def _rule(kinds: Iterable[str] | None) -> Look:
    def holds(step: int, newest: Mapping[str, float], run: Run) -> Met | None:
        found = next((seen for seen in _alarms(run) if kinds is None or seen.kind in kinds), None)
        return Met(f"{found.kind.replace('_', ' ')}: {found.message}") if found else None

    return holds


def _alarms(run: Run) -> list[Seen]:
    return [seen for seen in look(run) if seen.kind not in NOTES] if run.table else []
