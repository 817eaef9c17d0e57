"""From what a sweep was asked to its plan, with everything wrong told before the first trial."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ml_intern.context import ToolContext
from ml_intern.errors import ToolError
from ml_intern.evals.scorers import SCORERS
from ml_intern.jobs import preflight
from ml_intern.jobs.preflight import ALIASES
from ml_intern.jobs.runs import BITS
from ml_intern.sweeps.space import Choice, Space
from ml_intern.tooling import did_you_mean

Direction = Literal["auto", "minimize", "maximize"]
BASE = ("method", "model", "dataset", "config", "hardware", "seed", "timeout")
_NEEDED = ("method", "model", "dataset")
_ARGUMENTS = ("model", "dataset")
_LOWER = ("loss", "perplexity", "kl", "grad_norm", "bits")
_HIGHER = ("reward", "accuracy", "accuracies", "margin", "margins", "entropy")


def read_base(ctx: ToolContext, given: Mapping[str, Any] | str) -> dict[str, Any]:
    """What every trial shares, as launch_training takes it, or as a job was trained.

    Raises:
        ToolError: A name is unknown or missing.
    """
    if isinstance(given, str):
        return _of_job(ctx, given)
    unknown = [f"unknown {name!r}{did_you_mean(name, BASE)}" for name in given if name not in BASE]
    missing = [f"missing {name!r}" for name in _NEEDED if name not in given]
    if unknown or missing:
        raise ToolError(
            f"base does not fit: {'; '.join(unknown + missing)}.",
            'base takes what launch_training takes: {"method": "pretrain", "model": "scratch:0.3M", '
            '"dataset": "train", "config": {"max_steps": 100}}.',
        )
    if given["method"] not in preflight.METHODS:
        guess = did_you_mean(str(given["method"]), preflight.METHODS)
        raise ToolError(f"There is no method {given['method']!r}{guess}.", ", ".join(preflight.METHODS))
    config = given.get("config") or {}
    if not isinstance(config, Mapping):
        raise ToolError(f"base['config'] must be a dict of fields, not {config!r}.")
    config = {ALIASES.get(name, name): value for name, value in config.items()}
    return {"seed": ctx.settings.seed, **given, "config": config}


def _of_job(ctx: ToolContext, job: str) -> dict[str, Any]:
    spec = ctx.jobs.spec(job)
    if spec.method not in preflight.METHODS:
        raise ToolError(f"{job} is no training of a recipe.", "Name one, or say base as a dict.")
    asked = {ALIASES.get(name, name): value for name, value in spec.config["asked"].items()}
    told = spec.config
    shared = {"model": told["model_ref"], "dataset": told["dataset"], "seed": told["seed"]}
    apart = spec.place.away or spec.place.compute == "docker"
    hardware = spec.place.words if apart else "cpu" if told["trainer"].get("use_cpu") else "auto"
    where = {"hardware": hardware, "timeout": spec.timeout_s}
    return {"method": spec.method, **shared, "config": asked, **where}


def full_names(space: Mapping[str, Any]) -> dict[str, Any]:
    """The space under the full names of its fields.

    Raises:
        ToolError: Two names are the same field.
    """
    named: dict[str, Any] = {}
    for name, told in space.items():
        full = ALIASES.get(name, name)
        if full in named:
            raise ToolError(f"The space names {full} twice.", "Name it once.")
        named[full] = told
    return named


def check_fields(base: Mapping[str, Any], space: Space) -> None:
    """Hold both ends of each dimension against the fields of the method.

    Raises:
        ToolError: Names every field and value that does not fit.
    """
    wrong: dict[str, None] = {}
    preflight.check_config(base["method"], base["config"])
    for name, dimension in space.items():
        if name in _ARGUMENTS:
            if not isinstance(dimension, Choice):
                wrong[f"{name} can be chosen from a list only"] = None
            continue
        for value in dimension.ends():
            try:
                preflight.check_config(base["method"], {name: value})
            except ToolError as error:
                wrong[error.message.partition(": ")[2].rstrip(".")] = None
    if wrong:
        raise ToolError(f"The space does not fit {base['method']}: {'; '.join(wrong)}.", "Correct it.")


def read_metric(
    ctx: ToolContext,
    metric: str,
    eval: str | None,
    direction: Direction,
    config: Mapping[str, Any],
    trials: int,
) -> tuple[str | None, bool]:
    """Which evaluation measures a metric, if one does, and which way is up.

    Raises:
        ToolError: Nothing has such a metric, several evaluations do, or there are too few dev queries left.
    """
    evals = ctx.evals.list()
    if eval is not None:
        evals = [ctx.evals.get(eval)]
        if metric not in evals[0].scorers:
            known = evals[0].scorers
            guess = did_you_mean(metric, known)
            raise ToolError(f"{eval} has no metric {metric!r}{guess}.", f"It has {', '.join(known)}.")
    having = [e for e in evals if metric in e.scorers]
    if len(having) > 1:
        raise ToolError(f"{metric} is a metric of {', '.join(e.name for e in having)}.", "Say eval.")
    if having:
        if having[0].queries_left < trials:
            raise ToolError(
                f"{having[0].name} has {having[0].queries_left} dev queries left; the sweep asks {trials}.",
                "Fewer trials, or a metric of the training such as eval_loss.",
            )
        return having[0].name, SCORERS[metric].higher_is_better
    return None, _of_training(metric, direction, config, [s for e in evals for s in e.scorers])


def _of_training(metric: str, direction: Direction, config: Mapping[str, Any], scorers: list[str]) -> bool:
    texts = metric == BITS and config.get("held_out_texts")
    if metric.startswith("eval_") and not texts and not config.get("validation"):
        raise ToolError(
            f"{metric} needs rows that are set apart.", 'Put "validation": 0.05 into the config of base.'
        )
    if direction != "auto":
        return direction == "maximize"
    last = metric.replace("/", "_").split("_")
    if any(word in last for word in _LOWER):
        return False
    if any(word in last for word in _HIGHER):
        return True
    guess = did_you_mean(metric, [*scorers, "loss", "eval_loss"])
    raise ToolError(
        f"Nobody knows which way is up for {metric!r}{guess}.",
        'Say direction="minimize" or "maximize", or use a metric of list_evals.',
    )
