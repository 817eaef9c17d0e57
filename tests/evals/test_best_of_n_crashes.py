"""A host that is killed between the two jobs, and a reward model that the recipe really trained."""

from __future__ import annotations

import importlib
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.hand_made import judge, writer

from ml_intern.evals.rewarding import Watch, ask_rewards
from ml_intern.evals.store import Evals
from ml_intern.jobs.launch import RECIPES
from ml_intern.jobs.local import Jobs
from ml_intern.jobs.model import JobSpec
from ml_intern.ledger import Ledger
from ml_intern.ledger.model import Inference
from ml_intern.sandbox.local import LocalSandbox
from ml_intern.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.thorough]
LETTERS = "abcdefgh0123456789xy="
HOST = """
import sys
from pathlib import Path
from ml_intern.evals.store import Evals
from ml_intern.jobs.local import Jobs
from ml_intern.ledger import Ledger
from ml_intern.ledger.model import Inference
from ml_intern.settings import Settings
root = Path(sys.argv[1])
jobs = Jobs(root / "evals" / "jobs", None, Settings(), lambda event: None)
evals = Evals(root / "evals", jobs, Ledger(root / "ledger.sqlite"), Settings())
how = Inference(model="m", n=4, temperature=1.0, weighting="best", reward_model="r")
tell = lambda status: print(status.method, status.name, status.state, flush=True)
evals.best_of_n(root / "m", "ways", how, root / "r", on_progress=tell)
"""


@pytest.mark.parametrize("at", ["sample ways", "reward ways"])
def test_a_host_that_was_killed_finds_both_jobs_again(tmp_path: Path, at: str) -> None:
    writer(tmp_path / "m", {"x": [(0.5, "a", "1"), (0.5, "b", "2")]}, LETTERS)
    judge(tmp_path / "r", {"a": -3.0, "b": 3.0}, LETTERS)
    jobs = Jobs(tmp_path / "evals" / "jobs", None, Settings(), lambda event: None)
    evals = Evals(tmp_path / "evals", jobs, Ledger(tmp_path / "ledger.sqlite"), Settings())
    rows = [{"prompt": f"{k}x", "answer": "2", "split": "dev"} for k in range(40)]
    evals.register(
        "ways", rows, ["exact_match", "numeric_match"], "numeric_match", asking={"max_new_tokens": 3}
    )
    command = [sys.executable, "-c", HOST, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True, text=True) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if at in line)
        os.killpg(process.pid, signal.SIGKILL)
    queries = evals.get("ways").queries_used
    how = Inference(model="m", n=4, temperature=1.0, weighting="best", reward_model="r")
    scores = evals.best_of_n(tmp_path / "m", "ways", how, tmp_path / "r")
    assert scores.value.value == pytest.approx(1 - 0.5**4, abs=0.1)
    assert [status.method for status in jobs.list()] == ["generate", "generate", "score"]
    assert (queries, evals.get("ways").queries_used) == (1, 2)


def test_a_trained_reward_model_is_read_as_it_was_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the pairs that the training set apart, score.py finds the accuracy and the margin of TRL itself."""
    jobs = Jobs(tmp_path / "jobs", None, Settings(), lambda event: None)
    base = writer(tmp_path / "m", {"x": [(1.0, "a", "1")]}, LETTERS)
    draw = random.Random(0)
    pairs = [
        {
            "prompt": f"{draw.randrange(1000)}=",
            "chosen": draw.choice("13579"),
            "rejected": draw.choice("13578"),
        }
        for _ in range(400)
    ]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    trainer = {"max_steps": 25, "learning_rate": 1e-2, "per_device_train_batch_size": 32, "bf16": False}
    config = {"model": str(base), "data": str(file), "validation": 0.3, "trainer": trainer, "seed": 7}
    [status] = jobs.wait([jobs.submit(JobSpec(name="judge", method="reward", config=config)).id], 200)
    assert status.state == "succeeded", status.failure
    made = jobs.model_path(status.id)
    assert json.loads((made / "config.json").read_text())["reward_input"] == "text"
    told = json.loads((Path(status.output) / "result.json").read_text())["held_out"]

    monkeypatch.syspath_prepend(RECIPES)
    _, apart = importlib.import_module("_finetuning").load_rows(
        config, 7, (("prompt", "chosen", "rejected"),)
    )
    answers = tmp_path / "answers" / "answers.jsonl"
    answers.parent.mkdir()
    rows = [{"prompt": r["prompt"], "completion": r[side]} for r in apart for side in ("chosen", "rejected")]
    answers.write_text("".join(json.dumps(row) + "\n" for row in rows))
    watch = Watch(lambda: False, lambda status: None)
    rewards, cut = ask_rewards(jobs, "reward", "key", made, answers, len(rows), watch)
    margins = [a - b for a, b in zip(rewards[::2], rewards[1::2], strict=True)]
    assert cut == 0
    assert sum(m > 0 for m in margins) / len(margins) == pytest.approx(told["accuracy"]["end"], abs=1e-4)
    assert sum(margins) / len(margins) == pytest.approx(told["margin"]["end"], abs=1e-3)


def test_walls_and_private_files_do_not_stop_it(tmp_path: Path) -> None:
    if problem := LocalSandbox.problem():
        pytest.skip(problem)
    state = tmp_path / "state"
    # As trainings leave them: weights that only their owner reads, where sandboxes do not see them.
    writer(state / "jobs" / "m", {"x": [(0.5, "a", "1"), (0.5, "b", "2")]}, LETTERS)
    judge(state / "jobs" / "r", {"a": -3.0, "b": 3.0}, LETTERS)
    for folder in ("m", "r"):
        (state / "jobs" / folder / "model.safetensors").chmod(0o600)
    settings, sandbox = Settings(state=state), LocalSandbox()
    try:
        jobs = Jobs(state / "evals" / "jobs", sandbox, settings, lambda event: None)
        ledger = Ledger(state / "ledger.sqlite")
        evals = Evals(state / "evals", jobs, ledger, settings, sandbox)
        rows = [{"prompt": f"{k}x", "answer": "2", "split": "dev"} for k in range(40)]
        kinds = ["numeric_match", "reward"]
        where = str(state / "jobs" / "r")
        evals.register("ways", rows, kinds, asking={"max_new_tokens": 3}, reward_model=where)
        how = Inference(model="m", n=4, temperature=1.0, weighting="weighted", reward_model="r")
        scores = evals.best_of_n(state / "jobs" / "m", "ways", how, state / "jobs" / "r")
    finally:
        sandbox.stop()
    assert scores.value.value == pytest.approx(1 - 0.5**4, abs=0.1)
    [greedy] = [s for s in ledger.scores(eval="ways") if s.inference is None]
    assert greedy.metrics["reward"].n == 40 and greedy.reward_model == scores.reward_model
    assert [status.method for status in jobs.list()] == ["generate", "score", "generate", "score"]
    left = [p.name for p in (state / "evals" / "inputs").rglob("*")]
    assert "answers.jsonl" in left and not {"model", "reward_model"} & set(left)
