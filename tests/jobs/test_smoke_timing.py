"""How many steps of a smoke test are timed, and what they say of the whole."""

from __future__ import annotations

import json

import pytest

from ml_intern.jobs import smoke
from ml_intern.jobs.model import JobSpec, JobStatus


@pytest.mark.parametrize(
    ("method", "config", "steps"),
    [
        ("sft", {}, 4),
        ("sft", {"steps_per_generation": 8}, 4),
        ("grpo", {}, 4),
        ("grpo", {"steps_per_generation": 3}, 6),
        ("grpo", {"grad_accum": 4, "steps_per_generation": 8, "num_iterations": 3}, 6),
        ("grpo", {"gradient_accumulation_steps": 4}, 4),
        ("grpo", {"num_iterations": 100}, 16),
        ("grpo", {"num_iterations": "many"}, 4),
    ],
)
def test_a_grpo_is_timed_in_whole_rounds(method, config, steps):
    assert smoke.timed_steps(method, config) == steps


class OneJob:
    """What smoke_result asks of the jobs: one that has ended, with times of our choice."""

    def __init__(self, folder, times: list[float]) -> None:
        self.folder = folder
        rows = [{"step": n, "time": t} for n, t in enumerate(times)]
        (folder / "output").mkdir()
        (folder / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in [*rows, rows[-1]]))
        told = {"parameters": 7, "vocab_size": 300, "tokens_seen": 50}
        (folder / "output" / "result.json").write_text(json.dumps(told))
        self.status = JobStatus(
            id="j", name="j", method="sft", state="succeeded", created=0.0, started=90.0,
            step=len(times) - 1, output=str(folder / "output"),
        )  # fmt: skip

    def spec(self, job: str) -> JobSpec:
        return JobSpec(name="j", method="sft", config={"asked": {"steps": 100}, "model_ref": "m"})

    def folder_of(self, job: str):
        return self.folder


def test_the_first_step_is_left_out_and_the_error_is_said(tmp_path):
    jobs = OneJob(tmp_path, [100.0, 150.0, 151.0, 153.0, 154.0, 156.0])
    found = smoke.smoke_result(jobs, jobs.status)
    assert found.seconds_per_step == 1.5, "fifty seconds of warming up are no measure"
    assert found.seconds_per_step_error == pytest.approx(3.182 * (1 / 3) ** 0.5 / 2, abs=1e-4)
    assert found.startup_seconds == 10 and found.estimated_seconds == 160
    assert found.estimated_range == pytest.approx((160 - 91.9, 160 + 91.9), abs=0.1)
    assert found.tokens_per_step == 10


def test_even_steps_leave_no_doubt(tmp_path):
    jobs = OneJob(tmp_path, [100.0, 103.0, 104.0, 105.0, 106.0, 107.0])
    assert smoke.smoke_result(jobs, jobs.status).estimated_range == (110.0, 110.0)


@pytest.mark.parametrize(
    ("method", "asked", "config", "steps", "told"),
    [
        ("sft", {"max_steps": 7}, {}, 7, ""),
        ("sft", {"epochs": 30}, {"batch": 8}, 30 * 13, "100 rows, 30 epochs"),
        ("sft", {}, {"batch": 8, "accumulation": 4}, 12, "3 epochs"),
        (
            "sft",
            {"max_steps": -1, "num_train_epochs": 0.5},
            {"validation": 0.1, "processes": 2},
            3,
            "0.5 epochs",
        ),
        ("grpo", {"epochs": 1}, {"generations": 4}, 50, "1 epochs"),
        ("sft", {"epochs": 2}, {"packing": True}, None, "joined into rows"),
        ("pretrain", {"epochs": 2}, {}, None, "Name it"),
    ],
)
def test_the_steps_of_whole_epochs_are_counted_or_said_to_be_unknown(method, asked, config, steps, told):
    names = {
        "batch": "per_device_train_batch_size",
        "accumulation": "gradient_accumulation_steps",
        "generations": "num_generations",
        "packing": "packing",
    }
    trainer = {names[name]: value for name, value in config.items() if name in names}
    own = {name: value for name, value in config.items() if name not in names}
    spec = JobSpec(name="j", method=method, config={"asked": asked, "rows": 100, "trainer": trainer, **own})
    found, note = smoke.whole_steps(spec)
    assert found == steps and told in note and bool(note) == bool(told)
