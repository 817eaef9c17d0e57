"""Somebody sets the machine's clock in mid-run: budgets, waits, orders and what a job costs stay as they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from provider import Handler, Provider, good, status
from scripted_run import Run

from ml_intern.events import Event
from ml_intern.hub.server import ServerThread
from ml_intern.jobs.launch import launch_plan, make_folder
from ml_intern.jobs.local import Jobs
from ml_intern.jobs.model import JobSpec
from ml_intern.jobs.slots import Queue
from ml_intern.journal.journal import Journal
from ml_intern.router.budget import Budget, parse_budget
from ml_intern.router.metering import JobMeter
from ml_intern.settings import Settings

Start = Callable[..., Provider]
HOUR, DAY = 3600.0, 86_400.0
ROOT = Path(__file__).parents[2]

SUPERVISED = """
import itertools, sys, time
from pathlib import Path
real, calls = time.time, itertools.count()
time.time = lambda: real() + next(calls) * float(sys.argv[2])
from ml_intern.jobs.supervisor import main
main(Path(sys.argv[1]))
"""


class Clock:
    """The machine's clock as this process reads it."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self._real, self._real_ns = time.time, time.time_ns

    def time(self) -> float:
        return self._real() + self.ahead

    def time_ns(self) -> int:
        return self._real_ns() + int(self.ahead * 1e9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    one = Clock()
    monkeypatch.setattr(time, "time", one.time)
    monkeypatch.setattr(time, "time_ns", one.time_ns)
    return one


def set_to(clock: Clock, ahead: float) -> Callable[[Handler, dict[str, Any]], None]:
    def play(handler: Handler, body: dict[str, Any]) -> None:
        clock.ahead = ahead
        good(handler, body)

    return play


def times(run: Run) -> Iterator[list[float]]:
    yield [event.at for event in run.events if isinstance(event, Event)]
    [path] = run.settings["state"].glob("sessions/*/journal.sqlite")
    journal = Journal(path)
    yield [entry.at for entry in journal.entries()]
    journal.close()


@pytest.mark.parametrize(
    "jumps",
    [
        pytest.param((HOUR, 3 * HOUR, DAY), marks=pytest.mark.thorough),
        pytest.param((-HOUR, -DAY, -40 * DAY), marks=pytest.mark.thorough),
        (2 * DAY, -DAY, HOUR),
    ],
    ids=str,
)
def test_a_run_does_not_notice(provider: Start, run: Run, clock: Clock, jumps: tuple[float, ...]) -> None:
    waits = status(429, "slow down", Retry_After="0")
    began = time.monotonic()
    result = run.begin(provider([set_to(clock, jumps[0]), waits, *(set_to(clock, j) for j in jumps[1:])]))
    run.check(result)
    took = time.monotonic() - began
    assert 0 < (result.budget["seconds"]["spent"] or 0) <= took + 1
    for found in times(run):
        assert found == sorted(found) and found[-1] - found[0] <= took + 1
    assert all(0 <= getattr(event, "seconds", 0) <= took for event in run.events)


@pytest.mark.parametrize("ahead", [DAY, -DAY], ids=["a day later", "a day before it began"])
def test_a_resume_does_not_mind_the_day(provider: Start, run: Run, clock: Clock, ahead: float) -> None:
    server = provider([None, None], always=status(401))
    assert run.begin(server).exit_code == 5
    clock.ahead, server.always = ahead, None
    result = run.resume()
    run.check(result)
    assert 0 < (result.budget["seconds"]["spent"] or 0) < HOUR


@pytest.mark.parametrize("step", [HOUR, -DAY], ids=["forward", "back"])
def test_a_job_costs_the_time_that_it_ran(tmp_path: Path, step: float) -> None:
    settings = Settings.load(state=tmp_path / "state")
    jobs = Jobs(tmp_path / "jobs", None, settings, lambda event: None)
    spec = JobSpec(name="one", method="script", config={"code": "import time\ntime.sleep(0.2)", "gpus": 1})
    make_folder(jobs.folder / "one-1", spec)
    plan, _ = launch_plan(jobs.folder / "one-1", spec, None, settings)
    (jobs.folder / "one-1" / "launch.json").write_text(json.dumps(plan))
    words = [sys.executable, "-c", SUPERVISED, str(jobs.folder / "one-1"), str(step)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(words, env=env, cwd=tmp_path, check=True, timeout=60)
    done = jobs.status("one-1")
    assert done.state == "succeeded" and 0.2 <= done.ran_s < 60


def test_a_lost_job_costs_no_more_than_it_was_allowed(tmp_path: Path, clock: Clock) -> None:
    budget = Budget(parse_budget("10 gpu-hours"))
    jobs = Jobs(tmp_path / "jobs", None, Settings.load(state=tmp_path / "state"), lambda event: None)
    spec = JobSpec(name="one", method="script", config={"code": ""}, timeout_s=100)
    for name, ahead in {"back-1": -DAY, "forth-1": DAY}.items():
        make_folder(jobs.folder / name, spec)
        path = jobs.folder / name / "status.json"
        raw = json.loads(path.read_text()) | {"state": "running", "started": time.time(), "supervisor": 1}
        path.write_text(json.dumps(raw))
        clock.ahead += ahead
        assert 0 <= jobs.status(name).ran_s <= 100
    journal = Journal(tmp_path / "journal.sqlite")
    JobMeter(lambda: (jobs, jobs), budget, journal).settle()
    assert 0 <= budget.spent["gpu_hours"] <= 4 * 100 / HOUR
    journal.close()


def test_first_come_is_first_served(tmp_path: Path, clock: Clock) -> None:
    runs, first = Queue(tmp_path, 1), None
    assert runs.try_enter()
    first = Queue(tmp_path, 1)
    clock.ahead = -DAY
    second = Queue(tmp_path, 1)
    runs.leave()
    assert not second.try_enter() and first.try_enter()
    first.leave()
    assert second.try_enter()
    second.leave()


def test_an_upload_outlasts_the_jump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import HfApi

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    server = ServerThread(tmp_path / "hub")
    real, calls = time.time, iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: real() + next(calls) * 7 * HOUR)
    api = HfApi(endpoint=server.endpoint, token="local")
    api.create_repo("local/x")
    api.upload_file(path_or_fileobj=os.urandom(1 << 20), path_in_repo="a.bin", repo_id="local/x")
    assert "a.bin" in api.list_repo_files("local/x")
    monkeypatch.undo()
    server.stop()
