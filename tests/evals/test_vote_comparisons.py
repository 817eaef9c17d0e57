"""What is said of votes holds: the comparisons against simulation, and memory that does not grow with answers."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from ml_intern.errors import ToolError
from ml_intern.evals import voting
from ml_intern.evals.drawing import read_samples
from ml_intern.evals.means import Means
from ml_intern.evals.model import EvalInfo, Item
from ml_intern.evals.scaling import compared
from ml_intern.evals.scorers import SCORERS
from ml_intern.evals.ways import metric_of
from ml_intern.ledger.model import ItemScores

TRIALS, ITEMS = 2_000, 120


def shares(marks: np.ndarray) -> ItemScores:
    return ItemScores(marks.astype(float), np.ones(len(marks)))


@pytest.mark.thorough
def test_where_nothing_differs_little_is_found() -> None:
    """All ways answer alike: in at most one trial of twenty any of the comparisons says otherwise."""
    rng = np.random.default_rng(0)
    false = 0
    for _ in range(TRIALS):
        hard = rng.beta(1, 1, ITEMS)
        names = ("greedy", "majority", "best", "weighted")
        found = compared({name: shares(rng.random(ITEMS) < hard) for name in names})
        assert len(found) == 5
        false += any(c.verdict != "inconclusive" for c in found)
    assert false / TRIALS < 0.05 + 0.02


def test_a_true_gain_is_found_where_there_are_items_enough() -> None:
    """With a known chance of each sample a vote of 16 is right where more than half are: 0.5 becomes 0.7."""
    rng = np.random.default_rng(1)
    hit = 0
    for _ in range(100):
        chance = rng.beta(2, 2, (300, 1))
        answers = np.where(rng.random((300, 16)) < chance, 0, rng.integers(1, 3, (300, 16)))
        right = (answers == 0).astype(float)
        at = voting.choose("majority", answers, None)
        greedy = (rng.random(300) < chance[:, 0]).astype(float)
        ways = {"greedy": shares(greedy), "majority": shares(right[np.arange(300), at])}
        [found] = compared(ways)
        hit += found.verdict == "better"
    assert hit > 90


def test_what_a_judge_alone_can_tell_is_not_voted_on() -> None:
    info = EvalInfo(name="essays", rows={}, scorers=["rubric"], primary="rubric", higher_is_better=True)
    with pytest.raises(ToolError, match="no answers to choose among: it scores rubric"):
        metric_of(info)
    more = info.model_copy(update={"scorers": ["rubric", "multiple_choice", "math_match"]})
    assert metric_of(more) == "math_match"


def write(folder: Path, items: int, n: int, text: str) -> tuple[Path, Path]:
    completions, prompts = folder / "completions.jsonl", folder / "prompts.jsonl"
    with completions.open("w") as out:
        for row in range(items):
            out.writelines(
                json.dumps({"row": row, "sample": k, "text": f"{text} {k % 3}", "finished": True}) + "\n"
                for k in range(n)
            )
    prompts.write_text("".join(json.dumps({"prompt": f"{row}"}) + "\n" for row in range(items)))
    return completions, prompts


@pytest.mark.thorough
def test_memory_does_not_grow_with_the_answers(tmp_path: Path) -> None:
    """10 MB of answers are read with a third of that, and go on to the reward model whole."""
    items = [Item(split="dev", input=str(k), target="1") for k in range(400)]
    files = write(tmp_path, 400, 16, "x" * 1_500)
    tracemalloc.start()
    try:
        found = read_samples(*files, items, 16, SCORERS["numeric_match"], Means(), tmp_path / "answers.jsonl")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3.5e6
    assert found.right.shape == (400, 16) and found.right.mean() == pytest.approx(5 / 16)
    assert found.outputs["mean_characters"] == 1_502
    with (tmp_path / "answers.jsonl").open() as lines:
        assert sum(len(json.loads(line)["completion"]) for line in lines) == 400 * 16 * 1_502


@pytest.mark.parametrize(
    "line",
    ['{"row": 0}', "[]", "7", "{", '{"row": 0, "sample": 1, "text": "a", "finished": true}', "[" * 100_000],
    ids=["too little", "list", "number", "broken", "another sample", "deep"],
)
def test_what_a_job_makes_up_is_refused(tmp_path: Path, line: str) -> None:
    completions, prompts = write(tmp_path, 2, 2, "x")
    lines = completions.read_text().splitlines()
    completions.write_text("\n".join([line, *lines[1:]]) + "\n")
    items = [Item(split="dev", input=str(k), target="1") for k in range(2)]
    by = SCORERS["numeric_match"]
    with pytest.raises(ToolError, match="other samples than were asked for"):
        read_samples(completions, prompts, items, 2, by, Means(), tmp_path / "answers.jsonl")
    completions.write_text("\n".join(lines[:2]) + "\n")
    with pytest.raises(ToolError, match="other samples"):
        read_samples(completions, prompts, items, 2, by, Means(), tmp_path / "answers.jsonl")
