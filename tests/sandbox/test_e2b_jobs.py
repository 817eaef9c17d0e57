"""Jobs in E2B sandboxes of their own, through the real supervisor."""

from __future__ import annotations

import os
import signal
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.e2b_server import KEY, E2BServer

from ml_intern.jobs.local import Jobs
from ml_intern.jobs.model import JobSpec
from ml_intern.sandbox import e2b_job
from ml_intern.sandbox.base import Limits, Mounts
from ml_intern.sandbox.e2b import E2BSandbox
from ml_intern.settings import Settings

pytestmark = pytest.mark.skipif(bool(E2BServer.problem()), reason=E2BServer.problem())


@pytest.fixture
def server() -> Iterator[E2BServer]:
    with E2BServer() as made:
        yield made


@pytest.fixture
def sandbox(server: E2BServer) -> Iterator[E2BSandbox]:
    made = E2BSandbox(server.env)
    yield made
    made.stop()


@pytest.fixture
def jobs(sandbox: E2BSandbox, tmp_path: Path) -> Jobs:
    settings = Settings(state=tmp_path / "state", job_slots=2)
    return Jobs(tmp_path / "state" / "session" / "jobs", sandbox, settings, lambda event: None)


def script(code: str, **more: object) -> JobSpec:
    return JobSpec(name="s", method="script", config={"code": textwrap.dedent(code)}, **more)  # type: ignore[arg-type]


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)


def test_a_job_runs_to_its_end(jobs: Jobs, server: E2BServer, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.jsonl").write_text('{"a": "ä"}\n')
    code = f"""
        import json, os, pathlib
        rows = open({str(tmp_path / "data" / "rows.jsonl")!r}).read()
        print("größer", rows, os.getuid(), dict(os.environ))
        with open(os.environ["ML_INTERN_METRICS"], "a") as metrics:
            for step in range(3):
                metrics.write(json.dumps({{"step": step, "loss": 1.5}}) + "\\n")
        pathlib.Path("model").mkdir()
        pathlib.Path("model/weights.bin").write_bytes(bytes(300_000))
        pathlib.Path("../checkpoints/one").mkdir()
        pathlib.Path("../checkpoints/one/state").write_text("saved")
        os.symlink("/etc/passwd", "leak")
        try:
            open("../status.json", "w")
        except OSError as error:
            print("refused", error.errno)
    """
    done = jobs.wait([jobs.submit(script(code, inputs=[tmp_path / "data"])).id], 60)[0]
    folder = jobs.folder_of(done.id)
    log = (folder / "log.txt").read_text()
    assert done.state == "succeeded", log
    assert 'größer {"a": "ä"}' in log and "refused 13" in log and "1000" in log
    assert done.metrics == {"loss": 1.5} and len((folder / "metrics.jsonl").read_text().splitlines()) == 3
    assert (folder / "output" / "model" / "weights.bin").stat().st_size == 300_000
    assert (folder / "checkpoints" / "one" / "state").read_text() == "saved"
    assert not os.path.lexists(folder / "output" / "leak")
    (box,) = server.boxes.values()
    assert not box.alive and box.request["allow_internet_access"] is False
    assert KEY not in log
    assert not any(KEY.encode() in p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())


def test_metrics_and_checkpoints_come_while_it_runs(jobs: Jobs) -> None:
    code = """
        import os, pathlib, time
        pathlib.Path("../checkpoints/one").mkdir()
        pathlib.Path("../checkpoints/one/state").write_text("saved")
        open(os.environ["ML_INTERN_METRICS"], "a").write('{"step": 1, "loss": 2.0}\\n')
        print("waiting", flush=True)
        while not pathlib.Path("stop").exists(): time.sleep(0.05)
    """
    job = jobs.submit(script(code)).id
    folder = jobs.folder_of(job)
    until(lambda: (folder / "metrics.jsonl").read_text())
    until(lambda: (folder / "checkpoints" / "one" / "state").is_file())
    assert jobs.status(job).state == "running" and "waiting" in (folder / "log.txt").read_text()
    jobs.cancel(job)


def test_a_job_that_fails_tells_its_line(jobs: Jobs, server: E2BServer) -> None:
    done = jobs.wait([jobs.submit(script("print('first')\nraise ValueError('bad row')")).id], 60)[0]
    assert done.state == "failed" and done.exit_code == 1 and done.failure
    assert "bad row" in done.failure.message and "script.py:2" in (done.failure.line or "")
    assert not server.alive


def test_cancelling_ends_the_sandbox(jobs: Jobs, server: E2BServer) -> None:
    job = jobs.submit(script("import time\nprint('go', flush=True)\ntime.sleep(300)", network=True)).id
    until(lambda: "go" in (jobs.folder_of(job) / "log.txt").read_text())
    (box,) = server.alive
    assert box.request["allow_internet_access"] is True and box.request["metadata"]["ml-intern"] == "job"
    assert jobs.cancel(job).state == "cancelled"
    until(lambda: not server.alive)


def test_a_sandbox_whose_client_was_killed_ends_by_itself(
    server: E2BServer, sandbox: E2BSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import subprocess

    assert e2b_job.LIFE_S <= 600
    launch = sandbox.launch(["sleep", "300"], Mounts(tmp_path), Limits())
    client = subprocess.Popen(launch.argv, env={**os.environ, **launch.env})
    until(lambda: server.count("SendInput"))
    client.send_signal(signal.SIGKILL)
    client.wait()
    (box,) = server.alive
    assert box.ends - time.time() <= e2b_job.LIFE_S
    subprocess.run(launch.end, env={**os.environ, **launch.env}, check=True)
    assert not server.alive
    before = len(server.requests)
    subprocess.run(launch.end, env={**os.environ, **launch.env}, check=True)  # once more does nothing
    assert len(server.requests) == before


def test_a_launch_carries_its_key_in_its_environment_alone(sandbox: E2BSandbox, tmp_path: Path) -> None:
    launch = sandbox.launch(["true"], Mounts(tmp_path), Limits())
    assert launch.env["E2B_API_KEY"] == KEY
    assert not any(KEY in word for word in [*launch.argv, *launch.end])


def test_the_client_imports_nothing_from_where_a_job_writes(
    server: E2BServer, sandbox: E2BSandbox, tmp_path: Path
) -> None:
    import subprocess

    for name in ("json.py", "e2b.py", "sitecustomize.py", "usercustomize.py"):
        (tmp_path / name).write_text("print('taken over')\n")
    launch = sandbox.launch(["echo", "fine"], Mounts(tmp_path), Limits())
    done = subprocess.run(
        launch.argv,
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"], **launch.env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "fine\n", done.stderr


def test_a_job_whose_sandbox_ends_is_told(jobs: Jobs, server: E2BServer) -> None:
    job = jobs.submit(script("import time\nprint('go', flush=True)\ntime.sleep(300)")).id
    until(lambda: "go" in (jobs.folder_of(job) / "log.txt").read_text())
    server.alive[0].end()
    done = jobs.wait([job], 60)[0]
    assert (
        done.state == "failed" and "the E2B sandbox is gone" in (jobs.folder_of(job) / "log.txt").read_text()
    )
