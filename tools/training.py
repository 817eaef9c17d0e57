"""Train models and run code, each as a job that outlives the cell."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ml_intern.context import ToolContext
from ml_intern.errors import ToolError
from ml_intern.jobs import preflight
from ml_intern.jobs.model import JobSpec, JobStatus
from ml_intern.jobs.record import record_start
from ml_intern.models import resolve_model
from ml_intern.tooling import Price, tool
from ml_intern.tools.jobs import gpu_name, progress_line, seconds_of, share_done

if TYPE_CHECKING:
    from ml_intern.data.store import DatasetInfo

SMOKE_STEPS = 2
SMOKE_ROWS = 64
SMOKE_TIMEOUT_S = 600


def _one_job(ctx: ToolContext, arguments: Any) -> Price:
    """A job on this machine costs no money."""
    return Price(usd=0.0, gpu_hours=0.0, jobs=1)


def _training_price(ctx: ToolContext, arguments: Any) -> Price:
    """At the most the GPU is held for the whole timeout."""
    hours = _timeout(ctx, arguments.timeout) / 3600 if gpu_name() else 0.0
    return Price(usd=0.0, gpu_hours=hours, jobs=1)


def _found_again(ctx: ToolContext, key: str) -> JobStatus | None:
    """The job of an unfinished call; one that was made but not started yet is started."""
    job = ctx.jobs.find(key)
    if job is None:
        return None
    spec = ctx.jobs.spec(job)
    status = ctx.jobs.submit(spec)
    if spec.method in preflight.METHODS:
        record_start(ctx.ledger, spec, job)
    return status


@tool(effect="compute", price=_training_price, reconcile=_found_again)
def launch_training(
    ctx: ToolContext,
    method: Literal["pretrain", "sft"],
    model: str | dict[str, Any],
    dataset: str,
    config: dict[str, Any] | None = None,
    hardware: Literal["auto", "local", "cpu", "gpu"] = "auto",
    name: str | None = None,
    experiment: str | None = None,
    seed: int = 0,
    timeout: str | float | None = None,
) -> JobStatus:
    """Start a training as a job and return at once; wait_for_job(result.id) waits for it.

    Checked before it starts: the config's fields, the dataset's columns, the model, and that no row holds an
    item of a sealed evaluation.

    Args:
        method: "pretrain" makes a model from nothing; "sft" fine-tunes one.
        model: pretrain: a size, "scratch:0.3M", or {"config": {"model_type": "llama", "hidden_size": 96},
            "tokenizer": {"vocab_size": 512}}. sft: a job, an experiment, a path or a Hub id.
        dataset: A dataset id, a path or a Hub id. pretrain takes a column text; sft takes text, prompt and
            completion, or messages.
        config: Fields of Transformers' TrainingArguments (pretrain) or TRL's SFTConfig (sft), such as
            {"learning_rate": 3e-3, "batch_size": 8, "max_steps": 160}; pretrain also max_length, packing,
            tokenizer; sft also peft={"r": 16}.
        hardware: "auto" takes a GPU where there is one.
        name: Words for the job; its id is made from them.
        experiment: The ledger's row that this belongs to.
        seed: Of the weights, the order of the data and all else that is drawn.
        timeout: Wall time after which the job is stopped, "30m"; nothing: the setting job_timeout.
    """
    spec = _training_spec(
        ctx, method, model, dataset, config or {}, hardware, name, experiment, seed, timeout
    )
    status = ctx.jobs.submit(spec)
    # The job's own words, not this call's: the key may have found one that was asked for before.
    record_start(ctx.ledger, ctx.jobs.spec(status.id), status.id)
    return status


@tool(effect="compute", price=_training_price, reconcile=_found_again)
def smoke_test(
    ctx: ToolContext,
    method: Literal["pretrain", "sft"],
    model: str | dict[str, Any],
    dataset: str,
    config: dict[str, Any] | None = None,
    hardware: Literal["auto", "local", "cpu", "gpu"] = "auto",
    seed: int = 0,
    timeout: str | float | None = None,
) -> JobStatus:
    """Run two steps of a training on a few rows and wait: does it run at all? Do it before a sweep.

    Takes what launch_training takes. The status says succeeded or failed; a failure has its class and line.

    Args:
        method: As for launch_training.
        model: As for launch_training.
        dataset: As for launch_training.
        config: As for launch_training; the number of steps is replaced.
        hardware: As for launch_training.
        seed: As for launch_training.
        timeout: How long it may take; nothing: ten minutes.
    """
    config = {**(config or {}), "max_steps": SMOKE_STEPS, "logging_steps": 1, "save_strategy": "no"}
    config.pop("steps", None)
    limit = timeout if timeout is not None else SMOKE_TIMEOUT_S
    spec = _training_spec(ctx, method, model, dataset, config, hardware, "smoke test", None, seed, limit)
    spec.config["max_rows"] = SMOKE_ROWS
    job = ctx.jobs.submit(spec).id

    def show(status: JobStatus) -> None:
        ctx.progress(progress_line(status), share_done([status]))

    return ctx.jobs.wait([job], None, None, ctx.cancelled, show)[0]


@tool(effect="compute", price=_one_job, reconcile=_found_again)
def launch_script(
    ctx: ToolContext,
    script: str,
    args: list[str] | None = None,
    inputs: list[str] | None = None,
    hardware: Literal["auto", "local", "cpu", "gpu"] = "auto",
    name: str | None = None,
    experiment: str | None = None,
    timeout: str | float | None = None,
) -> JobStatus:
    """Run Python code as a job in the sandbox's walls: no network, no credentials, the workspace read-only.

    It runs in its output folder: what it writes there stays. A model saved as ./model can be evaluated and
    published. Lines of JSON with a "step" appended to os.environ["ML_INTERN_METRICS"] become metrics.

    Args:
        script: A path in the workspace, or the code itself.
        args: Arguments. One that equals an entry of inputs arrives as that entry's path.
        inputs: Datasets, models (jobs, experiments) or paths that the script reads.
        hardware: "auto" takes a GPU where there is one.
        name: Words for the job.
        experiment: The ledger's row that this belongs to.
        timeout: Wall time after which the job is stopped, "30m"; nothing: the setting job_timeout.
    """
    _check_hardware(hardware)
    code, called = _code_of(ctx, script)
    places = {ref: _input(ctx, ref) for ref in inputs or []}
    if experiment is not None:
        ctx.ledger.get(experiment)
    spec = JobSpec(
        name=name or called,
        method="script",
        config={"code": code, "args": [str(places.get(a, a)) for a in args or []], "model": None},
        inputs=[ctx.files.workspace, *places.values()],
        timeout_s=_timeout(ctx, timeout),
        threads=_threads(ctx),
        experiment=experiment,
        key=ctx.key,
    )
    status = ctx.jobs.submit(spec)
    if experiment is not None:
        ctx.ledger.attach(experiment, job=status.id)
    return status


def _training_spec(
    ctx: ToolContext,
    method: str,
    model: str | dict[str, Any],
    dataset: str,
    config: dict[str, Any],
    hardware: str,
    name: str | None,
    experiment: str | None,
    seed: int,
    timeout: str | float | None,
) -> JobSpec:
    """Check everything that can be checked, cheapest first, and say what the job is to do."""
    _check_hardware(hardware)
    plan = preflight.check_config(method, config)
    if experiment is not None:
        ctx.ledger.get(experiment)
    if method == "pretrain":
        parameters = preflight.check_scratch(model)
        preflight.check_memory(parameters, ctx.settings.job_memory_mb)
    data = _checked_data(ctx, method, dataset, plan.recipe.get("text_column", "text"))
    inputs = [data.path]
    place: str | dict[str, Any] = model
    if method == "sft":
        folder = _base_model(ctx, model)
        preflight.check_model_folder(folder, data.columns)
        inputs.append(folder)
        place = str(folder)
    if isinstance(plan.recipe.get("tokenizer"), str):
        tokenizer = resolve_model(ctx, plan.recipe["tokenizer"])
        inputs.append(tokenizer)
        plan.recipe["tokenizer"] = str(tokenizer)
    return JobSpec(
        name=name or experiment or method,
        method=method,
        config={
            "model": place,
            "model_ref": model,
            "data": str(data.path),
            "dataset": data.id,
            "data_sha256": data.sha256,
            "rows": data.rows,
            "seed": seed,
            "asked": config,
            **plan.recipe,
            "trainer": plan.trainer if hardware != "cpu" else {**plan.trainer, "use_cpu": True},
        },
        inputs=inputs,
        timeout_s=_timeout(ctx, timeout),
        threads=_threads(ctx),
        experiment=experiment,
        key=ctx.key,
    )


def _checked_data(ctx: ToolContext, method: str, dataset: str, text_column: str) -> DatasetInfo:
    """The dataset, kept as a version of its own, after its columns and the guard against contamination."""
    from ml_intern.data.store import Lineage

    table = ctx.datasets.open(dataset)
    preflight.check_columns(method, table.rows.columns, table.rows.height, text_column)
    ctx.evals.guard(table.rows.to_dicts()).demand_clean()
    known = {info.id: info for info in ctx.datasets.list()}
    if dataset in known or any(id.startswith(f"{dataset}@") for id in known):
        return ctx.datasets.info(dataset)
    lineage = Lineage(source=dataset, operation="launch_training", rows_before=table.rows.height)
    name = "".join(c if c.isalnum() else "-" for c in Path(dataset).stem).strip("-") or "data"
    return ctx.datasets.save(name, table, lineage)


def _base_model(ctx: ToolContext, model: str | dict[str, Any]) -> Path:
    if not isinstance(model, str):
        raise ToolError(
            "sft starts from a model that is there.", "Name a job, an experiment, a path or a Hub id."
        )
    return resolve_model(ctx, model)


def _input(ctx: ToolContext, ref: str) -> Path:
    """A dataset's file, a model's folder or a path."""
    if any(ref in (info.id, info.id.partition("@")[0]) for info in ctx.datasets.list()):
        return ctx.datasets.path(ref)
    try:
        return ctx.files.readable(ref)
    except ToolError:
        return resolve_model(ctx, ref)


def _code_of(ctx: ToolContext, script: str) -> tuple[str, str]:
    """The code and a name for it. What has no line break and ends in .py is a path."""
    if "\n" not in script and script.strip().endswith(".py"):
        path = ctx.files.readable(script.strip())
        return path.read_text(), path.stem
    try:
        compile(script, "script.py", "exec")
    except SyntaxError as error:
        raise ToolError(
            f"The script does not parse: line {error.lineno}: {error.msg}.", "Correct it."
        ) from None
    return script, "script"


def _check_hardware(hardware: str) -> None:
    if hardware == "gpu" and not gpu_name():
        raise ToolError("There is no GPU on this machine.", 'Use hardware="auto" and a smaller model.')


def _timeout(ctx: ToolContext, timeout: str | float | None) -> float:
    return seconds_of(ctx.settings.job_timeout if timeout is None else timeout)


def _threads(ctx: ToolContext) -> int:
    return max(1, (os.cpu_count() or 1) // ctx.settings.slots)
