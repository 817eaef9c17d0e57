"""A training in a few steps: whether it runs, and what the whole of it will cost."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from textwrap import shorten
from typing import Any, Literal

from pydantic import BaseModel

from ml_intern.context import ToolContext
from ml_intern.errors import ToolError
from ml_intern.jobs.asking import Training, training_spec
from ml_intern.jobs.local import Jobs
from ml_intern.jobs.model import Failure, JobSpec, JobStatus
from ml_intern.jobs.preflight import ALIASES
from ml_intern.jobs.record import read_result

TIMED = 4
"""Steps after the first, which warms up: caches fill, kernels are chosen, memory is asked for."""
MOST_TIMED = 16
_STUDENT_95 = {4: 3.182, 5: 2.776, 6: 2.571, 8: 2.365, 12: 2.201, 16: 2.131}
"""Student's t for a two-sided interval of 95 %, by the number of steps that were timed; between them the
next smaller number counts, which is cautious."""
FEW_ROWS = 64
_USUAL_BATCH = 8
_USUAL_EPOCHS = 3.0
_USUAL_GENERATIONS = 8
_MESSAGE_CHARS = 300
_FIELDS_OF = {
    "out_of_memory": ("per_device_train_batch_size", "max_length", "hidden_size"),
    "nan": ("learning_rate", "max_grad_norm"),
}
"""What a failure of a kind is usually about, where its message names no field."""


class SmokeTest(BaseModel):
    """What a few steps of a training tell of the whole.

    Attributes:
        job: Id of the job that ran them; job_logs shows what it printed.
        state: Always succeeded; a failure is raised.
        steps: Steps that ran: one to warm up, which is not timed, and at least four more.
        parameters: Of the model.
        vocab_size: Entries of the tokenizer.
        tokens_per_step: Tokens that a step learns from, without padding.
        seconds_per_step: The mean of the timed steps.
        seconds_per_step_error: Half of that mean's 95 % interval (Student's t): how far the steps differ.
        startup_seconds: From the start of the process to the first step; all of the data may take longer.
        max_steps: As the config asks, or as rows, batch and epochs make them; None where they do not tell.
        estimated_seconds: Startup and `max_steps` steps, if no other job runs beside it; measuring on rows
            that were set apart and saving come on top.
        estimated_range: The same with the least and the most seconds that a step takes by its error.
        note: Where max_steps comes from, or why it is not known, where the config does not name it.
    """

    job: str
    state: Literal["succeeded"] = "succeeded"
    steps: int
    parameters: int
    vocab_size: int
    tokens_per_step: int
    seconds_per_step: float
    seconds_per_step_error: float
    startup_seconds: float
    max_steps: int | None = None
    estimated_seconds: float | None = None
    estimated_range: tuple[float, float] | None = None
    note: str = ""


def smoke_spec(ctx: ToolContext, asked: Training, threads: int) -> JobSpec:
    """The job: the training that is asked, with a few steps and no more data than they need.

    Without warmup the first step has its full learning rate, so that the second one meets updated weights.

    Raises:
        ToolError: The training does not pass its check.
    """
    config = {k: v for k, v in asked.config.items() if ALIASES.get(k, k) != "max_steps"}
    steps = 1 + timed_steps(asked.method, config)
    config |= {"max_steps": steps, "warmup_steps": 0, "logging_steps": 1, "save_strategy": "no"}
    if "validation" in config:
        config["eval_steps"] = steps
    spec = training_spec(ctx, replace(asked, config=config, name="smoke test"), threads)
    spec.config.pop("held_out_texts", None)  # They were looked at; measuring them is no part of a step.
    trainer = spec.config["trainer"]
    batch = trainer.get("per_device_train_batch_size", _USUAL_BATCH)
    rows = steps * int(batch) * int(trainer.get("gradient_accumulation_steps", 1))
    rows *= int(spec.config.get("processes") or 1)
    # The tokenizer of a pretraining learns from all documents, so that the model has its true size.
    limit = {"rows_needed": rows} if asked.method == "pretrain" else {"max_rows": max(FEW_ROWS, rows)}
    # The user's own words, from which a failure names the field and the result the steps.
    spec.config |= {**limit, "asked": asked.config}
    return spec


def timed_steps(method: str, config: Mapping[str, Any]) -> int:
    """How many steps are timed: in a grpo whole rounds, from drawing completions to having learned from them.

    One drawing lasts for `steps_per_generation` batches and `num_iterations` passes, and takes most of the
    time; a step that needs none is no measure of the others.
    """
    fields = {ALIASES.get(name, name): value for name, value in config.items()}
    lasts = [fields.get(name) for name in ("steps_per_generation", "num_iterations")]
    if method != "grpo" or not all(value is None or isinstance(value, int) for value in lasts):
        return TIMED
    batches = fields.get("gradient_accumulation_steps") or 1
    each = (lasts[0] or batches) * (lasts[1] or 1)
    round_of = max(1, -(-each // batches)) if isinstance(batches, int) and batches > 0 else 1
    return min(MOST_TIMED, round_of * -(-TIMED // round_of))


def smoke_result(jobs: Jobs, status: JobStatus) -> SmokeTest:
    """What the steps measured.

    Raises:
        ToolError: The job failed: the kind, the message and the field it is about, in one line.
    """
    spec = jobs.spec(status.id)
    if status.failure is not None:
        raise ToolError(*_told(status.failure, spec))
    if status.state != "succeeded":
        raise ToolError(f"The smoke test was {status.state}.", "Run it again.")
    result = read_result(Path(status.output))
    times = _first_times(jobs.folder_of(status.id) / "metrics.jsonl")
    a_step, error = _mean_and_error([times[n] - times[n - 1] for n in range(2, status.step + 1)])
    startup = max(0.0, times[0] - (status.started or times[0]))
    steps, note = whole_steps(spec)
    around = [startup + (steps or 0) * max(0.0, a_step + sign * error) for sign in (-1, 0, 1)]
    return SmokeTest(
        job=status.id,
        steps=status.step,
        parameters=result["parameters"],
        vocab_size=result["vocab_size"],
        tokens_per_step=round(result["tokens_seen"] / status.step),
        seconds_per_step=round(a_step, 5),
        seconds_per_step_error=round(error, 5),
        startup_seconds=round(startup, 2),
        max_steps=steps,
        estimated_seconds=round(around[1], 1) if steps else None,
        estimated_range=(round(around[0], 1), round(around[2], 1)) if steps else None,
        note=note,
    )


def whole_steps(spec: JobSpec) -> tuple[int | None, str]:
    """How many steps the whole training takes, and a word where its config does not name them."""
    asked = {ALIASES.get(k, k): v for k, v in spec.config["asked"].items()}
    wanted, trainer = asked.get("max_steps"), spec.config.get("trainer", {})
    if wanted and wanted > 0:
        return wanted, ""
    joined = "its texts are joined into rows" if spec.method == "pretrain" or trainer.get("packing") else ""
    rows = spec.config.get("rows") or 0
    if joined or not rows:
        why = joined or "the rows were not counted"
        return None, f"max_steps is not known: the config names none, and {why}. Name it for an estimate."
    epochs = asked.get("num_train_epochs") or _USUAL_EPOCHS
    steps = math.ceil(epochs * _steps_of_an_epoch(spec, trainer, rows))
    return steps, f"max_steps was counted: {rows} rows, {epochs:g} epochs."


def _steps_of_an_epoch(spec: JobSpec, trainer: Mapping[str, Any], rows: int) -> int:
    """As the trainer counts them: every process takes its share of the batches, the last may be smaller."""
    apart = spec.config.get("validation")
    train = max(1, rows - max(1, round(rows * apart)) if apart else rows)
    if spec.method == "grpo":
        train *= int(trainer.get("num_generations") or _USUAL_GENERATIONS)
        train *= int(trainer.get("num_iterations") or 1)
    batches = math.ceil(train / int(trainer.get("per_device_train_batch_size") or _USUAL_BATCH))
    batches = math.ceil(batches / int(spec.config.get("processes") or 1))
    return math.ceil(batches / int(trainer.get("gradient_accumulation_steps") or 1))


def _mean_and_error(seconds: list[float]) -> tuple[float, float]:
    """The mean, and half of its 95 % interval."""
    count = len(seconds)
    student = _STUDENT_95[max(known for known in _STUDENT_95 if known <= count)]
    return mean(seconds), student * stdev(seconds) / math.sqrt(count)


def _first_times(metrics: Path) -> dict[int, float]:
    """When each step was first written; later lines of a step (validation, the end) come after its work."""
    times: dict[int, float] = {}
    for row in map(json.loads, metrics.read_text().splitlines()):
        times.setdefault(row["step"], row["time"])
    return times


def _told(failure: Failure, spec: JobSpec) -> tuple[str, str]:
    about = _field(failure, spec)
    field = f" It is about {about}." if about else ""
    message = shorten(failure.message, _MESSAGE_CHARS, placeholder=" …").rstrip(".")
    return f"The smoke test failed ({failure.kind}): {message}.{field}", failure.hint


def _field(failure: Failure, spec: JobSpec) -> str:
    """The field of the user's own words that a failure is about, with its value; empty where none is."""
    asked = list(_asked(spec))
    for label, name, value in asked:
        words = [name, str(value)] if isinstance(value, str) and len(value) > 2 else [name]
        if any(re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", failure.message) for word in words):
            return f"{label} = {value!r}"
    usual = _FIELDS_OF.get(failure.kind, ())
    return next((f"{label} = {value!r}" for label, name, value in asked if name in usual), "")


def _asked(spec: JobSpec) -> Iterator[tuple[str, str, Any]]:
    """Each field as it is written, its full name and its value."""
    for given, value in spec.config["asked"].items():
        yield f'config["{given}"]', ALIASES.get(given, given), value
    model = spec.config["model_ref"]
    for given, value in (model.get("config", {}) if isinstance(model, dict) else {}).items():
        yield f'model["config"]["{given}"]', given, value
