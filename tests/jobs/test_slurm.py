"""Jobs on a real Slurm cluster of one node, started for these tests."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import slurm_cluster

from ml_intern.errors import ToolError
from ml_intern.jobs.local import Jobs
from ml_intern.jobs.model import JobSpec, Place
from ml_intern.settings import Settings

WAIT_S = 60
ON_CLUSTER = Place(compute="slurm", partition="main")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[slurm_cluster.Cluster]:
    if problem := slurm_cluster.why_not():
        pytest.skip(problem)
    running = slurm_cluster.Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture
def jobs(
    cluster: slurm_cluster.Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: list
) -> Jobs:
    monkeypatch.setenv("SLURM_CONF", str(cluster.configuration))
    settings = Settings(state=tmp_path / "state", job_memory_mb=2048)
    return Jobs(tmp_path / "state" / "session" / "jobs", None, settings, events.append)


@pytest.fixture
def on_cluster(script: Callable[..., JobSpec]) -> Callable[..., JobSpec]:
    return lambda code, **more: script(code, **{"place": ON_CLUSTER, **more})


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.05)


def slurm_id(jobs: Jobs, job: str) -> str:
    return json.loads((jobs.folder_of(job) / "slurm.json").read_text())["id"]


def test_a_job_runs_on_the_node_behind_walls_without_credentials(jobs, on_cluster, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijklmnopqrstuvwxyz")
    code = """
    import glob, os
    print("here", os.environ.get("HF_TOKEN"), os.getcwd().endswith("output"))
    for file in glob.glob("/proc/[0-9]*/environ"):
        try:
            assert b"hf_abcdef" not in open(file, "rb").read(), file
        except OSError:
            pass
    open("made.txt", "w").write("x")
    open(os.environ["ML_INTERN_METRICS"], "a").write('{"step": 1, "loss": 2.0}\\n')
    """
    job = jobs.submit(on_cluster(code)).id
    [status] = jobs.wait([job], WAIT_S)
    log = jobs.logs(job)
    assert (status.state, status.compute) == ("succeeded", "slurm:main"), log.text
    assert log.text == "here None True\n" and log.done
    assert (Path(status.output) / "made.txt").read_text() == "x"
    assert status.metrics == {"loss": 2.0}
    assert 0 < status.seconds < WAIT_S


def test_a_job_that_fails_says_so_with_its_line(jobs, on_cluster):
    job = jobs.submit(on_cluster("print('so far')\nraise ValueError('1500 rows')")).id
    [status] = jobs.wait([job], WAIT_S)
    assert (status.state, status.failure.kind) == ("failed", "code_error")
    assert status.failure.line == "script.py:2: raise ValueError('1500 rows')"
    until(lambda: jobs.status(job) == status, "nothing to change")


@pytest.mark.thorough
def test_an_array_of_four_is_one_submission(jobs, on_cluster, cluster):
    specs = [on_cluster(f"print({n})", key=f"trial-{n}") for n in range(4)]
    ids = [status.id for status in jobs.submit_all(specs)]
    assert len({slurm_id(jobs, job).partition("_")[0] for job in ids}) == 1
    assert [status.state for status in jobs.wait(ids, WAIT_S)] == ["succeeded"] * 4
    assert [jobs.logs(job).text for job in ids] == ["0\n", "1\n", "2\n", "3\n"]
    assert [status.id for status in jobs.submit_all(specs)] == ids


def test_cancelling_ends_what_runs_and_what_waits(jobs, on_cluster, cluster):
    code = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(777)']); print('up', flush=True); time.sleep(777)"
    running = jobs.submit(on_cluster(code)).id
    # Four cores: the second waits for the first.
    waiting = jobs.submit(on_cluster("print('ran')", threads=4)).id
    until(lambda: jobs.logs(running).text == "up\n", "the job to run")
    assert jobs.status(waiting).state == "queued"
    assert jobs.cancel(waiting).state == "cancelled"
    assert jobs.cancel(running).state == "cancelled"
    until(lambda: not cluster.ask("squeue", "-h"), "an empty queue")
    assert jobs.logs(waiting).text == ""
    assert not [p for p in Path("/proc").glob("[0-9]*/cmdline") if b"time.sleep(777)" in _read(p)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.thorough
def test_after_a_node_failure_the_job_goes_on_from_its_checkpoint(jobs, on_cluster, cluster):
    code = """
    import pathlib, time
    saved = pathlib.Path("checkpoint")
    step = int(saved.read_text()) if saved.exists() else 0
    print("from", step, flush=True)
    if step == 0:
        saved.write_text("7")
        time.sleep(600)
    """
    job = jobs.submit(on_cluster(code)).id
    until(lambda: (jobs.folder_of(job) / "output" / "checkpoint").exists(), "the checkpoint")
    cluster.lose_node()
    until(lambda: jobs.status(job).state == "queued", "the job to be put back")
    cluster.start_node()
    cluster.go_on_now(slurm_id(jobs, job))
    [status] = jobs.wait([job], WAIT_S)
    text = jobs.logs(job).text
    assert status.state == "succeeded", text
    assert text.startswith("from 0\n") and text.endswith("from 7\n") and "Start 2" in text


AGENT = """
import sys, time
from pathlib import Path
from ml_intern.jobs.local import Jobs
from ml_intern.jobs.model import JobSpec, Place
from ml_intern.settings import Settings
state = Path(sys.argv[1])
settings = Settings(state=state, job_memory_mb=2048)
jobs = Jobs(state / "session" / "jobs", None, settings, lambda event: None)
code = "import time, pathlib\\nwhile not pathlib.Path('go').exists(): time.sleep(0.02)\\nprint('finished')"
spec = JobSpec(name="long", method="script", config={"code": code}, key="k", place=Place(compute="slurm"))
print(jobs.submit(spec).id, flush=True)
time.sleep(600)
"""


def test_a_job_is_found_again_by_a_new_process_after_the_agents_death(jobs, tmp_path, cluster):
    agent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(AGENT), str(tmp_path / "state")],
        stdout=subprocess.PIPE,
        text=True,
    )
    job = agent.stdout.readline().strip()
    agent.kill()
    agent.wait()
    until(lambda: jobs.status(job).state == "running", "the job to run")
    assert jobs.wait([job], timeout_s=0.3)[0].state == "running"
    (jobs.folder_of(job) / "output" / "go").touch()
    assert jobs.wait([job], WAIT_S)[0].state == "succeeded"
    assert jobs.logs(job).text == "finished\n"


def test_a_crash_between_submission_and_note_submits_nothing_twice(jobs, on_cluster, cluster):
    spec = on_cluster("import time; time.sleep(600)", key="once")
    job = jobs.submit(spec).id
    note = jobs.folder_of(job) / "slurm.json"
    first = json.loads(note.read_text())
    note.write_text(json.dumps(first | {"id": None}))  # The host died right here.
    assert jobs.submit(spec).id == job
    assert json.loads(note.read_text()) == first
    assert len(cluster.ask("squeue", "-h", f"--name={first['name']}", "-o", "%i").split()) == 1
    jobs.cancel(job)


@pytest.mark.slow
@pytest.mark.thorough
def test_a_partition_with_a_short_limit_starts_the_job_again_from_its_checkpoint(jobs, on_cluster, cluster):
    code = """
    import pathlib, time
    saved = pathlib.Path("checkpoint")
    if saved.exists():
        print("went on")
    else:
        saved.touch()
        time.sleep(600)
    """
    place = Place(compute="slurm", partition="short")
    job = jobs.submit(on_cluster(code, place=place, timeout_s=600)).id
    until(lambda: (jobs.folder_of(job) / "output" / "checkpoint").exists(), "the checkpoint")
    cluster.ask(
        "scancel", "--batch", "--signal=USR2", slurm_id(jobs, job)
    )  # what Slurm sends before the limit
    cluster.go_on_now(slurm_id(jobs, job))
    [status] = jobs.wait([job], WAIT_S)
    assert status.state == "succeeded", jobs.logs(job).text
    assert "went on" in jobs.logs(job).text


@pytest.mark.thorough
def test_a_job_that_was_out_of_time_has_its_whole_time_again_when_it_is_resumed(jobs, on_cluster):
    code = """
    import pathlib, time
    known = pathlib.Path("known").exists()
    pathlib.Path("known").touch()
    time.sleep(2 if known else 600)
    """
    job = jobs.submit(on_cluster(code, timeout_s=20)).id
    assert jobs.wait([job], WAIT_S)[0].failure.kind == "timeout"
    jobs.resume(job)
    [status] = jobs.wait([job], WAIT_S)
    assert status.state == "succeeded" and status.seconds < 20


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ({"partition": "mian"}, "no partition 'mian' .did you mean 'main'"),
        ({"partition": "closed"}, "takes no jobs now"),
        ({"gpus": 2}, "Slurm would not take the job"),
    ],
    ids=["partition", "closed", "gpus"],
)
def test_what_the_cluster_does_not_have_is_told_before_anything_starts(jobs, on_cluster, place, told):
    with pytest.raises(ToolError, match=told) as raised:
        jobs.submit(on_cluster("", place=Place(compute="slurm", **place)))
    assert "\n" not in str(raised.value.message)
    assert jobs.list() == []


def test_without_sbatch_it_says_so_in_one_line(tmp_path, script, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    jobs = Jobs(tmp_path / "jobs", None, Settings(state=tmp_path), lambda event: None)
    with pytest.raises(ToolError, match="There is no sbatch on this machine"):
        jobs.submit(script("", place=ON_CLUSTER))


def test_auto_goes_to_the_configured_cluster_and_the_hardware_is_listed(jobs, monkeypatch):
    from ml_intern.jobs.estimate import Workload
    from ml_intern.jobs.offers import offers
    from ml_intern.jobs.places import choose

    monkeypatch.setattr("ml_intern.jobs.places.gpu_name", lambda: "")
    settings = jobs.settings.model_copy(update={"slurm_partition": "main", "slurm_account": "team"})
    place = choose(settings, None, Workload(), None)
    assert (place.words, place.account, place.why) == ("slurm:main", "team", "there is no GPU here")
    rows = {row["name"]: row for row in offers(settings, None)}
    assert rows["slurm:main"]["cores"] == 4 and "at most 1h 0m" in rows["slurm:main"]["note"]
    assert "closed now" in rows["slurm:closed"]["note"]


@pytest.mark.slow
@pytest.mark.thorough
def test_a_training_runs_on_the_node_and_goes_on_from_its_checkpoint_after_a_loss(jobs, cluster, pretraining):
    spec = pretraining(ON_CLUSTER, save_steps=5, max_steps=40)
    whole = jobs.submit(pretraining(Place(), save_steps=5, max_steps=40)).id
    job = jobs.submit(spec).id
    until(lambda: any((jobs.folder_of(job) / "checkpoints").glob("checkpoint-*")), "a checkpoint")
    cluster.lose_node()
    until(lambda: jobs.status(job).state == "queued", "the job to be put back")
    cluster.start_node()
    cluster.go_on_now(slurm_id(jobs, job))
    again, first = jobs.wait([job, whole], 120)
    assert (again.state, first.state) == ("succeeded", "succeeded"), jobs.logs(job).text
    assert "Start 2" in jobs.logs(job).text
    assert jobs.metrics(job, ["loss"])[-1]["loss"] == jobs.metrics(whole, ["loss"])[-1]["loss"]
