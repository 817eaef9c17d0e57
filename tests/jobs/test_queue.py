"""The queue of a machine: slots are used as long as work waits, and whoever matters more goes first."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ml_intern.jobs.early import StopRule, ask_to_stop, forget
from ml_intern.jobs.slots import GPU_HERE, Queue
from ml_intern.jobs.supervisor import with_gpus

WAIT_S = 120
IDLE_S = 10.0
"""A slot may stand empty for so long between two jobs: a start takes hundredths of a second, also on a machine
that others use."""


def test_eight_jobs_on_two_slots_leave_none_idle_and_the_agent_free(make_jobs, script, tmp_path):
    jobs = make_jobs(slots=2)
    hold = f"""
    import pathlib, time
    while not pathlib.Path({str(tmp_path / "go")!r}).exists():
        time.sleep(0.02)
    time.sleep(0.3)
    """
    ids = [jobs.submit(script(hold)).id for _ in range(8)]
    states = [jobs.status(job).state for job in ids]
    assert not {"succeeded", "failed"} & {*states}, "submitting does not wait for jobs"
    assert "queued" in states
    (tmp_path / "go").touch()
    done = sorted(jobs.wait(ids, WAIT_S), key=lambda s: s.started)
    assert all(s.state == "succeeded" for s in done)
    for later in range(2, 8):
        running = [s for s in done[:later] if s.ended > done[later].started]
        assert len(running) < 2, "two slots, three jobs"
        free_since = sorted(s.ended for s in done[:later])[later - 2]
        assert done[later].started - free_since < IDLE_S, "a slot stood idle while a job waited"


def test_who_matters_more_goes_first(make_jobs, script, tmp_path):
    jobs = make_jobs(slots=1)
    hold = f"""
    import pathlib, time
    while not pathlib.Path({str(tmp_path / "go")!r}).exists():
        time.sleep(0.02)
    """
    first = jobs.submit(script(hold))
    while jobs.status(first.id).state == "queued":
        time.sleep(0.02)
    asked = [("low", -3), ("usual", 0), ("high", 5), ("second", 0)]
    queue, ids = tmp_path / "state" / "slots" / "queue", []
    for name, priority in asked:
        ids.append(jobs.submit(script("", name, priority=priority)).id)
        while len(list(queue.iterdir())) < len(ids):  # Its supervisor stands in the queue.
            time.sleep(0.02)
    (tmp_path / "go").touch()
    done = sorted(jobs.wait(ids, WAIT_S), key=lambda s: s.started)
    assert [s.name for s in done] == ["high", "usual", "second", "low"]


def test_the_time_in_the_queue_is_not_the_jobs_own(make_jobs, script, tmp_path):
    jobs = make_jobs(slots=1)
    hold = f"import os, time\nwhile not os.path.exists({str(tmp_path / 'go')!r}): time.sleep(0.02)"
    ids = [jobs.submit(script(hold)).id]
    while jobs.status(ids[0]).state == "queued":
        time.sleep(0.01)
    ids.append(jobs.submit(script("print('done')", timeout_s=8)).id)
    time.sleep(8.5)
    (tmp_path / "go").touch()
    _, short = jobs.wait(ids, WAIT_S)
    assert short.state == "succeeded" and short.started - short.created > 8


def test_gpus_have_slots_of_their_own_and_each_job_sees_one(make_jobs, script, tmp_path, monkeypatch):
    fake = tmp_path / "bin" / "nvidia-smi"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho 'A GPU, 80 GiB'\necho 'A GPU, 80 GiB'\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:/usr/bin:/bin")
    jobs = make_jobs(slots=0)
    show = f"""
    import os, time
    print(os.environ.get('CUDA_VISIBLE_DEVICES'), flush=True)
    while not os.path.exists({str(tmp_path / "go")!r}):
        time.sleep(0.02)
    """
    ids = [jobs.submit(script(show)).id for _ in range(2)]
    while not all(jobs.logs(job).text for job in ids):  # both hold a GPU
        time.sleep(0.02)
    (tmp_path / "go").touch()
    on_cpu = script(show)
    on_cpu.config["use_cpu"] = True
    ids.append(jobs.submit(on_cpu).id)
    done = jobs.wait(ids, WAIT_S)
    assert sorted(jobs.logs(s.id).text.strip() for s in done[:2]) == ["0", "1"]
    assert jobs.logs(done[2].id).text.strip() == "None"


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_a_slot_knows_its_number_and_kinds_do_not_meet(tmp_path: Path, kind):
    one, two, three = (Queue(tmp_path, 2, kind=kind) for _ in range(3))
    other = Queue(tmp_path, 1, kind="gpu" if kind == "cpu" else "cpu")
    assert one.try_enter() and two.try_enter() and not three.try_enter() and other.try_enter()
    assert (one.held, two.held, three.held, other.held) == ([0], [1], [], [0])
    one.leave()
    assert three.try_enter() and three.held == [0] and one.held == []


def test_several_processes_of_a_job_take_as_many_slots_or_all(tmp_path: Path):
    one, pair, late = Queue(tmp_path, 2), Queue(tmp_path, 2, takes=2), Queue(tmp_path, 2)
    assert one.try_enter() and not pair.try_enter() and not late.try_enter()
    assert pair.held == [], "half of what it needs is nothing to hold"
    one.leave()
    assert pair.try_enter() and pair.held == [0, 1] and not late.try_enter()
    pair.leave()
    assert late.try_enter() and Queue(tmp_path, 1, kind="gpu", takes=8).try_enter()


@pytest.mark.parametrize(
    ("slots", "gpus"), [([1], "1"), ([0, 1], "0,1"), ([0, 2], "0,1"), ([3], "1"), ([0, 1, 2], "0,1")]
)
def test_a_job_sees_as_many_gpus_as_it_has_slots_and_none_twice(slots, gpus):
    plan = {"argv": ["--setenv", GPU_HERE], "env": {"CUDA_VISIBLE_DEVICES": GPU_HERE, "X": "1"}}
    seen = with_gpus(plan, ["0", "1"], slots)
    assert seen["argv"][1] == seen["env"]["CUDA_VISIBLE_DEVICES"] == gpus and seen["env"]["X"] == "1"
    assert with_gpus(plan, [], slots) is plan


def test_a_job_tells_what_memory_it_held(run):
    status = run("block = bytearray(300 << 20)\nblock[:] = b'x' * len(block)\nimport time; time.sleep(2)")
    assert 300 < status.memory.peak_mb < 1200 and status.memory.estimated_mb is None


def test_the_word_to_end_early_is_not_taken_from_the_job(tmp_path):
    """A job may put what it likes beside its checkpoints: a pipe would hold the supervisor, a link mislead it."""
    (tmp_path / "checkpoints").mkdir()
    os.mkfifo(tmp_path / "checkpoints" / "stop")
    rule = StopRule(tmp_path, {})
    assert rule.told() == ""
    ask_to_stop(tmp_path, "Enough.")
    ask_to_stop(tmp_path, "Too late.")
    assert rule.told() == "Enough." and rule.told() == ""
    forget(tmp_path)
    (tmp_path / "checkpoints" / "stop").symlink_to(tmp_path / "elsewhere")
    ask_to_stop(tmp_path, "Again.")
    assert StopRule(tmp_path, {}).told() == "Again." and not (tmp_path / "elsewhere").exists()
