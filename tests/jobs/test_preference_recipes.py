"""dpo, reward and grpo as real trainings on a CPU: better than at their start, and the same after a kill -9.

A model of 0.1M parameters, from scratch, has learned that an answer is "yes" or "no" and not when: to a vowel
among digits it is yes. Each method has to find that out, and is measured on rows that it did not train on.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from ml_intern.jobs.local import Jobs
from ml_intern.jobs.model import JobSpec
from ml_intern.settings import Settings

WAIT_S = 240
TINY = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 259}  # fmt: skip
OTHER = {"yes": "no", "no": "yes"}
TRAINER = {"learning_rate": 2e-3, "per_device_train_batch_size": 16, "logging_steps": 10, "save_steps": 5}


def questions(count: int, seed: int) -> list[tuple[str, str]]:
    draw = random.Random(seed)
    letters = [draw.choice("aeioubcdfg") for _ in range(count)]
    return [
        (f"{draw.randrange(1000):03d}{x}{draw.randrange(100):02d}=", "yes" if x in "aeiou" else "no")
        for x in letters
    ]


def write_rows(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    state = tmp_path_factory.mktemp("state")
    return Jobs(state / "jobs", None, Settings(state=state, job_slots=2), lambda _: None)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    draw = random.Random(2)
    write_rows(folder / "texts", [{"text": q + draw.choice(["yes", "no"])} for q, _ in questions(800, 0)])
    pairs = [{"prompt": q, "chosen": a, "rejected": OTHER[a]} for q, a in questions(600, 1)]
    write_rows(folder / "pairs", pairs)
    write_rows(folder / "prompts", [{"prompt": q, "answer": a} for q, a in questions(600, 1)])
    return folder


def launched(jobs, method: str, data: Path, name: str | None = None, **config) -> str:
    trainer = {**TRAINER, **config.pop("trainer", {})}
    asked = {"data": str(data), "trainer": trainer, **config}
    return jobs.submit(JobSpec(name=name or method, method=method, config=asked)).id


def result_of(jobs, job: str) -> dict:
    [status] = jobs.wait([job], WAIT_S)
    assert status.state == "succeeded", status.failure
    return json.loads((Path(status.output) / "result.json").read_text())


@pytest.fixture(scope="module")
def base(jobs, data) -> str:
    once = {"learning_rate": 3e-3, "max_steps": 150, "logging_steps": 50, "save_strategy": "no"}
    told = {"model": {"config": TINY}, "tokenizer": "byte", "packing": False, "trainer": once}
    job = launched(jobs, "pretrain", data / "texts", **told)
    result_of(jobs, job)
    return str(jobs.model_path(job))


CASES = {
    "dpo": {"trainer": {"max_steps": 40}},
    "reward": {"trainer": {"max_steps": 60}},
    "grpo": {
        "rewards": ["exact", {"type": "length", "max": 4, "weight": 0.1}],
        "trainer": {"max_steps": 30, "per_device_train_batch_size": 64, "max_completion_length": 5},
    },
}


def case(method: str, base: str, data: Path) -> dict:
    rows = data / ("prompts" if method == "grpo" else "pairs")
    return {"model": base, "data": rows, "validation": 0.2, **CASES[method]}


@pytest.fixture(scope="module")
def straight(jobs, base, data) -> dict[str, dict]:
    """Each method once, without a break."""
    found = {method: launched(jobs, method, **case(method, base, data)) for method in CASES}
    return {method: {**result_of(jobs, job), "job": job} for method, job in found.items()}


@pytest.mark.slow
def test_dpo_prefers_the_chosen_answers_of_pairs_set_apart(jobs, straight, base):
    held = straight["dpo"]["held_out"]
    assert held["loss"]["start"] == pytest.approx(0.6931, abs=1e-3), "at the start it is its own reference"
    assert held["rewards/accuracies"]["end"] > 0.9
    before, after = (held["logps/chosen"][at] - held["logps/rejected"][at] for at in ("start", "end"))
    assert abs(before) < 0.5 and after > 2
    metrics = jobs.metrics(straight["dpo"]["job"], ["eval_rewards/margins"])
    assert [row["step"] for row in metrics][:2] == [0, 4]


@pytest.mark.slow
def test_a_reward_model_tells_the_better_answer_of_pairs_set_apart(jobs, straight):
    accuracy = straight["reward"]["held_out"]["accuracy"]
    assert accuracy["start"] < 0.7 and accuracy["end"] > 0.9
    described = json.loads((jobs.model_path(straight["reward"]["job"]) / "config.json").read_text())
    assert described["architectures"] == ["LlamaForSequenceClassification"]


@pytest.mark.slow
def test_grpo_earns_more_on_prompts_set_apart_and_logs_each_reward(jobs, straight):
    held = straight["grpo"]["held_out"]
    assert held["rewards/exact/mean"]["start"] < 0.6 < 0.8 < held["rewards/exact/mean"]["end"]
    for at in ("start", "end"):
        parts = held["rewards/exact/mean"][at] + 0.1 * held["rewards/length/mean"][at]
        assert held["reward"][at] == pytest.approx(parts, abs=1e-4)
    logged = jobs.metrics(straight["grpo"]["job"], ["rewards/exact/mean", "rewards/length/std"])
    assert len(logged) >= 3
    assert straight["grpo"]["rewards"][1] == {"name": "length", "type": "length", "weight": 0.1}
    assert straight["grpo"]["tokens_seen"] > 1000


@pytest.mark.slow
@pytest.mark.parametrize("method", list(CASES))
def test_killed_with_9_and_resumed_it_ends_the_same(jobs, straight, base, data, method):
    job = launched(jobs, method, name=f"{method} broken", **case(method, base, data))
    folder, deadline = jobs.folder_of(job), time.monotonic() + WAIT_S
    while not list(folder.glob("checkpoints/checkpoint-*/trainer_state.json")):
        assert time.monotonic() < deadline and jobs.status(job).state != "failed"
        time.sleep(0.01)
    os.kill(json.loads((folder / "status.json").read_text())["pid"], signal.SIGKILL)
    [status] = jobs.wait([job], WAIT_S)
    assert status.failure is not None and status.failure.kind == "killed"
    jobs.resume(job)
    broken = result_of(jobs, job)
    assert "checkpoint-" in broken["resumed_from"]
    for name in ("model_sha256", "final_loss", "held_out", "tokens_seen", "steps"):
        assert broken[name] == straight[method][name], name


@pytest.mark.slow
def test_two_processes_train_one_model_with_an_adapter_and_a_reward_model(jobs, straight, base, data):
    judge = jobs.model_path(straight["reward"]["job"])
    trainer = {"max_steps": 3, "per_device_train_batch_size": 16, "max_completion_length": 4}
    job = launched(
        jobs, "grpo", data / "prompts", model=base, processes=2, peft={"r": 4}, trainer=trainer,
        rewards=[{"type": "model", "model": str(judge)}],
    )  # fmt: skip
    result = result_of(jobs, job)
    assert result["world_size"] == 2 and result["steps"] == 3
    assert result["model_sha256"] != result["base_model_sha256"]
    steps = [json.loads(line)["step"] for line in (jobs.folder_of(job) / "metrics.jsonl").open()]
    assert steps.count(1) == 1, "one of the two writes"
    assert result["parameters"] > 115_392, "counted with the adapter"

    from transformers import AutoModelForCausalLM

    made = AutoModelForCausalLM.from_pretrained(jobs.model_path(job))
    assert made.num_parameters() == 115_392, "the adapter is merged"


@pytest.mark.slow
def test_a_reward_that_fails_ends_the_job_with_one_line(jobs, base, data):
    code = "def reward(completion, answer):\n    return int(answer)\n"
    trainer = {"max_steps": 1, "per_device_train_batch_size": 8, "max_completion_length": 2}
    rewards = [{"type": "python", "name": "mine", "code": code}]
    job = launched(jobs, "grpo", data / "prompts", model=base, rewards=rewards, trainer=trainer)
    [status] = jobs.wait([job], WAIT_S)
    assert status.failure is not None and status.failure.kind == "bad_config"
    assert "the reward 'mine' failed: ValueError" in status.failure.message
    assert "(line 2 of the code)" in status.failure.message
