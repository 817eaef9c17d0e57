"""The table of jobs and their curves, made from folders: every state, what was added since, hostile words."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path

import pytest
from support.fragments import harmless
from support.web_session import NASTY, WebSession, everything, falling

from ml_intern.jobs import metrics as reading
from ml_intern.webapp.panels.curve_charts import Chosen, choices, curve_charts, settled
from ml_intern.webapp.panels.job_folders import LOG_BYTES, Course, JobFolders, tail
from ml_intern.webapp.panels.job_table import job_detail, job_log, job_table


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return everything(tmp_path_factory.mktemp("web") / "sessions" / "20261121-130000-abcd")


def test_every_job_has_a_row_with_what_its_folder_tells(session: Path) -> None:
    now = time.time()
    jobs = JobFolders().jobs(session, now)
    by_id = {job.id: job for job in jobs}
    words = harmless(job_table(jobs, "tuned-1", now))
    for told in ("fine-tuned on chats", "80 of 200", "waits for a slot", "failed", "$0.07", "left"):
        assert told in words
    assert by_id["tuned-1"].usd(now) == pytest.approx(1.2 * 200 / 3600)
    assert by_id["base-1"].usd(now) is None
    assert by_id["live-1"].status.metrics["loss"] == pytest.approx(falling(80) * 0.8)
    assert [seen.kind for seen in by_id["fast-1"].alerts] == ["divergence"]
    assert not by_id["tuned-1"].alerts


def test_the_picked_row_and_no_other_is_marked(session: Path) -> None:
    jobs = JobFolders().jobs(session, time.time())
    page = job_table(jobs, "tuned-1", time.time())
    assert page.count('class="picked"') == 1
    assert page.split('class="picked"')[0].rpartition("<tr ")[2].startswith('data-pick="tuned-1"')


def test_a_failed_job_says_why_and_what_to_try(session: Path) -> None:
    by_id = {job.id: job for job in JobFolders().jobs(session, time.time())}
    words = harmless(job_detail(by_id["fast-1"]))
    assert "nan: loss is not a number from step 120 on" in words and "Lower learning_rate by ten." in words
    assert "divergence" in words


def test_hostile_words_stay_words(session: Path) -> None:
    now = time.time()
    jobs = JobFolders().jobs(session, now)
    nasty = next(job for job in jobs if job.id == "nasty-1")
    shown = NASTY.replace("\u202e", "�")
    assert shown in harmless(job_table(jobs, "", now))
    assert shown in harmless(job_detail(nasty))
    log = harmless(job_log(nasty, tail(session / "jobs" / "nasty-1")))
    assert shown in log and "red" in log and "\x1b" not in log


def test_hostile_metrics_stay_words(tmp_path: Path) -> None:
    made = WebSession(tmp_path / "sessions" / "s")
    folder = made.job("odd-1", done=0, steps=10)
    rows: list[dict[str, object]] = [
        {"step": n, NASTY: n, "loss": n / 3, "huge": 10**400} for n in range(1, 9)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "[1]\nnull\n{]\n")
    jobs = JobFolders().jobs(made.close(), time.time())
    harmless(job_table(jobs, "", time.time()))
    chart = curve_charts(jobs, Chosen(metrics=(NASTY,)))
    harmless(chart)
    assert chart.count("<svg") == 1 and "&lt;script&gt;" in chart


def test_rows_that_were_added_are_read_and_no_others(tmp_path: Path) -> None:
    made = WebSession(tmp_path / "sessions" / "s")
    folder = made.job("run-1", done=40, steps=200, state="running")
    course = Course(folder / "metrics.jsonl")
    assert course.read_on() and len(course.rows) == 40
    assert not course.read_on()
    made.measure("run-1", range(41, 61), 200)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 61, "loss": 1.0')  # is being written
    assert course.read_on() and len(course.rows) == 60
    with (folder / "metrics.jsonl").open("a") as file:
        file.write("}\n")
    assert course.read_on() and course.newest["loss"] == 1.0
    made.measure("run-1", range(31, 36), 200, lambda n: 9.0)  # it went on from a checkpoint
    assert course.read_on()
    assert course.rows == reading.rows(folder / "metrics.jsonl")


def test_a_file_that_was_written_anew_is_read_from_its_start(tmp_path: Path) -> None:
    made = WebSession(tmp_path / "sessions" / "s")
    folder = made.job("run-1", done=40)
    course = Course(folder / "metrics.jsonl")
    course.read_on()
    (folder / "metrics.jsonl").rename(folder / "old")
    made.measure("run-1", range(1, 4), 200)
    assert course.read_on() and len(course.rows) == 3


def test_metrics_and_logs_that_are_links_are_not_read(tmp_path: Path) -> None:
    made = WebSession(tmp_path / "sessions" / "s")
    folder = made.job("run-1", done=5)
    secret = tmp_path / "secret"
    secret.write_text('{"step": 1, "loss": 4711.0}\n')
    for name in ("metrics.jsonl", "log.txt"):
        (folder / name).unlink()
        (folder / name).symlink_to(secret)
    [job] = JobFolders().jobs(made.close(), time.time())
    assert job.status.metrics == {} and tail(folder) == ""


def test_a_job_whose_supervisor_is_gone_is_lost_and_one_whose_lives_is_not(tmp_path: Path) -> None:
    made = WebSession(tmp_path / "sessions" / "s")
    for id in ("gone-1", "here-1"):
        made.job(id, state="running", done=5, supervisor=4711)
    (made.folder / "jobs" / "gone-1" / "alive").touch()
    held = os.open(made.folder / "jobs" / "here-1" / "alive", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        before = (made.folder / "jobs" / "gone-1" / "status.json").read_bytes()
        states = {job.id: job.status for job in JobFolders().jobs(made.close(), time.time())}
    finally:
        os.close(held)
    assert states["gone-1"].state == "failed" and states["gone-1"].failure
    assert states["here-1"].state == "running"
    assert (made.folder / "jobs" / "gone-1" / "status.json").read_bytes() == before, "a look changes nothing"


def test_the_end_of_a_log_begins_with_a_whole_line_and_hides_credentials(tmp_path: Path) -> None:
    made = WebSession(tmp_path / "sessions" / "s")
    token = "hf_" + "a" * 34
    folder = made.job("run-1", done=2, log="".join(f"line {n} {token}\n" for n in range(2000)))
    text = tail(folder)
    assert len(text) <= LOG_BYTES and text.startswith("line ") and text.endswith("\n")
    assert "line 1999 " in text and token not in text and token[:20] not in text


def test_curves_are_drawn_for_what_was_chosen(session: Path) -> None:
    jobs = JobFolders().jobs(session, time.time())
    named, metrics = choices(jobs)
    assert metrics[:3] == ["loss", "eval_loss", "grad_norm"] and "learning_rate" in metrics
    assert {id for _, id in named} == {"base-1", "tuned-1", "fast-1", "nasty-1", "live-1"}
    of, names = settled(jobs, Chosen(jobs=("live-1", "base-1", "nobody-1"), metrics=("eval_loss", "none")))
    assert [job.id for job in of] == ["base-1", "live-1"] and names == ["eval_loss"]
    chart = curve_charts(jobs, Chosen(jobs=("live-1", "base-1"), metrics=("loss",), log=True))
    harmless(chart)
    assert chart.count("<svg") == 1 and chart.count("<g>") == 2 and "log scale" in chart


def test_smoothing_draws_the_median_over_the_curve(session: Path) -> None:
    jobs = JobFolders().jobs(session, time.time())
    lines = {
        share: curve_charts(jobs, Chosen(("tuned-1",), ("loss",), smoothing=share)).count("<polyline")
        for share in (0, 2, 20)
    }
    assert lines == {0: 1, 2: 2, 20: 2}


def test_a_session_without_jobs_says_so(tmp_path: Path) -> None:
    for folder in (None, tmp_path / "nothing"):
        jobs = JobFolders().jobs(folder, time.time())
        assert jobs == []
        assert "No jobs yet" in harmless(job_table(jobs, "", time.time()))
        assert "No curves yet" in harmless(curve_charts(jobs, Chosen()))


def test_folders_that_are_no_jobs_cost_nothing(tmp_path: Path) -> None:
    made = WebSession(tmp_path / "sessions" / "s")
    made.job("good-1", done=3)
    odd = made.folder / "jobs" / "odd-1"
    odd.mkdir()
    (odd / "spec.json").write_text("{")
    (odd / "status.json").write_text("[" * 100_000)
    jobs = JobFolders().jobs(made.close(), time.time())
    assert {job.id: job.status.state for job in jobs} == {"good-1": "succeeded", "odd-1": "failed"}
    harmless(job_table(jobs, "odd-1", time.time()))
