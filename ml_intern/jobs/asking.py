"""From what a tool was asked to what a job is told: a training checked, with its files found."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.context import ToolContext
from ml_intern.errors import ToolError
from ml_intern.jobs import fitting, preflight
from ml_intern.jobs.hardware import gpus_at
from ml_intern.jobs.memory import estimate_mb
from ml_intern.jobs.model import JobSpec, Place
from ml_intern.jobs.places import memory_mb
from ml_intern.jobs.speed import check_speed
from ml_intern.models import resolve_model, resolve_tokenizer

if TYPE_CHECKING:
    from ml_intern.data.store import DatasetInfo


@dataclass(frozen=True)
class Training:
    """What was asked; the fields are the arguments of launch_training."""

    method: str
    model: str | dict[str, Any]
    dataset: str
    config: dict[str, Any]
    hardware: str = "auto"
    name: str | None = None
    experiment: str | None = None
    seed: int = 0
    timeout_s: float = 3 * 3600
    place: Place = field(default_factory=Place)

    @property
    def on_cpu(self) -> bool:
        """Whether it was asked to leave GPUs alone, or goes where there are none."""
        return self.hardware == "cpu" or (self.place.away and not self.place.gpus)


def training_spec(ctx: ToolContext, asked: Training, threads: int) -> JobSpec:
    """Check everything that can be checked, cheapest first, and say what the job is to do.

    Raises:
        ToolError: Config, model, tokenizer or data do not fit.
    """
    plan = preflight.check_config(asked.method, asked.config)
    gpus = 0 if asked.on_cpu else gpus_at(asked.place)
    fitting.check_machine(plan, gpus)
    check_speed(asked.method, plan, gpus, here=asked.place.compute == "local")
    if asked.experiment is not None:
        ctx.ledger.get(asked.experiment)
    if asked.method == "pretrain":
        parameters = preflight.check_scratch(asked.model)
        preflight.check_memory(parameters, memory_mb(asked.place, ctx.settings))
        plan.recipe["tokenizer"] = preflight.check_tokenizer(asked.model, plan.recipe.get("tokenizer"))
    data, chat = checked_data(ctx, asked.method, asked.dataset, plan.recipe.get("text_column", "text"))
    inputs = [data.path]
    place: str | dict[str, Any] = asked.model
    if asked.method != "pretrain":
        folder = _base_model(ctx, asked.method, asked.model)
        preflight.check_model_folder(folder, data.columns, chat)
        inputs.append(folder)
        place = str(folder)
        if asked.method == "grpo":
            fitting.check_groups(plan, data.rows, folder)
            plan.recipe["rewards"], judges = fitting.check_rewards(
                plan, data.columns, lambda ref: resolve_model(ctx, ref)
            )
            inputs += judges
    if isinstance(plan.recipe.get("tokenizer"), str):
        tokenizer = resolve_tokenizer(ctx, plan.recipe["tokenizer"])
        inputs.append(tokenizer)
        plan.recipe["tokenizer"] = str(tokenizer)
    return JobSpec(
        name=asked.name or asked.experiment or asked.method,
        method=asked.method,
        config={
            "model": place,
            "model_ref": asked.model,
            "data": str(data.path),
            "dataset": data.id,
            "data_sha256": data.sha256,
            "rows": data.rows,
            "seed": asked.seed,
            "asked": asked.config,
            "estimated_memory_mb": estimate_mb(asked.method, place, plan.trainer, plan.recipe, data.path),
            **plan.recipe,
            "trainer": {**plan.trainer, "use_cpu": True} if asked.on_cpu else plan.trainer,
        },
        inputs=inputs,
        place=asked.place,
        timeout_s=asked.timeout_s,
        threads=threads * plan.recipe.get("processes", 1),
        experiment=asked.experiment,
        key=ctx.key,
        restarts=ctx.settings.job_restarts,
    )


def checked_data(ctx: ToolContext, method: str, dataset: str, text_column: str) -> tuple[DatasetInfo, bool]:
    """The dataset, kept as a version of its own, after its columns and the guard against contamination.

    Returns:
        The dataset, and whether it holds conversations.

    Raises:
        ToolError: It is missing, does not fit, or holds items of a sealed evaluation.
    """
    from ml_intern.data.store import Lineage

    table = ctx.datasets.open(dataset)
    preflight.check_columns(method, table.rows.columns, table.rows.height, text_column)
    chat = fitting.check_rows(method, table.rows)
    ctx.evals.guard(table.rows.to_dicts()).demand_clean()
    known = {info.id: info for info in ctx.datasets.list()}
    if dataset in known or any(id.startswith(f"{dataset}@") for id in known):
        return ctx.datasets.info(dataset), chat
    lineage = Lineage(source=dataset, operation="launch_training", rows_before=table.rows.height)
    name = "".join(c if c.isalnum() else "-" for c in Path(dataset).stem).strip("-") or "data"
    return ctx.datasets.save(name, table, lineage), chat


def _base_model(ctx: ToolContext, method: str, model: str | dict[str, Any]) -> Path:
    if not isinstance(model, str) or model.startswith("scratch:"):
        raise ToolError(
            f"{method} starts from a model that is there.", "Name a job, an experiment, a path or a Hub id."
        )
    folder = resolve_model(ctx, model)
    fitting.check_base(method, folder, model)
    return folder
