"""The study of a sweep, without trainings: what is drawn, what is ended early, what a crash leaves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ml_intern.sweeps.space import read_space
from ml_intern.sweeps.study import Study

SPACE = read_space({"x": {"low": 0.0, "high": 1.0}, "kind": [{"a": 1}, None], "n": {"low": 1, "high": 9}})


def study(folder: Path, sampler="random", steps=None, trials=8, up=False):
    return Study(folder / "study.jsonl", SPACE, up, sampler, 0, steps, trials)


def test_there_are_as_many_trials_as_asked_each_within_the_space(tmp_path):
    found = study(tmp_path)
    drawn = []
    while (trial := found.ask()) is not None:
        drawn.append(found.params(trial))
    assert len(drawn) == 8 and len({p["x"] for p in drawn}) == 8
    assert all(0 <= p["x"] <= 1 and p["kind"] in ({"a": 1}, None) and 1 <= p["n"] <= 9 for p in drawn)


def test_a_random_search_draws_the_same_in_whatever_order_trials_end(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = study(tmp_path / "a"), study(tmp_path / "b")
    first = []
    for _ in range(4):
        trial = one.ask()
        first.append(one.params(trial))
        one.tell(trial, "complete", 1.0)
    trials = [other.ask() for _ in range(2)]
    second = [other.params(t) for t in trials]
    other = study(tmp_path / "b")  # as after a crash
    second += [other.params(other.ask()) for _ in range(2)]
    assert first == second


@pytest.mark.parametrize("up", [True, False])
def test_tpe_comes_closer_to_the_best_than_it_began(tmp_path, up):
    found = study(tmp_path, "tpe", trials=30, up=up)
    seen = []
    while (trial := found.ask()) is not None:
        seen.append((found.params(trial)["x"] - 0.7) ** 2)
        found.tell(trial, "complete", -seen[-1] if up else seen[-1])
    assert sorted(seen[-10:])[5] < sorted(seen[:10])[5]


def test_of_poor_trials_few_reach_the_end(tmp_path):
    found = study(tmp_path, steps=90, trials=18)
    ends = []
    for number in range(18):
        trial = found.ask()
        step = next((s for s in range(10, 91, 10) if found.report(trial, float(number), s)), None)
        found.tell(trial, "pruned" if step else "complete", None if step else float(number))
        ends.append(step or 90)
    assert ends[0] == 90 and ends[-6:] == [10] * 6
    assert sum(ends) < 0.5 * 18 * 90
    assert [t["state"] for t in found.table()].count("pruned") >= 12


CHILD = """
import os, sys
from pathlib import Path
from ml_intern.sweeps.space import read_space
from ml_intern.sweeps.study import Study
study = Study(Path(sys.argv[1]), read_space({"x": {"low": 0.0, "high": 1.0}}), False, "tpe", 0, 90, 5)
done, left = study.ask(), study.ask()
study.tell(done, "complete", 1.0)
study.report(left, 2.0, 10)
study.note(left, job="j-2")
os.kill(os.getpid(), 9)
"""


def test_killed_with_9_it_knows_what_ended_and_what_was_under_way(tmp_path):
    file = tmp_path / "study.jsonl"
    subprocess.run([sys.executable, "-c", CHILD, str(file)], check=False)
    with file.open("ab") as torn:
        torn.write(b'{"op_code": 4, "wor')  # A kill may also cut a line.
    found = Study(file, read_space({"x": {"low": 0.0, "high": 1.0}}), False, "tpe", 0, 90, 5)
    [left] = found.unfinished()
    assert [t["state"] for t in found.table()] == ["complete", "running"] and found.table()[1]["job"] == "j-2"
    assert found.params(left)["x"] == found.table()[1]["params"]["x"]
    found.tell(left, "complete", 0.5)
    assert [found.ask().number for _ in range(3)] == [2, 3, 4] and found.ask() is None
