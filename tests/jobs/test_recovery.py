"""Jobs that fail in the middle: resumed to the same end, or explained; ended early with their model."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ml_intern.jobs.local import Jobs
from ml_intern.jobs.memory import estimate_mb
from ml_intern.jobs.model import JobSpec, JobStatus
from ml_intern.jobs.recovery import less_memory, next_step
from ml_intern.settings import Settings

WAIT_S = 240
SMALL = {"model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
TINY = {**SMALL, "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 300}


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": f"x_{n} = {n} + {n * n}  # ö"}) + "\n" for n in range(300)))
    return path


def training(
    data: Path, name: str, model: object = None, method: str = "pretrain", **more: object
) -> JobSpec:
    job = {field: more.pop(field) for field in ("restarts", "stop_when") if field in more}
    config = {"model": model or {"config": TINY}, "data": str(data), "max_length": 32, **more}
    if method == "sft":
        config["trainer"] = {**config["trainer"], "max_length": config.pop("max_length")}  # type: ignore[dict-item]
    return JobSpec(name=name, method=method, config=config, inputs=[data], **job)  # type: ignore[arg-type]


def until_saved(folder: Path) -> None:
    deadline = time.monotonic() + WAIT_S
    while not list(folder.glob("checkpoints/checkpoint-*/trainer_state.json")):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def pid_of(folder: Path, whose: str) -> int:
    return int(json.loads((folder / "status.json").read_text())[whose])


def result(status: JobStatus) -> dict:
    assert status.state == "succeeded", status.failure
    return json.loads((Path(status.output) / "result.json").read_text())


def losses(jobs: Jobs, status: JobStatus) -> list[tuple[int, float]]:
    return [(row["step"], row["loss"]) for row in jobs.metrics(status.id, ["loss"])]


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    [
        pytest.param(name, marks=[] if name == "pretrain" else pytest.mark.thorough)
        for name in os.environ.get("ML_INTERN_TEST_KILLED", "pretrain,sft").split(",")
    ],
)
def test_killed_it_goes_on_by_itself_to_the_same_loss_bit_for_bit(jobs, texts, method):
    often = {"max_steps": 200, "save_steps": 20, "logging_steps": 10, "learning_rate": 1e-2}
    base = None
    if method == "sft":
        few = training(texts, "base", trainer={"max_steps": 2})
        base = str(Path(jobs.wait([jobs.submit(few).id], WAIT_S)[0].output) / "model")
    specs = [training(texts, n, base, method, trainer=often, restarts=2) for n in ("straight", "broken")]
    straight, broken = (jobs.submit(spec).id for spec in specs)
    until_saved(jobs.folder_of(broken))
    os.kill(pid_of(jobs.folder_of(broken), "pid"), signal.SIGKILL)
    one, other = jobs.wait([straight, broken], WAIT_S)
    assert [r.kind for r in other.recoveries] == ["killed"] and not one.recoveries
    assert other.recoveries[0].checkpoint >= 20 and "from checkpoint" in other.recoveries[0].action
    assert losses(jobs, one) == losses(jobs, other)
    assert result(one)["final_loss"] == result(other)["final_loss"]
    assert result(one)["model_sha256"] == result(other)["model_sha256"]
    assert "checkpoint-" in result(other)["resumed_from"]


@contextmanager
def memory_limit(mb: int) -> Iterator[None]:
    """What is started inside may allocate so much and no more: the allocator then fails as on a full machine."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (mb << 20, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


@pytest.mark.slow
@pytest.mark.thorough
def test_out_of_memory_it_takes_smaller_batches_and_the_same_rows_a_step(jobs, texts):
    wide = {"config": {**TINY, "vocab_size": 64_000}}
    trainer = {"max_steps": 2, "per_device_train_batch_size": 64, "logging_steps": 1}
    with memory_limit(1200):
        job = jobs.submit(training(texts, "wide", wide, trainer=trainer, restarts=4)).id
    [status] = jobs.wait([job], WAIT_S)
    made = result(status)
    assert status.recoveries and {r.kind for r in status.recoveries} == {"out_of_memory"}
    batch, repeats = (
        made["trainer"][n] for n in ("per_device_train_batch_size", "gradient_accumulation_steps")
    )
    assert batch < 64 and batch * repeats == 64
    assert made["steps"] == 2 and status.total_steps == 2
    assert "64 rows a step as before" in status.recoveries[0].action
    assert "Try 2, after out_of_memory" in jobs.logs(job).text


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, which is soon full."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)], check=False)
    if mounted.returncode:
        pytest.skip("only root can mount a small disk")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.slow
@pytest.mark.thorough
def test_a_full_disk_and_a_lost_supervisor_are_named_and_the_training_goes_on(tmp_path, texts, small_disk):
    def open_jobs() -> Jobs:
        settings = Settings(state=tmp_path / "state", job_slots=1)
        return Jobs(small_disk / "jobs", None, settings, lambda event: None)

    larger = {"config": {**TINY, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 3}}
    trainer = {"max_steps": 160, "save_steps": 10, "save_total_limit": 99}
    job = open_jobs().submit(training(texts, "large", larger, trainer=trainer, restarts=3)).id
    [status] = open_jobs().wait([job], WAIT_S)
    assert status.state == "failed" and status.failure.kind == "disk_full" and not status.recoveries
    assert "resume_job" in status.failure.hint

    subprocess.run(["mount", "-o", "remount,size=2g", str(small_disk)], check=True)
    jobs = open_jobs()
    jobs.resume(job)
    jobs.wait([job], WAIT_S, f"step > {status.step + 2}")
    os.kill(pid_of(jobs.folder_of(job), "supervisor"), signal.SIGKILL)
    again = open_jobs()  # as another process would see it
    [status] = again.wait([job], WAIT_S)
    assert status.failure.kind == "lost" and "resume_job" in status.failure.hint
    again.resume(job)
    [status] = again.wait([job], WAIT_S)
    assert result(status)["steps"] == 160 and result(status)["resumed_from"]


@pytest.mark.slow
@pytest.mark.thorough
def test_a_rule_ends_a_training_early_with_its_model(jobs, texts):
    long = {"max_steps": 100_000, "logging_steps": 5, "save_steps": 10_000}
    job = jobs.submit(training(texts, "ruled", trainer=long, stop_when="step >= 20")).id
    [status] = jobs.wait([job], WAIT_S)
    assert 20 <= result(status)["steps"] < 100_000 and status.stopped.startswith("step >= 20: step is ")
    assert losses(jobs, status)[-1][0] == result(status)["steps"] and jobs.model_path(job)


@pytest.mark.thorough
@pytest.mark.slow
def test_the_best_checkpoint_stays_beside_the_last_and_memory_is_held_against_its_estimate(jobs, texts):
    """A rate that wrecks the model after a while: the best on the held-out rows is an early one."""
    trainer = {"max_steps": 40, "learning_rate": 0.3, "lr_scheduler_type": "constant", "warmup_steps": 20}
    model = {"config": TINY}
    estimated = estimate_mb("pretrain", model, trainer, {"max_length": 32})
    spec = training(texts, "turns", model, trainer=trainer, validation=0.1, estimated_memory_mb=estimated)
    [status] = jobs.wait([jobs.submit(spec).id], WAIT_S)
    held = {r["step"]: r["eval_loss"] for r in jobs.metrics(status.id, ["eval_loss"]) if r["step"] % 4 == 0}
    held.pop(0, None)
    kept = {int(p.name[11:]) for p in jobs.folder_of(status.id).glob("checkpoints/checkpoint-*")}
    assert min(held, key=held.__getitem__) in kept and 40 in kept and len(kept) <= 3, (held, kept)
    assert status.memory.peak_mb > 200 and abs(status.memory.error) < 0.5, status.memory
    assert "MB were estimated" in str(status.memory)


@pytest.mark.parametrize(
    ("kind", "checkpoint", "past", "action"),
    [
        ("killed", 40, [], "went on from checkpoint 40"),
        ("killed", 0, [], "went on from the beginning"),
        ("killed", 40, [{"kind": "killed", "checkpoint": 40}], None),
        ("killed", 60, [{"kind": "killed", "checkpoint": 40}], "went on from checkpoint 60"),
        ("nan", 40, [], None),
        ("bad_config", 0, [], None),
        ("disk_full", 40, [], None),
        ("timeout", 40, [], None),
        ("code_error", 40, [], None),
    ],
    ids=lambda value: str(value) if isinstance(value, str | int) else "",
)
def test_what_is_done_about_each_failure(kind, checkpoint, past, action):
    step = next_step(kind, {"trainer": {}}, "sft", past, checkpoint)
    assert (step.action if step else None) == action
    assert next_step(kind, {}, "script", past, checkpoint) is None


def test_memory_is_saved_in_steps_that_never_change_the_rows_of_a_step():
    trainer = {"per_device_train_batch_size": 6, "gradient_accumulation_steps": 2, "max_length": 64}
    seen = []
    while (step := less_memory(trainer)) is not None:
        trainer |= step.changes
        seen.append((trainer["per_device_train_batch_size"], trainer["gradient_accumulation_steps"]))
        assert trainer["max_length"] == 64 and seen[-1][0] * seen[-1][1] == 12
    assert seen == [(3, 4), (1, 12), (1, 12)] and trainer["gradient_checkpointing"]


def test_completions_of_a_group_stay_together_when_batches_shrink():
    step = less_memory({"per_device_train_batch_size": 8, "steps_per_generation": 2})
    assert step.changes["per_device_train_batch_size"] * step.changes["steps_per_generation"] == 16
