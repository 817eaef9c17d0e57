"""What a card says of the luck of a seed: whether a gain over the parent was confirmed on new ones."""

from __future__ import annotations

from ml_intern.ledger import Comparison, Experiment, Ledger


def luck_of_the_seed(experiment: Experiment, ledger: Ledger) -> str:
    """A line of the card's limits; empty for an experiment that is held against nothing."""
    if experiment.parent is None:
        return ""
    found = _newest(experiment, ledger)
    of = f"its parent `{experiment.parent}`"
    if found is None:
        return f"- It was never compared with {of}: that it is better was not measured."
    if found.confirmed:
        return (
            f"- Its gain over {of} was confirmed: it held on {found.new_seeds} new seeds that the host drew."
        )
    if found.confirmed is False:
        return f"- Its gain over {of} did not hold on {found.new_seeds} new seeds: take it for luck."
    if found.verdict != "better":
        told = "not clearly apart from" if found.verdict == "inconclusive" else "worse than"
        return f"- It is {told} {of}."
    return f"- Its gain over {of} was not confirmed on new seeds: it may be the luck of its one seed."


def _newest(experiment: Experiment, ledger: Ledger) -> Comparison | None:
    """The newest comparison with the parent, by the metric that decides where there is one of it."""
    found = [c for c in ledger.comparisons() if (c.a, c.b) == (experiment.parent, experiment.id)]
    deciding = [c for c in found if c.metric == experiment.primary]
    return next(reversed(deciding or found), None)
