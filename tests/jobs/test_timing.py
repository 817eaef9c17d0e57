"""How long a job has run and has left, and that jobs which nobody waits for are told of all the same."""

from __future__ import annotations

import time

import pytest
from support.sweep_services import services_in

from ml_intern.context import ToolContext
from ml_intern.events import JobChanged
from ml_intern.jobs.model import JobSpec, JobStatus
from ml_intern.jobs.timing import seconds_left, timed
from ml_intern.tools.jobs import job_status, wait_for_job

ROWS = [{"step": 0, "time": 0.0}, {"step": 10, "time": 50.0}, {"step": 30, "time": 60.0}]


def test_the_time_left_is_of_the_pace_since_the_first_step():
    assert seconds_left(ROWS, 100, now=60.0) == pytest.approx(35.0)
    assert seconds_left(ROWS, 100, now=70.0) == pytest.approx(25.0)
    assert seconds_left(ROWS, 100, now=900.0) == 0.0


@pytest.mark.parametrize(
    ("rows", "total"), [([], 100), (ROWS[:2], 100), (ROWS, 0)], ids=["none", "one", "total"]
)
def test_what_cannot_be_known_is_not_guessed(rows, total):
    assert seconds_left(rows, total, now=60.0) is None


def test_only_a_job_that_runs_has_times_so_far():
    running = JobStatus(
        id="j-1", name="j", method="sft", state="running", started=40.0, step=30, total_steps=100
    )
    told = timed(running, 62.5, lambda: ROWS)
    assert told.seconds == 22.5 and told.seconds_left == pytest.approx(32.5)
    over = running.model_copy(update={"state": "succeeded", "ended": 55.0, "seconds": 14.0})
    assert timed(over, 62.5, lambda: ROWS) == over


CODE = """
import json, os, time
with open(os.environ["ML_INTERN_METRICS"], "a") as file:
    for step in (1, 60):
        row = {"step": step, "total_steps": 100, "loss": 1.0, "time": time.time()}
        file.write(json.dumps(row) + chr(10))
while not os.path.exists("go"):
    time.sleep(0.05)
"""


def test_a_job_that_nobody_waits_for_is_told_of_until_it_is_over(tmp_path):
    services, told = services_in(tmp_path), []
    ctx = ToolContext(services, "call-1", "call-1")
    services.jobs.emit = told.append
    job = services.jobs.submit(JobSpec(name="slow", method="script", config={"code": CODE})).id
    met = wait_for_job(ctx, job, 120, "step >= 60")
    assert met.met == "step is 60, >= 60" and met.seconds >= 0
    assert job_status(ctx, job).seconds is not None
    (services.jobs.folder_of(job) / "output" / "go").touch()
    deadline = time.monotonic() + 120
    while told[-1].state != "succeeded" and time.monotonic() < deadline:
        services.jobs.refresh()
        time.sleep(0.05)
    assert isinstance(told[-1], JobChanged) and told[-1].state == "succeeded"
    count = len(told)
    services.jobs.refresh()
    assert len(told) == count, "what is over is told once"
