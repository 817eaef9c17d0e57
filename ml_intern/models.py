"""What a reference to a model or a tokenizer means: a job, an experiment, a path, or a model of the Hub."""

from __future__ import annotations

import re
from pathlib import Path

from ml_intern.context import ToolContext
from ml_intern.errors import ToolError
from ml_intern.jobs.preflight import TOKENIZER_FILES
from ml_intern.jobs.recipes._tokenizer import CHOICES, TYPES
from ml_intern.tooling import did_you_mean

TRAINING = ("pretrain", "sft", "dpo", "reward", "grpo", "script")


def resolve_model(ctx: ToolContext, ref: str) -> Path:
    """The folder of a model.

    Args:
        ctx: The session's services.
        ref: A job's id; an experiment's id, which means the newest of its trainings that made a model; a path
            that tools may read; or a Hub id, ``owner/name`` or ``owner/name@revision``.

    Raises:
        ToolError: Nothing has that name, or what has it holds no model.
    """
    jobs = {job.id: job for job in ctx.jobs.list()}
    if ref in jobs:
        return ctx.jobs.model_path(ref)
    experiments = {e.id: e for e in ctx.ledger.list()}
    if ref in experiments and (inference := experiments[ref].inference):
        return resolve_model(ctx, inference.model)
    if ref in experiments:
        return _of_experiment(ctx, ref, [j for j in experiments[ref].jobs if j in jobs])
    path = _of_path(ctx, ref)
    if path is not None:
        return path
    if re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", ref):
        return ctx.hub.download_model(ref)
    raise ToolError(
        f"There is no model {ref!r}{did_you_mean(ref, [*jobs, *experiments])}.",
        "Name a job, an experiment, a folder in the workspace, or a Hub id as owner/name.",
    )


def reward_model_of(ctx: ToolContext, experiment: str) -> Path | None:
    """The folder of the reward model by which an experiment chooses among samples, where it does.

    Raises:
        ToolError: There is no such experiment, or it is gone.
    """
    inference = ctx.ledger.get(experiment).inference
    return resolve_model(ctx, inference.judge) if inference and inference.judge else None


def whose_weights(ctx: ToolContext, experiment: str) -> str:
    """The experiment whose training made the weights that this one answers with; itself as a rule.

    Raises:
        ToolError: There is no such experiment.
    """
    row = ctx.ledger.get(experiment)
    if row.inference is None:
        return experiment
    owner = experiment_of(ctx, row.inference.model)
    return whose_weights(ctx, owner) if owner and owner != experiment else experiment


def experiment_of(ctx: ToolContext, model: str) -> str | None:
    """The experiment that a model reference belongs to: itself, or its job's."""
    if any(e.id == model for e in ctx.ledger.list()):
        return model
    found = next((job for job in ctx.jobs.list() if job.id == model), None)
    return found.experiment if found else None


def resolve_tokenizer(ctx: ToolContext, ref: str) -> Path:
    """The folder of a tokenizer: as for a model, but the folder need hold no model.

    Raises:
        ToolError: Names the field, and what it takes.
    """
    try:
        path = ctx.files.readable(ref)
    except ToolError:
        try:
            path = resolve_model(ctx, ref)
        except ToolError as error:
            guess = did_you_mean(ref, TYPES)
            raise ToolError(
                f"tokenizer = {ref!r} is not understood{guess}: {error.message}", CHOICES
            ) from None
    folder = path.parent if path.name == "tokenizer.json" else path
    if not folder.is_dir() or not TOKENIZER_FILES & {file.name for file in folder.iterdir()}:
        raise ToolError(f"tokenizer = {ref!r} holds no tokenizer: there is no tokenizer.json in it.", CHOICES)
    return folder


def _of_experiment(ctx: ToolContext, ref: str, jobs: list[str]) -> Path:
    trained = [job for job in jobs if ctx.jobs.spec(job).method in TRAINING]
    for job in reversed(trained):
        try:
            return ctx.jobs.model_path(job)
        except ToolError:
            continue  # It runs or failed; an earlier one may have made a model.
    if not trained:
        raise ToolError(
            f"Experiment {ref!r} has trained nothing yet.", f"launch_training(..., experiment={ref!r})"
        )
    return ctx.jobs.model_path(trained[-1])


def _of_path(ctx: ToolContext, ref: str) -> Path | None:
    try:
        path = ctx.files.readable(ref)
    except ToolError:
        if ref.startswith(("/", "~", ".")):
            raise
        return None
    if not (path / "config.json").is_file():
        raise ToolError(f"{ref!r} holds no model: there is no config.json in it.", "Name a model's folder.")
    return path
