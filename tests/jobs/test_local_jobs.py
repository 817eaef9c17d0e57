"""Jobs as their callers see them, with cheap scripts under the real supervisor."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ml_intern.errors import ToolError
from ml_intern.events import JobChanged
from ml_intern.jobs.model import JobStatus

WAIT_S = 60


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def read_pids(path: Path) -> list[int]:
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def test_a_script_runs_to_its_end(jobs, run, events):
    status = run("print('hello')\nopen('made.txt', 'w').write('x')", name="My first job!")
    assert status.id == "my-first-job-1"
    assert status.state == "succeeded" and status.exit_code == 0 and status.failure is None
    assert (Path(status.output) / "made.txt").read_text() == "x"
    assert jobs.logs(status.id).text == "hello\n"
    assert status.created <= status.started <= status.ended
    assert [e.state for e in events if isinstance(e, JobChanged)][-1] == "succeeded"


def test_names_that_repeat_get_a_counter(jobs, script):
    first, second = jobs.submit(script("")), jobs.submit(script(""))
    assert (first.id, second.id) == ("script-1", "script-2")
    assert [s.id for s in jobs.list()] == ["script-1", "script-2"]


def test_a_crash_tells_its_class_line_and_last_lines(run):
    status = run(
        "def work():\n    raise ValueError('1500 rows are wrong')\n\nprint('so far so good')\nwork()\n"
    )
    assert status.state == "failed" and status.exit_code == 1
    assert status.failure.kind == "code_error"
    assert status.failure.message == "ValueError: 1500 rows are wrong"
    assert status.failure.line == "script.py:2: raise ValueError('1500 rows are wrong')"
    assert "so far so good" in status.failure.last_lines


def test_running_out_of_memory_is_named(run):
    status = run(
        """raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")"""
    )
    assert status.failure.kind == "out_of_memory"
    assert "gradient_accumulation_steps" in status.failure.hint


def test_a_job_over_its_time_is_ended_with_all_it_started(run, tmp_path):
    pids = tmp_path / "pids"
    status = run(TREE.format(pids=str(pids)), timeout_s=10)
    assert status.state == "failed" and status.failure.kind == "timeout"
    assert "10 s" in status.failure.message
    assert len(read_pids(pids)) == 2
    assert not any(alive(pid) for pid in read_pids(pids))


TREE = """
import os, subprocess, sys, time
# One child leaves the session, which escapes a kill of the process group.
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
with open({pids!r}, "w") as file:
    file.write(f"{{os.getpid()}} {{child.pid}}")
time.sleep(600)
"""


def test_cancelling_ends_the_whole_tree(jobs, script, tmp_path):
    pids = tmp_path / "pids"
    job = jobs.submit(script(TREE.format(pids=str(pids)))).id
    until(lambda: len(read_pids(pids)) == 2, "the tree")
    status = jobs.cancel(job)
    assert status.state == "cancelled" and status.failure is None
    assert not any(alive(pid) for pid in read_pids(pids))
    assert jobs.cancel(job) == status


def test_what_a_finished_job_leaves_running_is_ended(run, tmp_path):
    code = f"""
    import subprocess, sys
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
    """
    assert run(code).state == "succeeded"
    assert not any(alive(pid) for pid in read_pids(tmp_path / "pid"))


def test_a_waiting_job_can_be_cancelled(make_jobs, script, tmp_path):
    jobs = make_jobs(slots=1)
    first = jobs.submit(script("import time; time.sleep(600)")).id
    second = jobs.submit(script(f"open({str(tmp_path / 'ran')!r}, 'w')")).id
    assert jobs.cancel(second).state == "cancelled"
    assert jobs.status(second).started is None and not (tmp_path / "ran").exists()
    jobs.cancel(first)


def test_no_more_jobs_run_at_once_than_there_are_slots(make_jobs, script, tmp_path):
    jobs = make_jobs(slots=2)
    marks = tmp_path / "marks"
    marks.mkdir()
    code = f"""
    import os, time
    from pathlib import Path
    mine = Path({str(marks)!r}, str(os.getpid()))
    mine.touch()
    time.sleep(0.4)
    print(len(list(mine.parent.iterdir())))
    mine.unlink()
    """
    ids = [jobs.submit(script(code)).id for _ in range(5)]
    statuses = jobs.wait(ids, WAIT_S)
    assert [s.state for s in statuses] == ["succeeded"] * 5
    assert max(int(jobs.logs(job).text) for job in ids) <= 2


def test_a_second_call_with_the_same_key_finds_the_job(jobs, make_jobs, script):
    first = jobs.submit(script("", key="call-7"))
    assert make_jobs().submit(script("raise SystemExit(3)", key="call-7")).id == first.id
    assert jobs.find("call-7") == first.id and jobs.find("call-8") is None
    assert len(jobs.list()) == 1


AGENT = """
import sys, time
from pathlib import Path
from ml_intern.jobs.local import Jobs
from ml_intern.jobs.model import JobSpec
from ml_intern.settings import Settings
state = Path(sys.argv[1])
jobs = Jobs(state / "session" / "jobs", None, Settings(state=state, job_slots=2), lambda event: None)
code = "import time, pathlib\\nwhile not pathlib.Path('go').exists(): time.sleep(0.02)\\nprint('finished')"
print(jobs.submit(JobSpec(name="long", method="script", config={"code": code}, key="k")).id, flush=True)
time.sleep(600)
"""


def test_a_job_outlives_an_agent_killed_with_9_and_is_found_again(make_jobs, tmp_path):
    agent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(AGENT), str(tmp_path / "state")],
        stdout=subprocess.PIPE,
        text=True,
    )
    job = agent.stdout.readline().strip()
    agent.kill()
    agent.wait()
    jobs = make_jobs()
    until(lambda: jobs.status(job).state == "running", "the job to run")
    assert jobs.wait([job], timeout_s=0.3)[0].state == "running"
    (Path(jobs.status(job).output) / "go").touch()
    assert jobs.wait([job], WAIT_S)[0].state == "succeeded"
    assert jobs.logs(job).text == "finished\n"


def test_a_job_whose_supervisor_is_killed_is_lost_not_running_for_ever(jobs, script, tmp_path):
    pids = tmp_path / "pids"
    job = jobs.submit(script(TREE.format(pids=str(pids)))).id
    until(lambda: len(read_pids(pids)) == 2, "the tree")
    raw = json.loads((jobs.folder_of(job) / "status.json").read_text())
    os.kill(raw["supervisor"], signal.SIGKILL)
    [status] = jobs.wait([job], WAIT_S)
    assert status.state == "failed" and status.failure.kind == "lost"
    until(lambda: not any(alive(pid) for pid in read_pids(pids)), "what it left to end")


def test_a_lost_job_can_be_resumed(jobs, script):
    job = jobs.submit(script("import os, time; os.path.exists('again') or time.sleep(600)")).id
    until(lambda: jobs.status(job).state == "running", "the job to run")
    (Path(jobs.status(job).output) / "again").touch()
    os.kill(json.loads((jobs.folder_of(job) / "status.json").read_text())["supervisor"], signal.SIGKILL)
    until(lambda: jobs.resume(job).state != "running", "the loss to be seen")
    assert jobs.wait([job], WAIT_S)[0].state == "succeeded"


def test_a_job_is_not_told_as_failed_where_the_loss_was_seen_too_late_to_resume_it(jobs, script, monkeypatch):
    job = jobs.submit(script("import time; time.sleep(600)")).id
    until(lambda: jobs.status(job).state == "running", "the job to run")
    real, looks = jobs.status, []

    def status(job):
        if not looks:  # The supervisor is killed right after the first look.
            looks.append(job)
            running = real(job)
            supervisor = json.loads((jobs.folder_of(job) / "status.json").read_text())["supervisor"]
            os.kill(supervisor, signal.SIGKILL)
            until(lambda: real(job).state == "failed", "the loss to be seen")
            return running
        return real(job)

    monkeypatch.setattr(jobs, "status", status)
    assert jobs.resume(job).state == "running"
    assert jobs.resume(job).state in {"queued", "running"}
    jobs.cancel(job)


def test_a_job_that_was_made_but_never_started_starts_with_its_key(jobs, script, monkeypatch):
    spec = script("print('late')", key="k")
    monkeypatch.setattr(jobs, "_start", lambda job: None)  # The host died right here.
    job = jobs.submit(spec).id
    assert jobs.status(job).state == "queued"
    monkeypatch.undo()
    assert jobs.submit(spec).id == job
    assert jobs.wait([job], WAIT_S)[0].state == "succeeded"


def test_a_failed_job_can_be_resumed_in_its_folder(jobs, run):
    code = """
    from pathlib import Path
    if not Path("tried").exists():
        Path("tried").touch()
        raise RuntimeError("the first time")
    print("the second time")
    """
    failed = run(code)
    assert failed.state == "failed"
    jobs.resume(failed.id)
    assert jobs.wait([failed.id], WAIT_S)[0].state == "succeeded"
    assert "the first time" in jobs.logs(failed.id).text


def test_logs_are_read_from_an_offset_bounded_and_never_twice(jobs, run):
    text = "".join(f"line {n} äöü€🙂\n" for n in range(200))
    job = run(f"import sys; sys.stdout.reconfigure(encoding='utf-8'); sys.stdout.write({text!r})").id
    pages, offset = [], 0
    while True:
        page = jobs.logs(job, offset, limit=100)
        assert len(page.text.encode()) <= 100
        pages.append(page.text)
        offset = page.next_offset
        if page.done:
            break
    assert "".join(pages) == text
    assert jobs.logs(job, offset) == jobs.logs(job, offset + 10_000)
    assert jobs.logs(job, offset).text == "" and jobs.logs(job, offset).done
    assert jobs.logs(job, -10).text.endswith("🙂\n")


def test_a_log_that_is_still_written_is_not_done(jobs, script):
    job = jobs.submit(script("import time; print('first', flush=True); time.sleep(600)")).id
    until(lambda: jobs.logs(job).text == "first\n", "the first line")
    page = jobs.logs(job, 6)
    assert (page.text, page.next_offset, page.done) == ("", 6, False)
    jobs.cancel(job)


def test_waiting_ends_when_a_condition_holds(jobs, script):
    code = """
    import json, os, time
    with open(os.environ["ML_INTERN_METRICS"], "a", buffering=1) as file:
        for step in range(1, 4):
            file.write(json.dumps({"step": step, "total_steps": 10, "loss": 4.0 - step}) + "\\n")
    time.sleep(600)
    """
    job = jobs.submit(script(code)).id
    seen: list[JobStatus] = []
    [status] = jobs.wait([job], WAIT_S, until="loss < 1.5", on_progress=seen.append)
    assert status.state == "running"
    assert (status.step, status.total_steps, status.metrics["loss"]) == (3, 10, 1.0)
    assert seen[-1] == status
    with pytest.raises(ToolError, match="not understood"):
        jobs.wait([job], until="loss is small")
    assert jobs.wait([job], cancelled=lambda: True)[0].state == "running"
    jobs.cancel(job)


def test_unknown_jobs_and_recipes_are_told_with_a_guess(jobs, script, run):
    run("", name="baseline")
    with pytest.raises(ToolError, match="did you mean 'baseline-1'"):
        jobs.status("baselin-1")
    with pytest.raises(ToolError, match="no job"):
        jobs.status("../../etc")
    spec = script("")
    with pytest.raises(ToolError, match="did you mean 'pretrain'"):
        jobs.submit(spec.model_copy(update={"method": "pretrian"}))
    with pytest.raises(ToolError, match=r"has made no model\. Use another"):
        jobs.model_path("baseline-1")


@pytest.mark.parametrize(
    ("method", "early"), [("sft", ", end it early with cancel_job('a-1', keep_model=True)"), ("script", "")]
)
def test_the_model_of_a_running_training_can_be_had_early(jobs, run, monkeypatch, method, early):
    job = run("", name="a")
    spec = jobs.spec(job.id).model_copy(update={"method": method})
    monkeypatch.setattr(jobs, "status", lambda id: job.model_copy(update={"state": "running"}))
    monkeypatch.setattr(jobs, "spec", lambda id: spec)
    with pytest.raises(ToolError) as caught:
        jobs.model_path(job.id)
    assert caught.value.hint == f"Wait for it{early}, or use another."


def test_nothing_of_the_shell_reaches_a_job(run, jobs, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    status = run(
        "import os; print(dict(os.environ)); print(open(f'/proc/{os.getppid()}/environ').read())", threads=3
    )
    text = jobs.logs(status.id).text
    assert "secret" not in text
    assert "'OMP_NUM_THREADS': '3'" in text and "'HF_HUB_OFFLINE': '1'" in text


def test_links_that_lead_out_of_the_output_are_removed(run, tmp_path):
    (tmp_path / "labels").write_text("sealed")
    code = f"""
    import os
    os.mkdir("model")
    os.symlink({str(tmp_path / "labels")!r}, "model/config.json")
    os.symlink({str(tmp_path)!r}, "all")
    open("real", "w").write("x"); os.chmod("real", 0o600)
    os.symlink("real", "near")
    os.mkfifo("pipe")
    """
    status = run(code)
    left = {str(p.relative_to(status.output)) for p in Path(status.output).rglob("*")}
    assert left == {"model", "real", "near"}
    assert (Path(status.output) / "real").stat().st_mode & 0o044


def test_in_the_sandbox_a_job_reaches_neither_its_own_limits_nor_the_state(make_jobs, script):
    from ml_intern.sandbox.local import LocalSandbox

    if LocalSandbox.problem():
        pytest.skip(LocalSandbox.problem())
    sandbox = LocalSandbox()
    jobs = make_jobs(sandbox=sandbox)
    (jobs.settings.state / "session" / "labels").write_text("sealed")
    code = f"""
    import os, socket
    folder = {str(jobs.folder)!r}
    for path in (folder + "/../labels", folder + "/script-1/status.json", folder + "/script-1/cancel"):
        try:
            open(path, "a")
            print("opened", path)
        except OSError:
            pass
    try:
        socket.create_connection(("1.1.1.1", 53), 2)
        print("connected")
    except OSError:
        pass
    open("made", "w").write("x")
    open(os.environ["ML_INTERN_METRICS"], "a").write('{{"step": 1, "loss": 2.0}}\\n')
    print("walls hold")
    """
    [status] = jobs.wait([jobs.submit(script(code)).id], WAIT_S)
    assert jobs.logs(status.id).text == "walls hold\n"
    assert status.state == "succeeded" and status.metrics == {"loss": 2.0}
    assert (Path(status.output) / "made").read_text() == "x"
    sandbox.stop()
