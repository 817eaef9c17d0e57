"""What a card says of the luck of a seed: what other seeds gave, and whether a gain was confirmed on them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import NamedTuple

from ml_intern.ledger import Comparison, Experiment, Ledger
from ml_intern.ledger.configurations import replications


class OverSeeds(NamedTuple):
    """What one configuration has measured on several seeds: dev scores of the metric that decides."""

    metric: str
    n: int
    mean: float
    low: float
    high: float


def over_seeds(experiment: Experiment, ledger: Ledger) -> OverSeeds | None:
    """An experiment's dev scores over its seeds; nothing where one was measured."""
    metric = experiment.primary
    if not metric:
        return None
    runs = [e for e in replications(experiment, ledger.list()) if e.inference == experiment.inference]
    values = list({e.seed: e.dev[metric].value for e in runs if metric in e.dev}.values())
    if len(values) < 2:
        return None
    return OverSeeds(metric, len(values), statistics.fmean(values), min(values), max(values))


def held_against(experiment: Experiment, ledger: Ledger) -> str:
    """What an experiment was held against, in words of the card's method."""
    if experiment.parent:
        return f"`{experiment.parent}`"
    tried = [c for c in ledger.comparisons() if c.confirmation != "untried"]
    against = _listed(c.a for c in tried if c.b == experiment.id)
    others = _listed(c.b for c in tried if c.a == experiment.id)
    if not against and not others:
        return "nothing, it is a baseline"
    told = [f"{against}, on new seeds" if against else "no parent"]
    told += [f"{others} against it on new seeds"] if others else []
    return "; ".join(told)


def luck_of_the_seed(experiment: Experiment, ledger: Ledger) -> str:
    """A line of the card's limits; empty for an experiment that is held against nothing."""
    found = _newest(experiment, ledger)
    if found is None:
        if experiment.parent is None:
            return ""
        of = f"its parent `{experiment.parent}`"
        return f"- It was never compared with {of}: that it is better was not measured."
    of = f"its parent `{found.a}`" if experiment.parent else f"`{found.a}`"
    if found.confirmed:
        return (
            f"- Its gain over {of} was confirmed: it held on {found.new_seeds} new seeds that the host drew."
        )
    if found.confirmed is False:
        return f"- Its gain over {of} did not hold on {found.new_seeds} new seeds: take it for luck."
    if found.confirmation == "open":
        return f"- Its gain over {of} may be luck: {found.new_seeds} new seeds were too few to tell."
    if found.verdict != "better":
        told = "not clearly apart from" if found.verdict == "inconclusive" else "worse than"
        return f"- It is {told} {of} in {found.metric}."
    return f"- Its gain over {of} was not confirmed on new seeds: it may be the luck of its one seed."


def behind_its_parent(experiment: Experiment, ledger: Ledger) -> str:
    """Who publishes a model whose parent scored better on dev is told, in a line; else empty."""
    metric, parent = experiment.primary, experiment.parent
    if not metric or not parent:
        return ""
    before, now = ledger.get(parent).dev.get(metric), experiment.dev.get(metric)
    if before is None or now is None or not before.beats(now):
        return ""
    found = _newest(experiment, ledger)
    clear = found is not None and found.metric == metric and found.verdict == "worse"
    sure = "is worse than" if clear else "scored lower than" if now.higher_is_better else "scored higher than"
    return (
        f"{experiment.id} {sure} its parent {parent} in {metric}, which decides: {now.value:.4g} against "
        f"{before.value:.4g} on dev."
    )


def _newest(experiment: Experiment, ledger: Ledger) -> Comparison | None:
    """The newest comparison with the parent, by the metric that decides where there is one of it.

    Without a parent the newest one that was tried on new seeds.
    """
    found = [c for c in ledger.comparisons() if c.b == experiment.id]
    if experiment.parent is None:
        found = [c for c in found if c.confirmation != "untried"]
    else:
        found = [c for c in found if c.a == experiment.parent]
    deciding = [c for c in found if c.metric == experiment.primary]
    return next(reversed(deciding or found), None)


def _listed(ids: Iterable[str]) -> str:
    return " and ".join(f"`{id}`" for id in dict.fromkeys(ids))
