"""Ways of answering: one greedy answer, or a choice among samples; and which row of the ledger has which."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ml_intern.errors import ToolError
from ml_intern.evals.model import EvalInfo, fingerprint
from ml_intern.evals.scorers import scorer
from ml_intern.ledger.model import Experiment, Inference, ItemScores
from ml_intern.ledger.store import Ledger


@dataclass(frozen=True)
class Way:
    """How answers are made, with what is needed for it.

    Attributes:
        inference: How.
        reward: Folder of the reward model.
        greedy: How the same weights do with one greedy answer; nothing on the test split.
    """

    inference: Inference
    reward: Path | None = None
    greedy: ItemScores | None = None


def metric_of(info: EvalInfo) -> str:
    """The metric whose answers are voted on: the one that decides, else the first that has answers.

    Raises:
        ToolError: None has.
    """
    for name in (info.primary, *info.scorers):
        if _has_answers(name):
            return name
    raise ToolError(
        f"The eval {info.name!r} has no answers to choose among: it scores {', '.join(info.scorers)}.",
        "Take an eval with a metric such as exact_match.",
    )


def answers(info: EvalInfo) -> bool:
    """Whether an eval has answers to vote on."""
    return any(map(_has_answers, info.scorers))


def _has_answers(name: str) -> bool:
    return scorer(name).asks == "completions" and scorer(name).answer is not None


def way_of(row: Experiment, reward: Path | None) -> Way | None:
    """How an experiment answers, where it does so by several samples.

    Raises:
        ToolError: Its reward model is missing, or another one than on dev.
    """
    if row.inference is None:
        return None
    wanted = row.inference.reward_sha256 if row.inference.judge else ""
    if wanted and (reward is None or fingerprint(reward) != wanted):
        raise ToolError(
            f"{row.inference.reward_model!r} is not the reward model that {row.id} was measured with.",
            "Bring that one back; a choice by another was never measured.",
        )
    return Way(row.inference, reward if wanted else None)


def demand_greedy_row(ledger: Ledger, experiment: str | None) -> None:
    """Refuse to write one greedy answer's score where several samples were measured.

    Raises:
        ToolError: Names how the experiment answers.
    """
    row = ledger.get(experiment) if experiment is not None else None
    if row is not None and row.inference is not None:
        raise ToolError(
            f"{row.id} answers by {row.inference}; a greedy score is none of its own.",
            f"best_of_n measures it; evaluate(model={row.inference.model!r}) has the greedy score.",
        )


def demand_own_row(ledger: Ledger, experiment: str | None, inference: Inference, weights: str) -> None:
    """Refuse to write a vote's score where something else was measured.

    Raises:
        ToolError: The experiment has a training or a greedy score, answers in another way, or with other
            weights than its parent, so that more than the way of answering would change.
    """
    row = ledger.get(experiment) if experiment is not None else None
    if row is None:
        return
    hint = "Open one for this way of answering: start_experiment(…, parent=the model's experiment)."
    if row.inference is None and (row.jobs or row.dev):
        raise ToolError(f"{row.id} is measured by its greedy answers.", hint)
    if row.inference is not None and row.inference.variant(row.model) != inference.variant(weights):
        raise ToolError(f"{row.id} answers by {row.inference} of {row.inference.model}.", hint)
    parent = ledger.get(row.parent) if row.parent else None
    if parent is not None and parent.model and parent.model != weights:
        raise ToolError(
            f"{inference.model!r} has not the weights of {parent.id}, the parent of {row.id}: only the way "
            "of answering may change.",
            hint,
        )
