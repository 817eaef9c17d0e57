"""From what a tool was asked to what a job is told: a training checked, with its files found."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ml_intern.context import ToolContext
from ml_intern.errors import ToolError
from ml_intern.evals.carried import refuse_files, refuse_words, words_of_tokenizer
from ml_intern.events import Notice
from ml_intern.jobs import fitting, preflight
from ml_intern.jobs.findings import Findings
from ml_intern.jobs.hardware import gpu_capability, gpus_at
from ml_intern.jobs.memory import estimate_mb, tuning_mb
from ml_intern.jobs.model import JobSpec, Place
from ml_intern.jobs.noting import notes_on
from ml_intern.jobs.places import memory_mb
from ml_intern.jobs.preflight import Plan
from ml_intern.jobs.recipes._conflicts import conflicts
from ml_intern.jobs.thresholds import Thresholds
from ml_intern.models import resolve_model, resolve_tokenizer

if TYPE_CHECKING:
    import polars as pl

    from ml_intern.data.store import DatasetInfo
    from ml_intern.data.table import Table


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


def seed_for(ctx: ToolContext, experiment: str | None, asked: int | None) -> int:
    """The seed of a training: what was asked, else its experiment's, else the host's.

    Raises:
        ToolError: The experiment confirms another one, so that its seed is the host's to choose.
    """
    row = ctx.ledger.get(experiment) if experiment is not None else None
    if row is not None and row.replicates and asked not in (None, row.seed):
        raise ToolError(
            f"{row.id} runs {row.replicates} again on the host's seed {row.seed}, not on {asked}.",
            "Leave seed out.",
        )
    if asked is not None:
        return asked
    return row.seed if row is not None else ctx.settings.seed


def training_spec(ctx: ToolContext, asked: Training, threads: int) -> JobSpec:
    """Check everything that can be checked, cheapest first, and say what the job is to do.

    One wrong thing does not hide the next: all are told in one error. Only what would first have to be
    downloaded is not looked at where something is wrong already.

    Raises:
        ToolError: Config, model, tokenizer or data do not fit.
    """
    found, here = Findings(), not asked.place.away
    plan, wrong = preflight.read_config(asked.method, asked.config)
    with found.gather():
        preflight.refuse(asked.method, [*wrong, *conflicts(asked.method, plan.trainer, plan.recipe, here)])
    with found.gather():
        gpus = 0 if asked.on_cpu else gpus_at(asked.place)
        fitting.check_machine(plan, gpus, gpu_capability() if here else None, here)
    with found.gather():
        if asked.experiment is not None:
            ctx.ledger.get(asked.experiment)
    table, chat = _checked_rows(ctx, asked, plan.recipe.get("text_column", "text"), found)
    place, inputs = _checked_model(ctx, asked, plan, table.rows if table else None, chat, found)
    watched = _held_out_texts(ctx, plan.recipe.get("held_out_texts"), table, found)
    with found.gather():
        _guard_beside(ctx, asked, plan)
    found.demand_none(f"The training does not fit {asked.method}")
    assert table is not None  # its absence is a finding
    data = _kept(ctx, asked.dataset, table)
    if watched is not None:
        inputs.append(_kept(ctx, plan.recipe["held_out_texts"], watched).path)
        plan.recipe["held_out_texts"] = str(inputs[-1])
    plan.notes += notes_on(asked.method, plan.trainer, table.rows, Thresholds.of(ctx.settings.alerts))
    for note in plan.notes:
        ctx.emit(Notice("warning", f"{note}."))
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
        inputs=[data.path, *inputs],
        place=asked.place,
        timeout_s=asked.timeout_s,
        threads=threads * plan.recipe.get("processes", 1),
        experiment=asked.experiment,
        key=ctx.key,
        restarts=ctx.settings.job_restarts,
        notes=[f"{note}." for note in plan.notes],
    )


def _checked_rows(
    ctx: ToolContext, asked: Training, text_column: str, found: Findings
) -> tuple[Table | None, bool]:
    """The dataset after its columns, its values and the guard, and whether it holds conversations."""
    table, chat = None, False
    with found.gather():
        if found.errors and _far_dataset(ctx, asked.dataset):
            raise ToolError(f"dataset {asked.dataset!r} was not downloaded: the rest comes first.")
        table = ctx.datasets.open(asked.dataset)
        rows = table.rows
        mend = fitting.mending(asked.method, rows, asked.dataset) if rows.height else ""
        preflight.check_columns(asked.method, rows.columns, rows.height, text_column, mend)
        chat = fitting.check_rows(asked.method, rows, text_column)
    with found.gather():
        if table is not None:
            ctx.evals.guard(table.rows).demand_clean(asked.dataset)
    return table, chat


def _checked_model(
    ctx: ToolContext, asked: Training, plan: Plan, rows: pl.DataFrame | None, chat: bool, found: Findings
) -> tuple[str | dict[str, Any], list[Path]]:
    """What the recipe reads as its model, and what else the job must see."""
    inputs: list[Path] = []
    place = asked.model
    if asked.method == "pretrain":
        _check_scratch(ctx, asked, plan, found)
    else:
        with found.gather():
            folder = _base_model(ctx, asked, bool(found.errors))
            place, inputs = str(folder), [folder]
            with found.gather():
                templated = bool(plan.trainer.get("chat_template_path"))
                preflight.check_model_folder(
                    folder, rows.columns if rows is not None else [], chat, templated
                )
            with found.gather():
                if rows is not None and rows.height:
                    fitting.check_lengths(asked.method, plan, rows, folder)
                    fitting.note_boundaries(asked.method, plan, rows, folder)
            with found.gather():
                fitting.check_words(plan, folder)
            with found.gather():
                device: Literal["cpu", "gpu"] = "cpu" if asked.on_cpu or not gpus_at(asked.place) else "gpu"
                parameters = fitting.parameters_of(folder)
                needed = tuning_mb(asked.method, parameters, plan.trainer, plan.recipe, device)
                preflight.check_memory(parameters, memory_mb(asked.place, ctx.settings), needed)
        if asked.method == "grpo" and rows is not None:
            with found.gather():
                fitting.check_groups(plan, rows.height)
            with found.gather():
                plan.recipe["rewards"], judges = fitting.check_rewards(
                    plan, rows, lambda ref: resolve_model(ctx, ref)
                )
                inputs += judges
    with found.gather():
        if isinstance(plan.recipe.get("tokenizer"), str):
            tokenizer = resolve_tokenizer(ctx, plan.recipe["tokenizer"])
            inputs.append(tokenizer)
            plan.recipe["tokenizer"] = str(tokenizer)
    with found.gather():
        if plan.trainer.get("chat_template_path"):
            template = ctx.files.readable(plan.trainer["chat_template_path"])
            inputs.append(template)
            plan.trainer["chat_template_path"] = str(template)
    return place, inputs


def _check_scratch(ctx: ToolContext, asked: Training, plan: Plan, found: Findings) -> None:
    with found.gather():
        parameters = preflight.check_scratch(asked.model)
        preflight.check_memory(parameters, memory_mb(asked.place, ctx.settings))
    with found.gather():
        plan.recipe["tokenizer"] = preflight.check_tokenizer(asked.model, plan.recipe.get("tokenizer"))


def _far_dataset(ctx: ToolContext, dataset: str) -> bool:
    """Whether a dataset is neither in the store nor a file here."""
    stored = {name for info in ctx.datasets.list() for name in (info.id, info.id.partition("@")[0])}
    return dataset not in stored and _is_far(ctx, dataset.partition(":")[0])


def _is_far(ctx: ToolContext, ref: str) -> bool:
    """Whether a reference is the Hub's: ``owner/name``, and no file."""
    if not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+(@[\w./-]+)?", ref):
        return False
    try:
        ctx.files.readable(ref)
    except ToolError:
        return True
    return False


def _kept(ctx: ToolContext, dataset: str, table: Table) -> DatasetInfo:
    """The dataset as a version of the store, which does not change while the job runs."""
    from ml_intern.data.store import Lineage

    known = {info.id: info for info in ctx.datasets.list()}
    if dataset in known or any(id.startswith(f"{dataset}@") for id in known):
        return ctx.datasets.info(dataset)
    lineage = Lineage(
        source=dataset,
        revision=table.revision,
        operation="launch_training",
        rows_before=table.rows.height,
        sha256=table.fingerprint,
    )
    name = "".join(c if c.isalnum() else "-" for c in Path(dataset).stem).strip("-") or "data"
    return ctx.datasets.save(name, table, lineage)


def guard_file(ctx: ToolContext, ref: str, path: Path) -> None:
    """Refuse a file or folder that a script is to read, if it is data and holds items of an evaluation.

    Raises:
        ToolError: It does.
    """
    from ml_intern.data.loading import TABLE_SUFFIXES, kind_of

    files = [path] if path.is_file() else [p for p in sorted(path.rglob("*")) if p.is_file()]
    if not ctx.evals.list() or not any(kind_of(p) in TABLE_SUFFIXES or p.suffix == ".txt" for p in files):
        return
    try:
        table = ctx.datasets.open(ref)
    except ToolError:
        if path.is_file():
            raise
        refuse_files(ctx.evals, ctx.datasets, path)  # no dataset as a whole: a model's folder, say
        return
    for split in table.splits or (None,):
        rows = table.rows if split in (None, table.split) else ctx.datasets.open(ref, split).rows
        ctx.evals.guard(rows).demand_clean(ref)


def _guard_beside(ctx: ToolContext, asked: Training, plan: Plan) -> None:
    """Hold what comes along with the rows against the evaluations: a reward's source, templates, words.

    Raises:
        ToolError: It holds items.
    """
    told = [{"config": asked.config, "model": asked.model}]
    refuse_words(ctx.evals, "The config and the model's description", told)
    if isinstance(template := plan.trainer.get("chat_template_path"), str) and Path(template).is_file():
        refuse_words(ctx.evals, "The chat template's lines", [Path(template).read_text(errors="replace")])
    if isinstance(tokenizer := plan.recipe.get("tokenizer"), str) and Path(tokenizer).is_dir():
        refuse_words(ctx.evals, "The tokenizer's words", words_of_tokenizer(Path(tokenizer)))


def guard_again(ctx: ToolContext, spec: JobSpec) -> None:
    """Refuse to go on with a training on rows of an evaluation that was registered since it began.

    Raises:
        ToolError: They hold some of its items.
    """
    from ml_intern.data.sources import read_path

    dataset, watched = spec.config.get("dataset"), spec.config.get("held_out_texts")
    if isinstance(dataset, str):
        ctx.evals.guard(ctx.datasets.open(dataset).rows).demand_clean(dataset)
    if isinstance(watched, str):
        ctx.evals.guard(read_path(Path(watched), "held_out_texts").rows).demand_clean("held_out_texts")


def _held_out_texts(
    ctx: ToolContext, dataset: str | None, trained: Table | None, found: Findings
) -> Table | None:
    """The texts that a training is watched by: a column text, no training data, no sealed item."""
    table = None
    with found.gather():
        if isinstance(dataset, str):
            table = ctx.datasets.open(dataset)
            columns = table.rows.columns
            if "text" not in columns:
                raise ToolError(
                    f"held_out_texts need a column 'text'; {dataset} has {', '.join(columns)}.",
                    'Use reformat_dataset(source, target="language_modeling").',
                )
            if trained is not None and table.rows.equals(trained.rows):
                raise ToolError("held_out_texts are the training data.", "Set some apart with split_dataset.")
            ctx.evals.guard(table.rows).demand_clean(dataset)
    return table


def _base_model(ctx: ToolContext, asked: Training, troubled: bool) -> Path:
    method, model = asked.method, asked.model
    if not isinstance(model, str) or model.startswith("scratch:"):
        raise ToolError(
            f"{method} starts from a model that is there.",
            "Name a job, an experiment, a path or a Hub id. To begin with nothing, make one first: "
            'reformat_dataset(data, "language_modeling"), then launch_training("pretrain", "scratch:1M", …), '
            f"then {method} with that job as its model.",
        )
    known = {job.id for job in ctx.jobs.list()} | {e.id for e in ctx.ledger.list()}
    if troubled and model not in known and _is_far(ctx, model):
        raise ToolError(f"model {model!r} was not downloaded: the rest comes first.")
    folder = resolve_model(ctx, model)
    fitting.check_base(method, folder, model)
    return folder
