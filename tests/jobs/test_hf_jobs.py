"""HF Jobs as a place for jobs: the unmodified client against the embedded Hub, which runs them here."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ml_intern.errors import ToolError
from ml_intern.hub.client import Hub
from ml_intern.jobs.local import Jobs
from ml_intern.jobs.model import JobSpec, Place
from ml_intern.journal.journal import Journal
from ml_intern.prices import Price
from ml_intern.router.budget import Budget
from ml_intern.router.metering import JobMeter
from ml_intern.settings import Settings

WAIT_S = 60
RENTED = Place(compute="hf-jobs", flavor="t4-small", namespace="local", gpus=1, usd_per_hour=0.4)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    with socket.create_server(("127.0.0.1", 0)) as found:  # a server that comes back has its port again
        port = found.getsockname()[1]
    return Settings(state=tmp_path / "state", hub="embedded", hub_port=port, job_memory_mb=1024)


@pytest.fixture
def hub(settings: Settings) -> Iterator[Hub]:
    found = Hub(settings, settings.state, {})
    yield found
    found.close()


@pytest.fixture
def jobs(settings: Settings, hub: Hub, events: list) -> Jobs:
    return Jobs(settings.state / "session" / "jobs", None, settings, events.append, hub)


@pytest.fixture
def rented(script: Callable[..., JobSpec]) -> Callable[..., JobSpec]:
    return lambda code, **more: script(code, **{"place": RENTED, "timeout_s": 120, **more})


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.05)


def test_a_script_gets_its_inputs_and_its_result_comes_back(jobs, rented, hub, tmp_path):
    data = tmp_path / "words.txt"
    data.write_text("eins zwei")
    code = f"""
    import glob, json, os, socket
    print("read", open({str(data)!r}).read())
    print("token", os.environ.get("HF_TOKEN"))
    for file in glob.glob("/proc/[0-9]*/environ"):
        try:
            assert b"HF_TOKEN" not in open(file, "rb").read(), file
        except OSError:
            pass
    try:
        socket.socket()
        print("a socket")
    except PermissionError:
        print("no network")
    os.makedirs("model")
    open("model/config.json", "w").write("{{}}")
    os.symlink("/proc/self/environ", "stolen")
    with open(os.environ["ML_INTERN_METRICS"], "a") as file:
        for step in (1, 2):
            file.write(json.dumps({{"step": step, "loss": 4.0 - step}}) + "\\n")
    """
    job = jobs.submit(rented(code, inputs=[data])).id
    [status] = jobs.wait([job], WAIT_S)
    text = jobs.logs(job).text
    assert (status.state, status.compute) == ("succeeded", "hf-jobs:t4-small"), text
    assert text == "read eins zwei\ntoken None\nno network\n"
    assert jobs.model_path(job) == Path(status.output) / "model"
    assert not (Path(status.output) / "stolen").exists()
    assert [row["loss"] for row in jobs.metrics(job)] == [3.0, 2.0]
    assert 0 < status.seconds < WAIT_S
    assert hub.api.repo_info("local/ml-intern-jobs", repo_type="dataset").private


def test_the_network_is_open_only_where_it_was_asked_for(jobs, rented):
    job = jobs.submit(rented("import socket; socket.socket(); print('a socket')", network=True)).id
    assert jobs.wait([job], WAIT_S)[0].state == "succeeded"
    assert jobs.logs(job).text == "a socket\n"


def test_log_and_metrics_are_read_while_it_runs_and_cancel_ends_it(jobs, rented):
    code = """
    import json, os, time
    print("first", flush=True)
    open(os.environ["ML_INTERN_METRICS"], "a").write(json.dumps({"step": 1, "loss": 1.0}) + "\\n")
    time.sleep(600)
    """
    job = jobs.submit(rented(code)).id
    [status] = jobs.wait([job], WAIT_S, until="loss < 1.5")
    assert (status.state, status.metrics) == ("running", {"loss": 1.0})
    until(lambda: jobs.logs(job).text == "first\n", "the first line")
    page = jobs.logs(job, 6)
    assert (page.text, page.next_offset, page.done) == ("", 6, False)
    assert jobs.cancel(job).state == "cancelled"


def test_a_failure_brings_its_class_and_line_and_a_timeout_its_limit(jobs, rented):
    wrong, slow = (
        jobs.submit(rented("print('so far')\nraise ValueError('1500 rows')")).id,
        jobs.submit(rented("import time; open('half', 'w').write('x'); time.sleep(600)", timeout_s=10)).id,
    )
    failed, late = jobs.wait([wrong, slow], WAIT_S)
    assert (failed.state, failed.failure.kind) == ("failed", "code_error")
    assert failed.failure.message == "ValueError: 1500 rows"
    assert "raise ValueError('1500 rows')" in failed.failure.line
    assert "so far" in failed.failure.last_lines
    assert (late.state, late.failure.kind) == ("failed", "timeout")
    assert (Path(late.output) / "half").exists(), "what there was has come back"


AGENT = """
import sys, time
from pathlib import Path
from ml_intern.hub.client import Hub
from ml_intern.jobs.local import Jobs
from ml_intern.jobs.model import JobSpec, Place
from ml_intern.journal.journal import Journal
from ml_intern.router.metering import JobMeter
from ml_intern.settings import Settings
from ml_intern.tooling import Price
state = Path(sys.argv[1])
settings = Settings(state=state, hub="embedded", hub_port=int(sys.argv[2]), job_memory_mb=1024)
jobs = Jobs(state / "session" / "jobs", None, settings, lambda event: None, Hub(settings, state, {}))
code = "import time\\nprint('up', flush=True)\\ntime.sleep(2)\\nprint('finished')"
place = Place(compute="hf-jobs", flavor="cpu-basic", namespace="local")
print(jobs.submit(JobSpec(name="long", method="script", config={"code": code}, key="k", place=place)).id, flush=True)
while not jobs.logs("long-1").text: time.sleep(0.05)
print("seen", flush=True)
time.sleep(600)
"""


@pytest.mark.thorough
def test_a_job_outlives_the_agent_and_no_line_comes_twice(jobs, tmp_path):
    agent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(AGENT), str(tmp_path / "state"), str(jobs.settings.hub_port)],
        stdout=subprocess.PIPE,
        text=True,
    )
    job = agent.stdout.readline().strip()
    assert agent.stdout.readline() == "seen\n"
    agent.kill()
    agent.wait()
    [status] = jobs.wait([job], WAIT_S)
    assert status.state == "succeeded"
    assert jobs.logs(job).text == "up\nfinished\n"


def test_a_crash_between_order_and_note_orders_nothing_twice(jobs, rented, hub):
    spec = rented("import time; time.sleep(600)", key="once")
    job = jobs.submit(spec).id
    note = jobs.folder_of(job) / "remote.json"
    first = json.loads(note.read_text())
    note.write_text(json.dumps(first | {"id": None}))  # The host died right here.
    assert jobs.submit(spec).id == job
    assert json.loads(note.read_text())["id"] == first["id"]
    assert len(list(hub.api.list_jobs(namespace="local"))) == 1
    jobs.cancel(job)


def test_what_is_wrong_is_told_in_a_line_before_anything_starts(jobs, rented, hub, settings, tmp_path):
    def told(place: Place, **more: object) -> str:
        with pytest.raises(ToolError) as raised:
            jobs.submit(rented("", place=place, **more))
        assert "\n" not in raised.value.message
        return str(raised.value)

    assert "did you mean 't4-small'" in told(RENTED.model_copy(update={"flavor": "t4-smal"}))
    assert "may not run jobs as 'somebody'" in told(RENTED.model_copy(update={"namespace": "somebody"}))
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "notes.txt").write_text("token = hf_" + "aB3" * 12)
    assert "credential in notes.txt" in told(RENTED, inputs=[folder])
    assert jobs.list() == [] and list(hub.api.list_jobs(namespace="local")) == []
    remote = settings.model_copy(update={"hub": "remote"})
    nobody = Jobs(
        tmp_path / "other", None, remote, print, Hub(remote, tmp_path / "s", {"HF_HOME": str(tmp_path)})
    )
    with pytest.raises(ToolError, match="HF Jobs needs a token"):
        nobody.submit(rented(""))


@pytest.mark.thorough
def test_a_job_that_failed_goes_on_in_its_folder(jobs, rented):
    code = """
    import os, pathlib
    place = pathlib.Path(os.environ["ML_INTERN_METRICS"]).parent / "checkpoints" / "checkpoint-1"
    if place.exists():
        print("the second time")
    else:
        place.mkdir()
        (place / "state").write_text("7")
        raise RuntimeError("the first time")
    """
    job = jobs.submit(rented(code)).id
    assert jobs.wait([job], WAIT_S)[0].state == "failed"
    jobs.resume(job)
    assert jobs.wait([job], WAIT_S)[0].state == "succeeded", jobs.logs(job).text
    assert jobs.logs(job).text.count("the first time") == 2 and "the second time" in jobs.logs(job).text


def test_dollars_are_reserved_by_the_estimate_and_reconciled_by_the_time_that_it_ran(jobs, rented, tmp_path):
    budget, journal = Budget({"usd": 5.0}), Journal(tmp_path / "journal.sqlite")
    nothing = Jobs(tmp_path / "evals", None, jobs.settings, print)
    meter = JobMeter(lambda: (jobs, nothing), budget, journal)
    assert budget.reserve("call-1", Price(usd=2.0, gpu_hours=1.0, jobs=1)) == ""
    job = jobs.submit(rented("import time; time.sleep(1)", key="paid")).id
    meter.close("call-1", "paid", ok=True)
    assert budget.left()["usd"] == 3.0
    [status] = jobs.wait([job], WAIT_S)
    meter.settle()
    assert budget.reserved("usd") == 0.0
    assert budget.spent["usd"] == pytest.approx(RENTED.usd_per_hour * status.seconds / 3600)
    assert 1 / 3600 < budget.spent["gpu_hours"] < WAIT_S / 3600


@pytest.mark.slow
def test_a_training_comes_back_with_its_model_and_metrics(jobs, pretraining):
    job = jobs.submit(pretraining(RENTED, max_steps=6)).id
    [status] = jobs.wait([job], 120)
    assert status.state == "succeeded", jobs.logs(job).text
    assert (jobs.model_path(job) / "model.safetensors").exists()
    assert status.step == 6 and "loss" in status.metrics


def test_a_hub_that_is_gone_loses_no_job(jobs, rented, hub, settings, tmp_path):
    job = jobs.submit(rented("print('done')")).id
    other = Jobs(jobs.folder, None, settings, print)  # as the command line reads it: without a Hub
    assert other.status(job).state == "queued" and [s.id for s in other.list()] == [job]
    hub.close()
    assert jobs.wait([job], WAIT_S)[0].state == "succeeded", "the server came back when it was needed"
    with pytest.raises(ToolError, match="no HF Jobs here"):
        other.submit(rented(""))


@pytest.mark.thorough
def test_a_result_that_is_gone_is_told_as_lost(jobs, rented, hub):
    job = jobs.submit(rented("import time; print('up', flush=True); time.sleep(1)")).id
    until(lambda: jobs.logs(job).text == "up\n", "the job to run")
    hub.api.delete_repo("local/ml-intern-jobs", repo_type="dataset")
    [status] = jobs.wait([job], WAIT_S)
    assert (status.state, status.failure.kind) == ("failed", "lost")
    assert "could not be brought back" in status.failure.message


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"stop_when": "loss plateau"}, "nobody looks at stop_when"),
        ({"method": "grpo", "config": {"processes": 2}}, "closed on HF Jobs to code that a model wrote"),
    ],
    ids=["stop_when", "processes"],
)
def test_what_cannot_be_had_on_a_rented_machine_is_told_before_it_is_ordered(jobs, rented, change, told):
    with pytest.raises(ToolError, match=told):
        jobs.submit(rented("").model_copy(update=change))
    assert jobs.list() == []
