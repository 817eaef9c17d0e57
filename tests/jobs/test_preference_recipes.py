"""dpo, reward and grpo as real trainings on a CPU: better than at their start, and the same after a kill -9.

A model of 0.1M parameters, from scratch, has read questions with answers of which a quarter are wrong: to a
vowel among digits it is yes, else no. Each method is measured on rows that it did not train on.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ml_intern.jobs.launch import RECIPES
from ml_intern.jobs.local import Jobs
from ml_intern.jobs.model import JobSpec
from ml_intern.settings import Settings

WAIT_S = 240
TINY = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 259}  # fmt: skip
OTHER = {"yes": "no", "no": "yes"}
TRAINER = {"learning_rate": 2e-3, "per_device_train_batch_size": 16, "logging_steps": 7, "save_steps": 5}


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
    heard = [(q, a if draw.random() < 0.75 else OTHER[a]) for q, a in questions(3000, 0)]
    write_rows(folder / "texts", [{"text": q + a} for q, a in heard])
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
    once = {"learning_rate": 3e-3, "per_device_train_batch_size": 32, "max_steps": 250, "save_strategy": "no"}
    told = {"model": {"config": TINY}, "tokenizer": "byte", "packing": False, "trainer": once}
    job = launched(jobs, "pretrain", data / "texts", **told)
    result_of(jobs, job)
    return str(jobs.model_path(job))


CASES = {
    "dpo": {"trainer": {"max_steps": 20}},
    "reward": {"trainer": {"max_steps": 20, "learning_rate": 1e-2}, "peft": {"r": 8, "lora_dropout": 0.1}},
    "grpo": {
        "rewards": ["exact", {"type": "length", "max": 4, "weight": 0.1}],
        "trainer": {"max_steps": 20, "per_device_train_batch_size": 64, "max_completion_length": 5,
                    "learning_rate": 1e-3, "eval_steps": 0.5},
    },
}  # fmt: skip


def case(method: str, base: str, data: Path) -> dict:
    rows = data / ("prompts" if method == "grpo" else "pairs")
    return {"model": base, "data": rows, "validation": 0.1, **CASES[method]}


@pytest.fixture(scope="module")
def straight(jobs, base, data) -> dict[str, dict]:
    """Each method once, without a break."""
    found = {method: launched(jobs, method, **case(method, base, data)) for method in CASES}
    return {method: {**result_of(jobs, job), "job": job} for method, job in found.items()}


@pytest.mark.thorough
@pytest.mark.slow
def test_dpo_prefers_the_chosen_answers_of_pairs_set_apart(jobs, straight, base):
    held = straight["dpo"]["held_out"]
    assert held["loss"]["start"] == pytest.approx(0.6931, abs=1e-3), "at the start it is its own reference"
    assert held["rewards/accuracies"]["end"] > 0.9
    before, after = (held["logps/chosen"][at] - held["logps/rejected"][at] for at in ("start", "end"))
    assert after > before + 2
    metrics = jobs.metrics(straight["dpo"]["job"], ["eval_rewards/margins"])
    assert [row["step"] for row in metrics][:2] == [0, 2]


@pytest.mark.slow
def test_a_reward_model_tells_the_better_answer_of_pairs_set_apart(jobs, straight):
    accuracy = straight["reward"]["held_out"]["accuracy"]
    assert accuracy["start"] < 0.7 and accuracy["end"] > 0.9
    described = json.loads((jobs.model_path(straight["reward"]["job"]) / "config.json").read_text())
    assert described["architectures"] == ["LlamaForSequenceClassification"]


@pytest.mark.slow
def test_grpo_earns_more_on_prompts_set_apart_and_logs_each_reward(jobs, straight):
    held = straight["grpo"]["held_out"]
    assert held["rewards/exact/mean"]["end"] > held["rewards/exact/mean"]["start"] + 0.08
    for at in ("start", "end"):
        parts = held["rewards/exact/mean"][at] + 0.1 * held["rewards/length/mean"][at]
        assert held["reward"][at] == pytest.approx(parts, abs=1e-4)
    logged = jobs.metrics(straight["grpo"]["job"], ["rewards/exact/mean", "rewards/length/std"])
    assert len(logged) >= 3
    assert straight["grpo"]["rewards"][1] == {"name": "length", "type": "length", "weight": 0.1}
    assert straight["grpo"]["tokens_seen"] > 1000


KILL = """
import os, runpy, signal, sys
recipe, config = sys.argv[1:]
sys.path.insert(0, os.path.dirname(recipe))
import _common
append = _common.append
def append_and_die(path, state, numbers):
    append(path, state, numbers)
    if state.global_step == 7 and "loss" in numbers:
        os.kill(os.getpid(), signal.SIGKILL)
_common.append = append_and_die
sys.argv = [recipe, config]
runpy.run_path(recipe, run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.thorough
def test_killed_with_9_and_resumed_each_ends_the_same(straight, base, data, tmp_path):
    """It dies at the log of step 7, two steps after the checkpoint, however fast the machine is."""

    def run(method: str, *how: str) -> subprocess.Popen:
        argv = [sys.executable, *how, str(RECIPES / f"{method}.py"), str(tmp_path / method / "config.json")]
        log = (tmp_path / method / "log").open("a")
        return subprocess.Popen(argv, stdout=log, stderr=log)

    for method in CASES:
        alone(tmp_path / method, case(method, base, data))
    assert {run(m, "-c", KILL).wait() for m in CASES} == {-signal.SIGKILL}
    again = {method: run(method) for method in CASES}
    for method, process in again.items():
        assert process.wait(WAIT_S) == 0, (tmp_path / method / "log").read_text()
        found = json.loads((tmp_path / method / "output" / "result.json").read_text())
        assert found["resumed_from"].endswith("checkpoint-5")
        for name in ("model_sha256", "final_loss", "held_out", "tokens_seen", "steps"):
            assert found[name] == straight[method][name], (method, name)


def alone(folder: Path, config: dict) -> None:
    """What a recipe needs that is run by hand."""
    for name in ("output", "checkpoints"):
        (folder / name).mkdir(parents=True)
    places = {"output_dir": "output", "checkpoint_dir": "checkpoints", "metrics_file": "metrics.jsonl"}
    told = {**config, "data": str(config["data"]), "trainer": {**TRAINER, **config["trainer"]}}
    told |= {key: str(folder / name) for key, name in places.items()}
    (folder / "config.json").write_text(json.dumps(told))


@pytest.mark.slow
@pytest.mark.thorough
def test_two_processes_train_one_model(jobs, data):
    told = {"model": {"config": TINY}, "tokenizer": "byte", "processes": 2, "validation": 0.1}
    job = launched(jobs, "pretrain", data / "texts", "two", trainer={"max_steps": 4}, **told)
    result = result_of(jobs, job)
    assert result["world_size"] == 2 and result["steps"] == 4
    assert result["held_out"]["loss"]["end"] < result["held_out"]["loss"]["start"]
    rows = [json.loads(line) for line in (jobs.folder_of(job) / "metrics.jsonl").open()]
    assert len([row for row in rows if "eval_loss" in row and row["step"] == 0]) == 1, "one of the two writes"


@pytest.mark.slow
@pytest.mark.thorough
def test_a_reward_model_judges_and_a_function_that_fails_ends_the_job_with_one_line(
    jobs, straight, base, data
):
    """The function fails at the second draw, so that the first step is there to be looked at."""
    code = "calls = []\ndef reward(completions):\n    calls.append(1)\n    return [1 / (2 - len(calls))] * len(completions)\n"
    judge = {"type": "model", "model": str(jobs.model_path(straight["reward"]["job"]))}
    rewards = [judge, {"type": "python", "name": "mine", "code": code}]
    trainer = {"max_steps": 2, "max_completion_length": 3, "logging_steps": 1}
    job = launched(jobs, "grpo", data / "prompts", "fails", model=base, rewards=rewards, trainer=trainer)
    [status] = jobs.wait([job], WAIT_S)
    assert status.failure is not None and status.failure.kind == "bad_config"
    assert "the reward 'mine' failed: ZeroDivisionError" in status.failure.message
    assert "(line 4 of the code)" in status.failure.message and "\n" not in status.failure.message
    [first] = jobs.metrics(job, ["rewards/model/mean"])
    assert first["step"] == 1 and first["rewards/model/mean"] != 0
