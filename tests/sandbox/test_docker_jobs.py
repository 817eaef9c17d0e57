"""Jobs in containers, under the real supervisor."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.docker_engine import ensure_engine, packages, sandbox_image

from ml_intern.jobs.local import Jobs
from ml_intern.jobs.model import JobSpec, JobStatus
from ml_intern.sandbox.docker import DockerSandbox
from ml_intern.settings import Settings

TINY = {"model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 300}  # fmt: skip


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    ensure_engine()
    sandbox = DockerSandbox(sandbox_image())
    settings = Settings(state=tmp_path / "state", job_slots=2)
    yield Jobs(tmp_path / "state" / "session" / "jobs", sandbox, settings, lambda event: None)
    sandbox.stop()


def script(code: str, **more: Any) -> JobSpec:
    return JobSpec(name="script", method="script", config={"code": textwrap.dedent(code)}, **more)


def containers(status: JobStatus) -> list[str]:
    asked = ["docker", "ps", "--all", "--quiet", "--filter", f"volume={status.output}"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()


def until(holds: Callable[[], Any], what: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.05)


def test_a_script_reads_its_inputs_and_writes_its_output_and_nothing_else(jobs: Jobs, tmp_path: Path) -> None:
    data = tmp_path / "data.txt"
    data.write_text("rows")
    code = f"""
    import os, socket
    print(open({str(data)!r}).read(), os.getcwd())
    open("made.txt", "w").write("x")
    for path in ({str(data)!r}, "../config.json", "../status.json", "../launch.json", "/etc/x"):
        try:
            open(path, "a")
            print("WRITES", path)
        except OSError:
            pass
    print("SEES" if os.path.exists("../status.json") else "state hidden")
    try:
        socket.create_connection(("1.1.1.1", 53), 3)
        print("NETWORK")
    except OSError as error:
        print("offline:", error.strerror)
    """
    [status] = jobs.wait([jobs.submit(script(code, inputs=[data])).id], 60)
    assert status.state == "succeeded", jobs.logs(status.id).text
    assert (Path(status.output) / "made.txt").read_text() == "x"
    told = f"rows {status.output}\nstate hidden\noffline: Network is unreachable\n"
    assert jobs.logs(status.id).text == told and containers(status) == []


def test_a_crash_tells_its_class_and_line(jobs: Jobs) -> None:
    code = "def work():\n    raise ValueError('1500 rows are wrong')\n\nprint('so far so good')\nwork()\n"
    [status] = jobs.wait([jobs.submit(script(code)).id], 60)
    assert status.state == "failed" and status.exit_code == 1 and status.failure
    assert status.failure.line == "script.py:2: raise ValueError('1500 rows are wrong')"
    assert jobs.logs(status.id).text.startswith("so far so good\nTraceback")


STUBBORN = """
import os, signal, subprocess, sys, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print("running")
time.sleep(600)
"""


def started(jobs: Jobs, **more: Any) -> JobStatus:
    job = jobs.submit(script(STUBBORN, **more)).id
    until(lambda: "running" in jobs.logs(job).text, "the job")
    return jobs.status(job)


def test_cancelling_ends_the_container(jobs: Jobs) -> None:
    status = started(jobs)
    assert len(containers(status)) == 1
    assert jobs.cancel(status.id).state == "cancelled" and containers(status) == []


@pytest.mark.thorough
def test_a_job_over_its_time_leaves_no_container(jobs: Jobs) -> None:
    for seconds in (5, 40):  # too short a time to begin in, where the machine stalls
        [status] = jobs.wait([jobs.submit(script(STUBBORN, timeout_s=seconds)).id], 180)
        assert status.failure and status.failure.kind == "timeout" and containers(status) == []
        if begun := "running" in jobs.logs(status.id).text:
            break
    assert begun


def test_kill_9_of_the_supervisor_ends_the_container_though_nobody_looks(jobs: Jobs) -> None:
    status = started(jobs)
    card = json.loads((Path(status.output).parent / "status.json").read_text())
    os.kill(card["supervisor"], signal.SIGKILL)
    until(lambda: containers(status) == [], "the container's end")
    [status] = jobs.wait([status.id], 120)
    assert status.failure and status.failure.kind == "lost"
    again = jobs.resume(status.id)
    until(lambda: len(containers(again)) == 1, "the job's return")
    assert jobs.cancel(status.id).state == "cancelled" and containers(status) == []


def test_too_much_memory_is_told_as_such(jobs: Jobs) -> None:
    jobs.settings.job_memory_mb = 128
    [status] = jobs.wait([jobs.submit(script("x = b'x' * (600 << 20)")).id], 60)
    assert status.state == "failed" and status.exit_code == 137 and status.failure
    assert status.failure.kind in ("out_of_memory", "killed")


@pytest.mark.slow
@pytest.mark.thorough
def test_a_recipe_trains_a_model(jobs: Jobs, tmp_path: Path) -> None:
    data = tmp_path / "texts.jsonl"
    data.write_text("".join(json.dumps({"text": f"x_{n} = {n} + {n * n}"}) + "\n" for n in range(300)))
    asked = {
        "model": {"config": TINY},
        "data": str(data),
        "trainer": {"learning_rate": 1e-2, "max_steps": 20},
    }
    spec = JobSpec(name="tiny", method="pretrain", config=asked, inputs=[data, *packages()])
    [status] = jobs.wait([jobs.submit(spec).id], 240)
    assert status.state == "succeeded", jobs.logs(status.id).text
    assert status.step == 20 and "loss" in status.metrics
    assert (jobs.model_path(status.id) / "model.safetensors").stat().st_size > 10_000
