"""A run is killed with -9 while sub-agents work, several at a time, and goes on where each of them was."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ml_intern.journal.journal import Entry
from ml_intern.router.recorded import Recorded

POINTS = int(os.environ.get("RESEARCH_POINTS", "5"))
"""Lines of the journal at which the run is killed, evenly spread; the variable asks for more."""
KILLS = int(os.environ.get("RESEARCH_KILLS", "3"))
"""Kills at any moment; the variable asks for more."""
MOST_STARTS = 40
CHILD = Path(__file__).parent / "research_child.py"
ROOT = Path(__file__).parents[2]


def start(state: Path, **env: str) -> subprocess.Popen[str]:
    state.mkdir(exist_ok=True)
    kept = {k: v for k, v in os.environ.items() if not k.startswith("ML_INTERN_")}
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests"), kept.get("PYTHONPATH", "")])
    command = [sys.executable, str(CHILD), str(state)]
    env = {**kept, "PYTHONPATH": paths, **env}
    return subprocess.Popen(command, env=env, cwd=state, stdout=-1, stderr=-1, text=True)


def told(process: subprocess.Popen[str]) -> dict[str, Any] | None:
    out, err = process.communicate(timeout=120)
    if process.returncode == -signal.SIGKILL:
        return None
    assert process.returncode == 0, err
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


def keys(state: Path) -> set[str]:
    """The keys of the sub-agents' calls, without the session's name."""
    return {line.partition(":")[2] for line in (state / "seen.txt").read_text().splitlines()}


def check(state: Path, found: dict[str, Any], whole: dict[str, Any]) -> None:
    for name in ("answer", "status", "steps", "tokens", "ended", "errors"):
        assert found[name] == whole[name], name
    assert found["spent"] == pytest.approx(whole["spent"])
    # An answer for each step of each, and none twice. Which number goes to which question is the threads' affair.
    assert len(set(found["said"])) == len(found["said"]) == len(whole["said"])
    assert keys(state) == whole["keys"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    state = tmp_path_factory.mktemp("whole")
    began = time.monotonic()
    found = told(start(state))
    assert found is not None
    took = time.monotonic() - began
    [journal] = state.glob("sessions/*/journal.sqlite")
    count = sqlite3.connect(journal).execute("select count(*) from journal").fetchone()[0]
    return {**found, "took": took, "lines": count, "keys": keys(state)}


def test_the_run_itself_is_as_meant(whole: dict[str, Any]) -> None:
    first = "ANN BOB ANNab"
    assert whole["answer"] == f"{first}|4|{first}|4|4|c" and whole["status"] == "done"
    assert len(whole["ended"]) == 6 and len(whole["said"]) == 3 + 6 * 3


@pytest.mark.parametrize(
    "line",
    [
        ("research", {"name": "n"}),
        ("research", {"name": 1, "source": "research:1"}),
        ("research_done", {"name": "other", "finding": {}}),
        ("research_done", {"name": "known", "finding": {"research": "research:1", "answer": 3}}),
        ("brain", {"source": "research:7", "step": 1, "text": "x"}),
        ("cell", {"source": "research:1", "step": "one", "code": "x"}),
    ],
    ids=lambda line: f"{line[0]} {' '.join(map(str, line[1]))}",
)
def test_lines_that_make_no_sense_are_told(line: tuple[str, dict[str, Any]]) -> None:
    begun = Entry(1, 0.0, "research", {"name": "known", "source": "research:1"})
    assert Recorded.of([begun]).research["known"].finding is None
    with pytest.raises(ValueError, match="line 2 makes no sense"):
        Recorded.of([begun, Entry(2, 0.0, *line)])


@pytest.mark.slow
@pytest.mark.parametrize(
    "index", [pytest.param(n, marks=[] if n in (1, 2) else pytest.mark.thorough) for n in range(POINTS)]
)
def test_killed_at_a_line(whole: dict[str, Any], tmp_path: Path, index: int) -> None:
    point = 2 + index * (whole["lines"] - 3) // max(1, POINTS - 1)
    when = ("before", "after")[index % 2]
    assert told(start(tmp_path / "state", KILL_AT=f"{point}:{when}")) is None
    found = told(start(tmp_path / "state"))
    assert found is not None
    check(tmp_path / "state", found, whole)


@pytest.mark.slow
@pytest.mark.thorough
def test_killed_at_any_moment(whole: dict[str, Any], tmp_path: Path) -> None:
    chance, kills, run = random.Random(KILLS), 0, 0
    while kills < KILLS:
        run += 1
        state, found = tmp_path / str(run), None
        for _ in range(MOST_STARTS):
            process = start(state)
            try:
                process.wait(chance.uniform(0.4, 1.0) * whole["took"] if kills < KILLS else 120)
            except subprocess.TimeoutExpired:
                process.kill()
            found = told(process)
            if found is not None:
                break
            kills += 1
        assert found is not None
        check(state, found, whole)
