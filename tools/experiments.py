"""The ledger's rows: open one with a hypothesis, close it with a verdict that the numbers carry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from ml_intern.claims.notes import check_notes
from ml_intern.context import ToolContext
from ml_intern.errors import ToolError
from ml_intern.evals.verdicts import standing
from ml_intern.jobs.hardware import gpu_name
from ml_intern.jobs.preflight import METHODS
from ml_intern.ledger.configurations import same_configuration, trained
from ml_intern.ledger.model import Comparison, Experiment, Measured, Scores
from ml_intern.models import resolve_model, reward_model_of
from ml_intern.prices import Measured as Spent
from ml_intern.prices import Price
from ml_intern.tooling import tool
from ml_intern.tools.scaling import drawing_price


class Frozen(BaseModel):
    """The frozen experiment with its test scores."""

    experiment: str
    test: dict[str, Measured]
    scores: list[Scores]


class ConfirmationRun(BaseModel):
    """One run on a new seed: its row in the ledger, and what launch_training is to be given.

    Attributes:
        experiment: The row.
        replicates: The experiment whose configuration it runs again.
        seed: Drawn by the host.
        launch: Arguments of launch_training; empty where a script trained, which is then to be run again.
    """

    experiment: str
    replicates: str
    seed: int
    launch: dict[str, Any]


class Confirmation(BaseModel):
    """The runs that confirm a gain, and what comes after them."""

    runs: list[ConfirmationRun]
    says: str


_NEXT = (
    "Launch each run with launch_training(**run.launch), wait, evaluate each, then compare_experiments with "
    "the experiment that was won against: `confirmed` says whether the gain holds, None that more seeds are "
    "needed."
)


_MADE = (
    *("config", "data", "code_hash", "environment", "base", "made", "model"),
    *("cost", "created", "finished", "seed_by", "inference"),
)
"""What a row of the ledger holds for who wants to do it again."""


def _opened(ctx: ToolContext, key: str) -> Experiment | None:
    return ctx.ledger.by_key(key)


@tool(effect="write", reconcile=_opened, quiet=(*_MADE, "hypothesis", "change", "standing"))
def start_experiment(
    ctx: ToolContext, hypothesis: str, change: str, parent: str | None = None, seed: int | None = None
) -> Experiment:
    """Open a row of the ledger before the work starts; give its id to launch_training and evaluate.

    One experiment is one change against its parent, and one training: a stage that begins from another's
    model is an experiment of its own. What differs besides is noted in `also`. Experiments that
    differ in nothing but their seed are one configuration; confirm_experiment opens such rows for a winner.

    Args:
        hypothesis: What you expect, and why.
        change: The one thing that differs from the parent.
        parent: The experiment it is held against; none for a baseline.
        seed: Seed of the training; nothing: the host's, which is the same for all.
    """
    by: Literal["host", "agent"] = "host" if seed is None else "agent"
    chosen = ctx.settings.seed if seed is None else seed
    return ctx.ledger.start(hypothesis, change, parent, chosen, key=ctx.key, seed_by=by)


def _confirming(ctx: ToolContext, key: str) -> Confirmation | None:
    rows = ctx.ledger.opened_by(key)
    return _confirmation(ctx, rows) if rows else None


@tool(effect="write", reconcile=_confirming)
def confirm_experiment(
    ctx: ToolContext,
    experiment: str,
    against: str | None = None,
    seeds: Annotated[int, Field(ge=1, le=20)] = 2,
) -> Confirmation:
    """Open the runs that tell a gain from a lucky seed: the same configurations again, on new seeds.

    The host draws the seeds. Launch every run as its `launch` says, launch_training(**run.launch), evaluate
    each, then compare_experiments(against, experiment): it takes all seeds of both and says in `confirmed`
    whether the gain holds. Asked again it opens as many more for both. Few seeds tell large gains alone: with
    two of each a gain of 5 times the spread between seeds, with three of 3 times, with five of twice, with
    ten of 1.3 times it (four times in five). `confirmed` is None, and `seeds_needed` says about how many
    would do, where there are too few to tell.

    Args:
        experiment: The winner.
        against: What it won against; nothing: its parent.
        seeds: How many new seeds.
    """
    winner = ctx.ledger.get(experiment)
    if not winner.dev:
        raise ToolError(
            f"{experiment} was not measured.", "evaluate() it first: there is no gain to confirm."
        )
    if not trained(winner):
        raise ToolError(f"{experiment} was not trained, so no seed moves it.", "Confirm one that was.")
    if against is None and winner.parent is None:
        raise ToolError(f"{experiment} has no parent.", "Say against which experiment it won.")
    other = ctx.ledger.get(against or winner.parent or "")
    if same_configuration(other, winner):
        raise ToolError(
            f"{experiment} and {other.id} are one configuration on two seeds: there is no gain to confirm."
        )
    return _confirmation(ctx, ctx.ledger.confirm(winner.id, other.id, seeds, ctx.key))


def _confirmation(ctx: ToolContext, rows: Sequence[Experiment]) -> Confirmation:
    runs = _runs(ctx, rows)
    known = {job.id for job in ctx.jobs.list()}
    begun = dict.fromkeys(
        ref for run in runs if isinstance(ref := run.launch.get("model"), str) and ref in known
    )
    fixed = (
        f" They all begin from the model of {', '.join(begun)}, whose own seed stays as it is."
        if begun
        else ""
    )
    return Confirmation(runs=runs, says=_NEXT + fixed)


def _runs(ctx: ToolContext, rows: Sequence[Experiment]) -> list[ConfirmationRun]:
    return [
        ConfirmationRun(
            experiment=row.id,
            replicates=row.replicates or "",
            seed=row.seed,
            launch=_launch(ctx, row, ctx.ledger.get(row.replicates or "")),
        )
        for row in rows
    ]


def _launch(ctx: ToolContext, row: Experiment, of: Experiment) -> dict[str, Any]:
    """The arguments of launch_training that run a configuration again."""
    specs = [ctx.jobs.spec(job) for job in of.jobs if ctx.jobs.spec(job).method in METHODS]
    if not specs:
        return {}
    told = specs[-1].config
    return {
        "method": specs[-1].method,
        "model": told["model_ref"],
        "dataset": told["dataset"],
        "config": told["asked"],
        "experiment": row.id,
        "name": row.change,
    }


@tool(
    effect="write",
    repeatable="an experiment that was closed with these words stays as it is",
    quiet=(*_MADE, "hypothesis", "change", "notes", "standing"),
)
def finish_experiment(
    ctx: ToolContext,
    id: str,
    verdict: Literal["kept", "discarded", "crashed", "inconclusive"],
    notes: str = "",
) -> Experiment:
    """Close an experiment. ``kept`` needs a gain over the parent in the primary metric that the paired
    interval confirms.

    A baseline (no parent) may be kept once it was measured.

    Args:
        id: The experiment.
        verdict: What became of the hypothesis.
        notes: What was learned; numbers in it must be measured ones, as they go into the card.
    """
    check_notes(ctx, id, verdict, notes)
    if verdict == "kept":
        _demand_gain(ctx, ctx.ledger.get(id))
    return ctx.ledger.finish(id, verdict, notes)


@tool(effect="read", quiet=_MADE)
def list_experiments(ctx: ToolContext) -> list[Experiment]:
    """All experiments, oldest first, with hypothesis, change, cost, metrics and verdict.

    `standing` says what else changed, how many seeds there are, and how each comparison stands once it is
    corrected (Holm) for all that were held against the same experiment.
    """
    return standing(ctx.ledger)


@tool(effect="read")
def best_experiment(ctx: ToolContext, metric: str | None = None) -> Experiment | None:
    """The best of the kept experiments by its dev score; of the others only where none was kept.

    A configuration counts with the mean over its seeds and is named by its first experiment, not by the run
    of a lucky seed. One whose gain new seeds did not confirm is passed over.

    Args:
        metric: The metric to rank by; the one that decides where it is not said.
    """
    wanted = ctx.settings.metric
    return ctx.ledger.best(metric or (wanted if any(wanted in e.dev for e in ctx.ledger.list()) else None))


def _scoring_price(ctx: ToolContext, arguments: Any) -> Price:
    """At the most an hour of a GPU, or what is left of it; nothing left is asked about."""
    if not gpu_name():
        return Price()
    rows = {e.id: e for e in ctx.ledger.list()}
    if (row := rows.get(arguments.experiment)) and row.inference:
        return drawing_price(ctx, rewards=True)
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
    ctx.spent(Spent(gpu_hours=0.0))  # its job is counted by itself
    scores = ctx.evals.score_test(
        experiment,
        path,
        reward_model_of(ctx, experiment),
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
    decides = ctx.evals.decides
    known = {info.name for info in ctx.evals.list()}
    found = ctx.evals.compare(e.parent, e.id, eval=decides if decides in known else None)
    if found.verdict != "better" or found.confirmed is False:
        raise ToolError(
            f"{e.id} cannot be kept: {found.says}",
            f"Finish it as {'inconclusive' if found.verdict == 'inconclusive' else 'discarded'}, "
            f"or measure more (another seed, a larger change). {found.metric} is the metric that decides.",
        )
    _demand_no_better(ctx, e, found)


def _demand_no_better(ctx: ToolContext, e: Experiment, found: Comparison) -> None:
    """A gain over a parent that was chosen weak is none: what is clearly worse than the best is not kept."""
    best = ctx.ledger.best(found.metric)
    if best is None or best.id in (e.id, e.parent):
        return
    if all(s.eval != found.eval for s in ctx.ledger.scores(experiment=best.id, split="dev")):
        return
    against = ctx.evals.compare(best.id, e.id, found.metric, found.eval, record=False)
    if against.verdict == "worse":
        raise ToolError(
            f"{e.id} cannot be kept: it is better than its parent {e.parent} and worse than {best.id}, the"
            f" best so far. {against.says}",
            f"Finish it as discarded, or change {best.id}.",
        )
