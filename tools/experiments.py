"""The ledger's rows: open one with a hypothesis, close it with a verdict that the numbers carry."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from ml_intern import budget
from ml_intern.context import ToolContext
from ml_intern.errors import ToolError
from ml_intern.jobs.hardware import gpu_name
from ml_intern.ledger.model import Experiment, Measured, Scores
from ml_intern.models import resolve_model
from ml_intern.tooling import Price, tool


class Frozen(BaseModel):
    """The frozen experiment with its test scores."""

    experiment: str
    test: dict[str, Measured]
    scores: list[Scores]


def _opened(ctx: ToolContext, key: str) -> Experiment | None:
    return ctx.ledger.by_key(key)


@tool(effect="write", reconcile=_opened)
def start_experiment(
    ctx: ToolContext, hypothesis: str, change: str, parent: str | None = None, seed: int = 0
) -> Experiment:
    """Open a row of the ledger before the work starts; give its id to launch_training and evaluate.

    One experiment is one change against its parent. To confirm a winner on another seed, name the winner's
    own parent, so that the comparison asks the same question again.

    Args:
        hypothesis: What you expect, and why.
        change: The one thing that differs from the parent.
        parent: The experiment it is held against; none for a baseline.
        seed: Seed of the training.
    """
    return ctx.ledger.start(hypothesis, change, parent, seed, key=ctx.key)


@tool(effect="write", repeatable="an experiment that was closed with these words stays as it is")
def finish_experiment(
    ctx: ToolContext,
    id: str,
    verdict: Literal["kept", "discarded", "crashed", "inconclusive"],
    notes: str = "",
) -> Experiment:
    """Close an experiment. ``kept`` needs a gain over the parent that the paired interval confirms.

    A baseline (no parent) may be kept once it was measured.

    Args:
        id: The experiment.
        verdict: What became of the hypothesis.
        notes: What was learned.
    """
    if verdict == "kept":
        _demand_gain(ctx, ctx.ledger.get(id))
    return ctx.ledger.finish(id, verdict, notes)


@tool(effect="read")
def list_experiments(ctx: ToolContext) -> list[Experiment]:
    """All experiments, oldest first, with hypothesis, change, cost, metrics and verdict."""
    return ctx.ledger.list()


@tool(effect="read")
def best_experiment(ctx: ToolContext, metric: str | None = None) -> Experiment | None:
    """The best of the kept experiments by its dev score; of the others only where none was kept.

    Args:
        metric: The metric to rank by; the one that decides where it is not said.
    """
    wanted = ctx.settings.metric
    return ctx.ledger.best(metric or (wanted if any(wanted in e.dev for e in ctx.ledger.list()) else None))


def _scoring_price(ctx: ToolContext, arguments: Any) -> Price:
    """At the most an hour of a GPU, or what is left of it; nothing left is asked about."""
    if not gpu_name():
        return Price()
    left = ctx.services.left().get("gpu_hours")
    return Price(gpu_hours=min(1.0, left) if left else 1.0)


@tool(
    effect="compute",
    needs=["hub:read"],
    price=_scoring_price,
    repeatable="what was scored is read from the ledger, and a job that still runs is waited for",
)
def freeze_experiment(ctx: ToolContext, experiment: str) -> Frozen:
    """Score an experiment's model on the sealed test split. Once a session, for one experiment, not undone.

    Choose by dev scores first; another experiment afterwards is refused. The same one returns what was
    recorded.

    Args:
        experiment: The experiment that you will publish.
    """
    path = resolve_model(ctx, experiment)
    ctx.spent(budget.Measured(gpu_hours=0.0))  # its job is counted by itself
    scores = ctx.evals.score_test(
        experiment,
        path,
        cancelled=ctx.cancelled,
        on_progress=lambda status: ctx.progress(f"scoring {experiment} on the test split: {status.state}"),
    )
    return Frozen(experiment=experiment, test=ctx.ledger.get(experiment).test, scores=list(scores))


def _demand_gain(ctx: ToolContext, e: Experiment) -> None:
    if not e.dev:
        raise ToolError(
            f"{e.id} was not measured, so it cannot be kept.", "evaluate() its model on dev first."
        )
    if e.parent is None:
        return
    if not ctx.ledger.get(e.parent).dev:
        raise ToolError(
            f"{e.parent}, the parent of {e.id}, was not measured.", "evaluate() it on the same eval first."
        )
    found = ctx.evals.compare(e.parent, e.id)
    if found.verdict != "better":
        raise ToolError(
            f"{e.id} cannot be kept: {found.says}",
            f"Finish it as {'inconclusive' if found.verdict == 'inconclusive' else 'discarded'}, "
            "or measure more (another seed, a larger change).",
        )
