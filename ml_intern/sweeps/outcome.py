"""What came of a sweep's trials, in words that claim no more than was measured."""

from __future__ import annotations

from typing import Any

from ml_intern.ledger.model import Verdict
from ml_intern.sweeps.model import SweepPlan, Trial


def notes(plan: SweepPlan) -> list[str]:
    """What is to be known of the measure itself."""
    if plan.eval is None and not plan.metric.startswith("eval"):
        return [
            f"{plan.metric} is measured on the training rows: it rewards learning them by heart. A sweep on "
            "a sealed evaluation's metric, or on eval_loss with validation, is worth more."
        ]
    return []


def verdict(metric: str, trial: Trial, best: Trial) -> tuple[Verdict, str]:
    """What the ledger says of a trial that was not the best. No trial was compared in pairs."""
    told = f"{metric} {trial.value:.4g}, and {best.value:.4g} in {best.experiment}, the best of its sweep"
    if _overlap(trial, best):
        return "inconclusive", f"{told}: the intervals overlap."
    return "discarded", f"{told}."


def _overlap(trial: Trial, best: Trial) -> bool:
    if trial.low is None or trial.high is None or best.low is None or best.high is None:
        return False
    return trial.low <= best.high and best.low <= trial.high


def not_apart(best: Trial | None, trials: list[Trial]) -> list[str]:
    """Overlapping intervals do not prove that two are alike; they do say that the order may be chance."""
    others = [t for t in trials if t is not best and t.low is not None]
    alike = [t for t in others if best and _overlap(t, best)]
    if not alike:
        return []
    return [
        f"The 95 % intervals of {len(alike)} of {len(others)} others overlap with that of the best: their "
        "order may be chance. compare_experiments looks at the same problems in pairs and sees more."
    ]


def trial_of(row: dict[str, Any]) -> Trial:
    """A trial as the study's table has it."""
    names = ("number", "state", "value", "low", "high", "step", "experiment", "job", "note")
    return Trial(params=row.get("chosen", row["params"]), **{k: row[k] for k in names if k in row})
