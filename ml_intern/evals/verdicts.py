"""How two experiments stand: configurations over all their seeds, corrected for how many were tried."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ml_intern.errors import ToolError
from ml_intern.evals.power import reach
from ml_intern.evals.replicates import MOST_SEEDS, compare_runs, holm, luck_of_the_best, seeds_needed
from ml_intern.evals.scorers import scorer
from ml_intern.evals.statistics import FEW, LEVEL, Difference
from ml_intern.ledger.configurations import configurations, first_of, trained
from ml_intern.ledger.model import Comparison, Experiment, Finding, ItemScores
from ml_intern.ledger.store import Ledger

_WORDS: dict[Finding, str] = {
    "better": "is better than",
    "worse": "is worse than",
    "inconclusive": "is not clearly apart from",
}


@dataclass(frozen=True)
class Side:
    """One configuration with the scorings of its seeds.

    Attributes:
        experiment: The experiment that was asked about.
        runs: Its own first, then its replications; each set of weights once.
        shared: The other side answers with the same weights, so the luck of their seed is in both.
    """

    experiment: Experiment
    runs: Sequence[tuple[Experiment, ItemScores]]
    shared: bool = False

    @property
    def fixed(self) -> bool:
        """A model as it comes, or the same one on both sides: no seed moves it."""
        return self.shared or not trained(self.experiment)

    @property
    def items(self) -> list[ItemScores]:
        """The scoring of each seed."""
        return [items for _, items in self.runs]

    @property
    def confirmations(self) -> list[ItemScores]:
        """The scorings on seeds that the host drew."""
        return [items for run, items in self.runs if run.replicates is not None]


class _Family:
    """The configurations of a ledger as one eval's metric has measured them."""

    def __init__(self, ledger: Ledger, eval: str, metric: str) -> None:
        self.experiments = {e.id: e for e in ledger.list()}
        self.words = configurations(list(self.experiments.values()))
        self._ledger, self._eval, self._metric = ledger, eval, metric

    def side(self, id: str) -> Side:
        """The runs of an experiment's configuration: its own first, each set of weights once."""
        runs, weights = [], set()
        others = [k for k in self.experiments if k != id and self.words[k] == self.words[id]]
        for run in [id, *others]:
            scores = self._ledger.scores(experiment=run, eval=self._eval, split="dev", items=True)
            newest = next((s for s in reversed(scores) if self._metric in s.items), None)
            if newest is not None and newest.model not in weights:
                weights.add(newest.model)
                runs.append((self.experiments[run], newest.items[self._metric]))
        return Side(self.experiments[id], runs)

    def waiting(self, *ids: str) -> list[str]:
        """Runs on new seeds that were opened for these configurations and not measured yet."""
        meant = {self.words[id] for id in ids}
        return [
            run.id
            for run in self.experiments.values()
            if self.words.get(run.replicates or "") in meant and not run.dev and run.verdict == "open"
        ]

    def rivals(self, a: str, b: str) -> list[Side]:
        """The other configurations that were tried against `a`: what came of it, trainings without a parent.

        Who names no parent for a variant, or the variant before it, has tried it all the same.
        """
        taken = {self.words[a], self.words[b]}
        ours = {k for k in self.experiments if self.words[k] == self.words[a]}
        began = min(self.experiments[k].created for k in ours)
        found = []
        for id, e in self.experiments.items():  # Oldest first, so that parents come before their children.
            loose = e.parent is None and trained(e) and e.created > began
            if not loose and e.parent not in ours:
                continue
            ours.add(id)
            if self.words[id] not in taken:
                taken.add(self.words[id])
                found.append(self.side(id))
        return [side for side in found if side.runs]

    def looked_at(self, side: Side) -> list[ItemScores]:
        """What votes of the same weights have shown beside this one, with a row of their own or without."""
        weights, seen = side.experiment.model, {items.numerator.tobytes() for items in side.items}
        found = []
        for scores in self._ledger.scores(eval=self._eval, split="dev", items=True):
            for name, items in scores.items.items() if scores.weights == weights else ():
                if name.startswith(f"{self._metric} by ") and items.numerator.tobytes() not in seen:
                    seen.add(items.numerator.tobytes())
                    found.append(items)
        return found


def stand(ledger: Ledger, a: str, b: str, eval: str, metric: str) -> Comparison:
    """How experiment `b` stands against `a` on the dev items of an eval.

    Raises:
        ToolError: They were not measured on the same items.
    """
    family = _Family(ledger, eval, metric)
    up = scorer(metric).higher_is_better
    left, right = family.side(a), family.side(b)
    if family.words[a] == family.words[b]:
        return _replications(left, right, eval, metric, up)
    tried = _also_tried(family, a, b, right)
    others = [_compared(_of_the_same_weights(left, side), side, up).p for side in tried]
    left = _of_the_same_weights(left, right)
    found = _compared(left, right, up)
    corrected = holm([found.p, *others])[0]
    verdict = found.verdict if corrected < 1 - LEVEL else "inconclusive"
    variants = len(others) + 1
    confirmed, needed = _confirmed(left, right, up, verdict, variants)
    luck = luck_of_the_best(variants) * found.error if variants > 1 else None
    notes = _notes(left, right, found, corrected, variants, luck)
    notes += _of_the_seeds(left, right, confirmed, needed, family.waiting(a, b))
    return _comparison(
        left,
        right,
        found,
        eval,
        metric,
        up,
        verdict=verdict,
        variants=variants,
        p_corrected=corrected,
        luck_of_best=luck,
        confirmed=confirmed,
        seeds_needed=needed,
        notes=notes,
    )


def _also_tried(family: _Family, a: str, b: str, right: Side) -> list[Side]:
    """What else was held against `a`; of votes everything that was seen of these weights, not rows alone."""
    rivals, own = family.rivals(a, b), right.experiment
    if own.inference is None:
        return rivals
    others = [r for r in rivals if r.experiment.inference is None or r.experiment.model != own.model]
    return others + [Side(own, [(own, items)]) for items in family.looked_at(right)]


def _of_the_same_weights(left: Side, right: Side) -> Side:
    """A way of answering is held against the very model that answers so, not against others of its seeds."""
    same = [run for run in left.runs if run[0].model == right.experiment.model]
    if right.experiment.inference is None or not same:
        return left
    return Side(left.experiment, same, shared=True)


def standing(ledger: Ledger) -> list[Experiment]:
    """All experiments, each with how it stands among the others by the comparisons that were made."""
    experiments, comparisons = ledger.list(), ledger.comparisons()
    words = configurations(experiments)
    told = []
    for e in experiments:
        lines = [f"changed also {', '.join(e.also)}"] if e.also else []
        if e.inference is not None:
            lines.append(f"answers with the weights of {e.inference.model} by {e.inference}")
        runs = [run for run in experiments if words[run.id] == words[e.id]]
        own = first_of(runs)
        if own.id != e.id:
            lines.append(f"runs {own.id} again on seed {e.seed}: a replication, not a variant")
        seeds = sum(bool(run.dev) for run in runs)
        if trained(e) and e.dev and own.id == e.id:
            lines.append(f"{seeds} seed{'s' * (seeds > 1)}")
        lines += [line for c in comparisons if c.b == e.id and (line := _in_family(c, comparisons))]
        told.append(e.model_copy(update={"standing": lines}))
    return told


def _in_family(c: Comparison, comparisons: Sequence[Comparison]) -> str:
    """A comparison with the correction for all that stand against the same experiment today."""
    family = [o for o in comparisons if (o.a, o.eval, o.metric) == (c.a, c.eval, c.metric)]
    corrected = holm([o.p for o in family])[family.index(c)]
    told = "inconclusive" if corrected >= 1 - LEVEL else c.verdict
    seeds = {
        "untried": "not confirmed on new seeds",
        "held": "confirmed on new seeds",
        "lost": "not held on new seeds",
        "open": "too few new seeds to tell whether it holds",
    }
    more = f", {seeds[c.confirmation]}" if c.verdict == "better" or c.confirmation != "untried" else ""
    of = f" ({corrected:.2g} among {len(family)}, Holm)" if len(family) > 1 else ""
    return f"{told} against {c.a} in {c.metric}: {c.difference:+.4g}, p={c.p:.2g}{of}{more}"


def _compared(left: Side, right: Side, up: bool) -> Difference:
    try:
        return compare_runs(left.items, right.items, up, left.fixed)
    except ValueError as error:
        a, b = left.experiment.id, right.experiment.id
        raise ToolError(f"{a} and {b} cannot be compared: {error}.", "evaluate() both again.") from None


def _confirmed(
    left: Side, right: Side, up: bool, verdict: Finding, looks: int
) -> tuple[bool | None, int | None]:
    """Whether a gain holds over all seeds, and on those alone that the host drew after it was found.

    It did not where they point the other way, where less than half of it is left and that is too little to
    be shown by seeds, and where they leave room for no gain and none for the one that was seen at first.
    Else nobody knows yet: the second value says how many seeds would tell; see `seeds_needed`.
    """
    new, old = right.confirmations, left.confirmations or left.items
    if not new or (not left.fixed and len(left.runs) < 2) or len(right.runs) < 2:
        return None, None
    # On the new seeds alone the spread of two or three says little; over all of them it has been asked.
    mean = compare_runs(old, new, up, left.fixed)
    if mean.difference == 0 or (mean.difference > 0) != up or verdict == "worse":
        return False, None
    if verdict == "better":
        return True, None
    needed = seeds_needed(left.items, right.items, mean.difference, left.fixed, looks)
    first = _first_gain(left, right)
    gone = needed in (0, MOST_SEEDS) and abs(mean.difference) < abs(first) / 2
    if gone or (len(new) > 1 and mean.low <= 0 <= mean.high and not mean.low <= first <= mean.high):
        return False, None
    return None, needed


def _first_gain(left: Side, right: Side) -> float:
    """The difference that was seen before the host drew seeds."""
    first = [next((i for run, i in side.runs if not run.replicates), side.items[0]) for side in (left, right)]
    was, became = (float(items.numerator.sum() / items.denominator.sum()) for items in first)
    return became - was


def _notes(
    left: Side,
    right: Side,
    found: Difference,
    corrected: float,
    variants: int,
    luck: float | None,
) -> list[str]:
    a, b = left.experiment, right.experiment
    notes = [f"Fewer than {FEW} items or groups say nothing."] if found.n < FEW else []
    if b.also:
        notes.append(f"{b.id} changed also {', '.join(b.also)}: the difference is not of one change alone.")
    if luck is not None:
        notes.append(
            f"It is one of {variants} held against {a.id}: p={corrected:.2g} after Holm's correction, and "
            f"the best of {variants} equal ones would look better by about {luck:.2g} by luck alone."
        )
    if b.inference is not None and left.shared:
        notes.append(
            f"Both answer with the same weights, {b.id} by {b.inference}: it holds for these weights."
        )
    return notes


def _of_the_seeds(
    left: Side, right: Side, confirmed: bool | None, needed: int | None, waiting: Sequence[str]
) -> list[str]:
    """What the seeds of both say about a gain, and what is to be done where they say nothing."""
    a, b, new = left.experiment.id, right.experiment.id, _counted(len(right.confirmations), "new seed")
    more = f"confirm_experiment({b!r}, against={a!r}, seeds=…)"
    if waiting:
        more = f"measure {', '.join(waiting)} first, which were opened for this"
    single = [side.experiment.id for side in (left, right) if len(side.runs) == 1 and not side.fixed]
    if confirmed is not None:
        return [f"{'It held' if confirmed else 'It did not hold'} on {new} that the host drew."]
    if needed is not None:
        return [_too_few(new, needed, len(right.runs), more, left.fixed)]
    if single:
        return [
            f"One seed of {' and of '.join(single)} cannot separate a change from the luck of the seed: "
            f"confirm on new seeds, {more.replace(', seeds=…', '')}."
        ]
    none = "No run on a seed that was drawn after the gain was found is measured"
    return [] if right.fixed else [f"{none}: {more.replace(', seeds=…', '')}."]


def _too_few(new: str, needed: int, have: int, more: str, one_side: bool) -> str:
    """Neither held nor lost: what would tell."""
    told = f"Whether it holds cannot be told yet: on {new} that the host drew it is there, but not clearly."
    if needed == 0:
        return f"{told} More seeds alone would not help: these items are too few for so small a gain."
    of = "it" if one_side else "each"
    if needed >= MOST_SEEDS:
        return f"{told} More than {MOST_SEEDS} seeds of {of} would be needed: take the gain for not shown."
    about = max(needed, have + 1)
    return f"{told} It takes about {about} seeds of {of}, and there are {have}: {more}."


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _replications(left: Side, right: Side, eval: str, metric: str, up: bool) -> Comparison:
    """Two experiments that differ in their seed alone: what is between them is luck."""
    own, other = left.items[0], next(i for run, i in right.runs if run.id == right.experiment.id)
    found = compare_runs([own], [other], up)
    a, b = left.experiment, right.experiment
    values = [items.numerator.sum() / items.denominator.sum() for items in left.items]
    spread = math.sqrt(sum((v - sum(values) / len(values)) ** 2 for v in values) / max(1, len(values) - 1))
    notes = [
        f"{b.id} and {a.id} are one configuration on the seeds {b.seed} and {a.seed}: what is between them "
        f"is the luck of the seed, not a gain. The standard deviation over {len(values)} is {spread:.2g}."
    ]
    alone = (Side(a, left.runs[:1]), Side(b, [r for r in right.runs if r[0].id == b.id]))
    said: dict[str, Any] = {"notes": notes, "seed_spread": spread}
    return _comparison(*alone, found, eval, metric, up, verdict="inconclusive", **said)


def _comparison(
    left: Side,
    right: Side,
    found: Difference,
    eval: str,
    metric: str,
    up: bool,
    *,
    verdict: Finding,
    notes: list[str],
    **more: Any,
) -> Comparison:
    a, b = left.experiment.id, right.experiment.id
    seen = reach(found.error, found.freedom or found.n - 1) if found.error > 0 and found.n > 1 else None
    if seen and seen > 1 and left.items[0].right_or_wrong:
        seen = None  # no two shares differ by so much
    return Comparison(
        a=a,
        b=b,
        eval=eval,
        metric=metric,
        value_a=found.value_a,
        value_b=found.value_b,
        difference=found.difference,
        low=found.low,
        high=found.high,
        p=found.p,
        n=found.n,
        higher_is_better=up,
        verdict=verdict,
        method=found.method,
        seeds_a=len(left.runs),
        seeds_b=len(right.runs),
        new_seeds=len(right.confirmations),
        detectable=seen,
        notes=notes,
        says=" ".join([_sentence(left, right, found, metric, verdict, seen), *notes]),
        **{"p_corrected": found.p, **more},
    )


def _sentence(
    left: Side, right: Side, found: Difference, metric: str, verdict: Finding, seen: float | None
) -> str:
    a, b = left.experiment.id, right.experiment.id
    unit = "items" if left.items[0].groups is None else "groups"
    k = _decimals(found.high - found.low)
    values = (
        f"{metric} {found.value_b:.{k}f} against {found.value_a:.{k}f}, difference {found.difference:+.{k}f}"
    )
    interval = f"[{found.low:+.{k}f}, {found.high:+.{k}f}], p={found.p:.2g}, n={found.n} {unit}"
    told = f"{b} {_WORDS[verdict]} {a}: {values} {interval} ({found.method})."
    if verdict == "inconclusive" and seen is not None:
        told += f" A difference of {seen:.{k}f} would have been seen four times in five."
    return told


def _decimals(width: float) -> int:
    """Decimals for all numbers of a comparison: enough to see three digits of its interval's width."""
    return min(6, max(3, 2 - math.floor(math.log10(width)))) if 0 < width < math.inf else 3
