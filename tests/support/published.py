"""A session that publishes a model with base models of its own, for what reads its card afterwards."""

from __future__ import annotations

import json
from pathlib import Path

from support.scripted_runs import cell, play

from ml_intern.result import RunResult

WAIT = """
def run(**told):
    job = launch_training(hardware="cpu", **told)
    [state] = wait_for_job([job.id], timeout=300)
    assert state.state == "succeeded", state.failure
    return job.id
"""

BASE = """
split = split_dataset(
    "lines.txt", fractions={"train": 0.7, "dev": 0.15, "test": 0.15}, seed=3, seal="held", name="lines",
    max_rows={"train": 200, "dev": 30, "test": 30},
)
short = filter_dataset(split.train, where="char_length(text) < 60", name="short")
base = run(
    method="pretrain", model="scratch:0.1M", dataset=short.id, name="base", seed=5,
    config={"max_steps": 12, "batch_size": 4, "learning_rate": 3e-3},
)
"""

TUNED = """
pairs = reformat_dataset("words.jsonl", target="prompt_completion", name="words")
row = start_experiment(hypothesis="It learns to count.", change="fine-tuned on words")
tuned = run(
    method="sft", model=base, dataset=pairs.id, name="tuned", experiment=row.id, seed=7,
    config={"max_steps": 8, "batch_size": 4, "learning_rate": 1e-3},
)
evaluate(tuned, "held", row.id)
"""

ALONE = (
    BASE.replace(
        "base = run(", 'row = start_experiment(hypothesis="It learns.", change="a first model")\nbase = run('
    ).replace('name="base",', 'name="base", experiment=row.id,')
    + 'evaluate(base, "held", row.id)\n'
)

PREFERRED = """
better = reformat_dataset("better.jsonl", target="preference", name="better")
row = start_experiment(hypothesis="It prefers.", change="preferences on top")
last = run(
    method="dpo", model=tuned, dataset=better.id, name="preferred", experiment=row.id, seed=9,
    config={"max_steps": 4, "batch_size": 4, "learning_rate": 1e-4},
)
evaluate(last, "held", row.id)
"""

FROM_HUB = """
pairs = reformat_dataset("words.jsonl", target="prompt_completion", name="words")
row = start_experiment(hypothesis="It goes on.", change="a published model, fine-tuned")
last = run(
    method="sft", model="local/counter", dataset=pairs.id, name="further", experiment=row.id, seed=4,
    config={"max_steps": 3, "batch_size": 4, "learning_rate": 1e-3},
)
"""

PUBLISH = """
done = publish_model(row.id, repo=REPO)
final_answer(done.repo)
"""


def write_sources(folder: Path) -> None:
    """Small sources: lines of text, words with their counts, pairs of answers."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"line {n} tells of {n * n % 97} apples and {'pears ' * (n % 7)}to eat" for n in range(400)]
    (folder / "lines.txt").write_text("\n".join(lines), encoding="utf-8")
    words = [{"prompt": f"{'la ' * (n % 9 + 1)}=", "completion": f" {n % 9 + 1}", "n": n} for n in range(60)]
    (folder / "words.jsonl").write_text("".join(json.dumps(w) + "\n" for w in words), encoding="utf-8")
    pairs = [{"prompt": f"{n} is", "chosen": " a number", "rejected": f" {n}"} for n in range(60)]
    (folder / "better.jsonl").write_text("".join(json.dumps(p) + "\n" for p in pairs), encoding="utf-8")


def publish(state: Path, *parts: str, repo: str = "counter") -> RunResult:
    """Run the parts as cells, from the folder with the sources, and publish; the session's result."""
    replies = [cell(code) for code in (WAIT, *parts, PUBLISH.replace("REPO", repr(repo)))]
    return play(replies, state, prompt="make a counter").result
