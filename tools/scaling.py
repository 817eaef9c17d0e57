"""More computing at inference: several answers to each prompt of an evaluation, and a choice among them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated, Any, Literal

from pydantic import Field

from ml_intern.context import ToolContext
from ml_intern.durations import parse_duration
from ml_intern.errors import ToolError
from ml_intern.evals.rewarding import TIMEOUT_S
from ml_intern.evals.still import still
from ml_intern.jobs.belonging import demand_own
from ml_intern.jobs.hardware import gpu_name
from ml_intern.jobs.model import JobStatus
from ml_intern.ledger.model import Inference, Scores
from ml_intern.models import experiment_of, resolve_model
from ml_intern.prices import Measured, Price
from ml_intern.tooling import tool

SUBJECT = "evaluation"


def drawing_price(ctx: ToolContext, rewards: bool) -> Price:
    """At the most a GPU is held for the limits of both jobs, or for what is left."""
    if not gpu_name():
        return Price()
    hours = (parse_duration(ctx.settings.job_timeout) + TIMEOUT_S * rewards) / 3600
    left = ctx.services.left().get("gpu_hours")
    return Price(gpu_hours=min(hours, left) if left else hours)


def _price(ctx: ToolContext, arguments: Any) -> Price:
    return drawing_price(ctx, arguments.reward_model is not None)


@tool(
    effect="compute",
    needs=["hub:read"],
    price=_price,
    repeatable="what was scored is read from the ledger, and a job that still runs is waited for",
)
def best_of_n(
    ctx: ToolContext,
    model: str,
    eval: str,
    n: Annotated[int, Field(ge=2)] = 16,
    reward_model: str | None = None,
    weighting: Literal["majority", "best", "weighted"] | None = None,
    temperature: Annotated[float, Field(gt=0, le=5)] = 0.8,
    experiment: str | None = None,
) -> Scores:
    """Answer each prompt of an eval's dev split n times, choose one answer, and score the choice.

    For a trained model, where more computing at each answer is worth its price: n times that of evaluate.
    `voting` has all choices among the same samples. `methods`: greedy, one_sample (the mean over samples),
    majority, best, weighted, and any_right, the ceiling (pass@n). `comparisons`: paired, corrected (Holm).
    `curve`: for fewer samples, the mean over subsets. `rewards`: how often a right answer has the higher one.
    A setting costs one dev query, the same again none; a greedy score that evaluate has not made another.

    Args:
        model: The one that answers, as for evaluate.
        eval: A name from list_evals, with a metric that matches answers.
        n: Samples of each prompt.
        reward_model: A job of method reward, or another model with one output; nothing: majority alone.
        weighting: Which choice is scored: "majority", the most frequent answer; "best", the highest reward;
            "weighted", the largest sum of sigmoid(reward) over equal answers, usual with a reward model. A
            tie goes to what was drawn first.
        temperature: Of the samples.
        experiment: A row of its own, start_experiment(…, parent=the model's): so it can be kept, frozen and
            published with this way of answering.
    """
    inference = Inference(
        model=model,
        n=_bounded(ctx, n),
        temperature=temperature,
        weighting=_weighting(weighting, reward_model),
        reward_model=reward_model,
    )
    owner = experiment_of(ctx, model)
    if owner and (way := ctx.ledger.get(owner).inference):
        raise ToolError(f"{owner} answers by {way} already.", f"Name the model itself: {way.model!r}.")
    path = resolve_model(ctx, model)
    reward = resolve_model(ctx, reward_model) if reward_model else None

    def progress(status: JobStatus) -> None:
        done = status.step / status.total_steps if status.total_steps else None
        ctx.progress(f"best of {n}, {status.name}: {status.state}", done)

    if experiment:
        demand_own(ctx, experiment, model, path)
    ctx.spent(Measured(gpu_hours=0.0))  # its jobs are counted by themselves
    with ExitStack() as stack:
        kept, *judges = (
            stack.enter_context(still(ctx.evals, p, ctx.files.workspace)) for p in (path, reward) if p
        )
        judge = judges[0] if judges else None
        return ctx.evals.best_of_n(
            kept, eval, inference, judge, experiment, owner, cancelled=ctx.cancelled, on_progress=progress
        )


def _bounded(ctx: ToolContext, n: int) -> int:
    most = ctx.settings.most_samples
    if n > most:
        raise ToolError(
            f"n = {n} is more than the {most} samples of a prompt that may be drawn.",
            "Take fewer; the setting most_samples is the person's to raise.",
        )
    return n


def _weighting(
    asked: Literal["majority", "best", "weighted"] | None, reward_model: str | None
) -> Literal["majority", "best", "weighted"]:
    if asked in ("best", "weighted") and reward_model is None:
        raise ToolError(
            f"weighting={asked!r} needs a reward_model.",
            'Train one, launch_training(method="reward"), or take weighting="majority".',
        )
    return asked or ("weighted" if reward_model else "majority")
