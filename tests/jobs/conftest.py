from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from ml_intern.events import Event
from ml_intern.jobs.local import Jobs
from ml_intern.jobs.model import JobSpec, JobStatus
from ml_intern.settings import Settings

MakeJobs = Callable[..., Jobs]
RunScript = Callable[..., JobStatus]


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def make_jobs(tmp_path: Path, events: list[Event]) -> MakeJobs:
    """`make_jobs()` opens the same folder of jobs each time, as another process would."""

    def make(slots: int = 2, sandbox: object = None) -> Jobs:
        settings = Settings(state=tmp_path / "state", job_slots=slots)
        return Jobs(tmp_path / "state" / "session" / "jobs", sandbox, settings, events.append)  # type: ignore[arg-type]

    return make


@pytest.fixture
def jobs(make_jobs: MakeJobs) -> Jobs:
    return make_jobs()


@pytest.fixture
def script() -> Callable[..., JobSpec]:
    """A cheap job: a few lines of Python."""

    def make(code: str, name: str = "script", **more: object) -> JobSpec:
        return JobSpec(name=name, method="script", config={"code": textwrap.dedent(code)}, **more)  # type: ignore[arg-type]

    return make


@pytest.fixture
def run(jobs: Jobs, script: Callable[..., JobSpec]) -> RunScript:
    def go(code: str, **more: object) -> JobStatus:
        return jobs.wait([jobs.submit(script(code, **more)).id], 60)[0]

    return go
