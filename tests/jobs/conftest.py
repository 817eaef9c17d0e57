from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from ml_intern.events import Event
from ml_intern.jobs.local import Jobs
from ml_intern.jobs.model import JobSpec, JobStatus, Place
from ml_intern.settings import Settings

TINY = {"model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 300}  # fmt: skip

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


@pytest.fixture
def pretraining(tmp_path: Path) -> Callable[..., JobSpec]:
    """A real training of a few seconds, for a place."""
    data = tmp_path / "texts.jsonl"
    data.write_text("".join(json.dumps({"text": f"x_{n} = {n} + {n * n}"}) + "\n" for n in range(300)))

    def make(place: Place, **trainer: object) -> JobSpec:
        asked = {
            "model": {"config": TINY},
            "data": str(data),
            "seed": 0,
            "trainer": {"learning_rate": 1e-2, "use_cpu": True, **trainer},
        }
        return JobSpec(
            name="tiny", method="pretrain", config=asked, inputs=[data], place=place, timeout_s=300
        )

    return make
