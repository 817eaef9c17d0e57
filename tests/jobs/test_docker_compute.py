"""Docker as a place for jobs, while the session's own cells are somewhere else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.docker_engine import ensure_engine, sandbox_image

from ml_intern.errors import ToolError
from ml_intern.jobs.local import Jobs
from ml_intern.jobs.model import Place
from ml_intern.sandbox.engine import Engine
from ml_intern.settings import Settings

IN_DOCKER = Place(compute="docker")


def make(tmp_path: Path, image: str) -> Jobs:
    settings = Settings(state=tmp_path / "state", docker_image=image, job_slots=2)
    return Jobs(tmp_path / "state" / "session" / "jobs", None, settings, lambda event: None)


def test_a_job_runs_in_a_container_and_another_beside_it_does_not(tmp_path, script):
    ensure_engine()
    jobs = make(tmp_path, sandbox_image())
    code = """
    import os, pathlib, socket
    print(socket.gethostname() == "sandbox", os.environ.get("HF_TOKEN"))
    pathlib.Path("made").write_text("x")
    """
    inside = jobs.submit(script(code, place=IN_DOCKER)).id
    outside = jobs.submit(script(code)).id
    first, second = jobs.wait([inside, outside], 60)
    assert (first.state, first.compute) == ("succeeded", "docker"), jobs.logs(inside).text
    assert (second.state, second.compute) == ("succeeded", "local")
    assert (jobs.logs(inside).text, jobs.logs(outside).text) == ("True None\n", "False None\n")
    assert (Path(first.output) / "made").read_text() == "x"


def test_cancelling_removes_the_container(tmp_path, script):
    ensure_engine()
    engine = Engine.find()
    jobs = make(tmp_path, sandbox_image())
    job = jobs.submit(script("import time; print('up', flush=True); time.sleep(600)", place=IN_DOCKER)).id
    jobs.wait([job], 60, cancelled=lambda: jobs.logs(job).text == "up\n")
    assert (jobs.logs(job).text, jobs.cancel(job).state) == ("up\n", "cancelled")
    name = next(
        w for w in json.loads((jobs.folder_of(job) / "launch.json").read_text())["end"] if "ml-intern-" in w
    )
    assert name not in engine.ask("ps", "--all", "--format", "{{.Names}}").stdout


def test_an_image_that_is_not_there_is_told_before_anything_starts(tmp_path, script):
    ensure_engine()
    jobs = make(tmp_path, "no-such-image")
    with pytest.raises(ToolError, match="No job can run in Docker") as raised:
        jobs.submit(script("", place=IN_DOCKER))
    assert "\n" not in raised.value.message and jobs.list() == []


def test_without_docker_it_says_so_in_one_line(tmp_path, script, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="The docker client is not installed"):
        make(tmp_path, "any").submit(script("", place=IN_DOCKER))
