"""Search a training's config: trials as jobs, some side by side, poor ones ended early."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from ml_intern.context import ToolContext
from ml_intern.errors import ToolError
from ml_intern.jobs.hardware import slots_here
from ml_intern.jobs.places import read_place
from ml_intern.prices import Measured, Price
from ml_intern.sweeps.asking import Direction, check_fields, full_names, read_base, read_metric
from ml_intern.sweeps.model import Sweep, SweepPlan
from ml_intern.sweeps.running import Running, find, make
from ml_intern.sweeps.space import read_space
from ml_intern.tooling import tool
from ml_intern.tools.training import (
    _check_hardware,
    _held,
    _placed,
    _threads,
    _timeout,
    _told,
    processes_in,
)

SUBJECT = "training"
MOST_TRIALS = 500


class _Base(BaseModel):
    """What of a base says where its trials can run."""

    model: Any
    dataset: Any
    config: dict[str, Any]
    hardware: str = "auto"
    timeout: str | float | None = None


def _settled(ctx: ToolContext, arguments: Any) -> Any:
    """A base in full, with a place in the place of "auto": all trials go to the same kind of machine.

    Raises:
        ToolError: The base does not fit, or there is no such place.
    """
    base = read_base(ctx, arguments.base)
    known = {name: base[name] for name in _Base.model_fields if base.get(name) is not None}
    _check_hardware(str(base.get("hardware", "auto")))
    placed = _placed(ctx, _Base.model_validate(known))
    settled = {"hardware": placed.hardware} | ({"timeout": placed.timeout} if placed.timeout else {})
    return arguments.model_copy(update={"base": base | settled})


def _price(ctx: ToolContext, arguments: Any) -> Price:
    """At the most each trial holds its machine and its GPUs for its whole timeout."""
    base = arguments.base
    hardware = base.get("hardware", "auto")
    place = read_place(ctx.settings, ctx.services.hub, hardware)
    seconds = _timeout(ctx, base.get("timeout"))
    one = _held(seconds, hardware, place, processes_in(base.get("config")))
    usd, hours = one.usd, one.gpu_hours
    return Price((usd or 0.0) * arguments.trials, (hours or 0.0) * arguments.trials, arguments.trials)


def _gone_on(ctx: ToolContext, key: str) -> Sweep | None:
    """The sweep of an unfinished call: what ended counts, what runs is attached to, the rest is run."""
    plan = find(ctx, key)
    return _run(ctx, plan) if plan else None


def _run(ctx: ToolContext, plan: SweepPlan) -> Sweep:
    ctx.spent(Measured(usd=0.0, gpu_hours=0.0, jobs=0))  # Each trial's job is counted by itself.
    return Running(ctx, plan).run()


@tool(effect="compute", needs=["hub:read"], price=_price, reconcile=_gone_on, prepare=_settled)
def sweep(
    ctx: ToolContext,
    base: dict[str, Any] | str,
    space: dict[str, Any],
    metric: str,
    trials: int = 10,
    parallel: int | None = None,
    eval: str | None = None,
    sampler: Literal["tpe", "random"] = "tpe",
    halving: bool = True,
    direction: Direction = "auto",
    parent: str | None = None,
) -> Sweep:
    """Search for the best config: run trials, some side by side, and wait for all of them.

    Each trial is a job and an experiment of its own. All have the same seed and data, and differ in what
    the space says. With halving poor trials are ended early: at a ninth and a third of max_steps the best
    third goes on. Killed and called again it goes on where it was. The best one is measured on dev as often
    as there were trials, so it is partly the luckiest: `next` says how to confirm it. Run smoke_test on the
    base first.

    Args:
        base: What all trials share, as launch_training takes it: {"method": "pretrain", "model":
            "scratch:0.3M", "dataset": "train", "config": {"max_steps": 100}, "seed": 0, "timeout": "10m"}; or
            the id of a job that was trained so.
        space: Fields of the config and what they may be: {"learning_rate": {"low": 1e-4, "high": 1e-1, "log":
            True}, "batch_size": [4, 8, 16]}. A range of whole numbers gives whole numbers; "step" gives
            every so many. "model" and "dataset" may be lists, too.
        metric: What decides: a metric of a sealed evaluation (each trial is scored on dev), or one that the
            training logs, such as eval_loss with "validation" in the config.
        trials: How many, at most 500.
        parallel: How many at once; nothing: as many as there are slots for jobs.
        eval: The evaluation, where several have the metric.
        sampler: "tpe" learns from the trials before; "random" does not, and is fairer to compare with.
        halving: End poor trials early; needs max_steps in the config.
        direction: Which way is up, where the metric's name does not tell.
        parent: The experiment that all trials are held against.
    """
    if not 1 <= trials <= MOST_TRIALS:
        raise ToolError(f"trials = {trials} must be between 1 and {MOST_TRIALS}.")
    if parallel is not None and parallel < 1:
        raise ToolError(f"parallel = {parallel} must be at least 1.")
    shared, named = read_base(ctx, base), full_names(space)
    _check_hardware(shared.get("hardware", "auto"))
    dimensions = read_space(named)
    check_fields(shared, dimensions)
    if parent is not None:
        ctx.ledger.get(parent)
    found, up = read_metric(ctx, metric, eval, direction, shared["config"], trials)
    plan = SweepPlan(
        id="",
        key=ctx.key,
        base=shared,
        space=named,
        metric=metric,
        eval=found,
        higher_is_better=up,
        trials=trials,
        parallel=min(trials, parallel or slots_here(ctx.settings)),
        sampler=sampler,
        halving=halving,
        parent=parent,
        timeout_s=_told(ctx, shared.get("timeout")),
        threads=_threads(ctx),
    )
    return _run(ctx, make(ctx, plan))
