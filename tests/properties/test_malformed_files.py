"""Files that others write or that a full disk spoils: jobs' status and metrics, journal lines, notes, cards."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from malformed import RAW, TEXT, broken, examples, spelled, values
from support.scripted_runs import cell, play

from ml_intern.agent.notes import Notes
from ml_intern.errors import ToolError, UsageError
from ml_intern.export import FORMATS, export
from ml_intern.hub.report import write_report
from ml_intern.jobs.local import Jobs
from ml_intern.jobs.metrics import newest, rows, summary
from ml_intern.jobs.model import JobStatus
from ml_intern.jobs.supervisor import update_status
from ml_intern.journal.journal import Entry, Journal
from ml_intern.journal.reading import JOURNAL, salvage, whole
from ml_intern.router.recorded import Recorded
from ml_intern.session.resuming import Damaged
from ml_intern.settings import Settings

STATUS = {
    "id": "job-1",
    "name": "job",
    "method": "script",
    "state": "succeeded",
    "created": 1.0,
    "started": 2.0,
    "ended": 3.0,
    "exit_code": 0,
    "supervisor": 1,
    "failure": None,
}
SPEC = {"name": "job", "method": "script", "config": {"code": "print(1)"}, "key": "k"}
METRICS = {"step": 3, "total_steps": 9, "epoch": 0.5, "loss": 2.5, "time": 1.0}


def changed(good: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A good object with fields that are missing, of another type, or too many."""
    names = st.sampled_from(sorted(good))
    return st.builds(
        lambda new, gone: {k: v for k, v in {**good, **new}.items() if k not in gone},
        st.dictionaries(st.one_of(names, TEXT), values(names), max_size=3),
        st.sets(names, max_size=2),
    )


def spoilt(good: dict[str, Any]) -> st.SearchStrategy[bytes]:
    """A file that held a good object."""
    return st.one_of(
        RAW, broken(spelled(good)), changed(good).map(spelled), values().map(spelled), st.just(b"")
    )


# Jobs


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """The folder of a job that has ended, beside a second one that is never touched."""
    for name in ("job-1", "other-1"):
        folder = tmp_path / "jobs" / name
        folder.mkdir(parents=True)
        (folder / "spec.json").write_text(json.dumps({**SPEC, "key": name}))
        (folder / "status.json").write_text(json.dumps({**STATUS, "id": name}))
        (folder / "metrics.jsonl").write_text(json.dumps(METRICS) + "\n")
        (folder / "log.txt").write_text("said\n")
    return tmp_path / "jobs" / "job-1"


@pytest.mark.thorough
def test_any_status_is_told_and_the_other_jobs_are_there(job: Path) -> None:
    """status.json: a status of the right types or a told failure; listing, reports and the other job go on."""
    store = Jobs(job.parent, None, Settings.load(), lambda event: None)
    good = (job / "status.json").read_bytes()

    @examples()
    @given(spoilt(STATUS))
    def check(data: bytes) -> None:
        (job / "status.json").write_bytes(data)
        status = store.status("job-1")
        assert isinstance(status, JobStatus) and status.model_dump_json()
        assert {s.id for s in store.list() if s.name == "job"} >= {"other-1"} and len(store.list()) == 2
        assert store.find("other-1") == "other-1"
        update_status(job, state="failed")  # what a supervisor does at the end of the job
        assert json.loads((job / "status.json").read_bytes())["state"] == "failed"
        (job / "status.json").write_bytes(good)
        assert store.status("job-1").state == "succeeded"

    check()


def test_any_specification_is_told_and_the_other_jobs_are_found(job: Path) -> None:
    """spec.json: what was asked, or a ToolError; a job of another key is found all the same."""
    store = Jobs(job.parent, None, Settings.load(), lambda event: None)

    @examples(0.3)
    @given(spoilt(SPEC))
    def check(data: bytes) -> None:
        (job / "spec.json").write_bytes(data)
        try:
            assert store.spec("job-1").model_dump_json(fallback=str)
        except ToolError as error:
            assert "cannot be read" in error.message
        assert len(store.list()) == 2 and store.find("other-1") == "other-1"

    check()


def test_any_metrics_are_numbers_or_left_out(job: Path) -> None:
    """metrics.jsonl: a job writes what it likes; what comes out are rows by step, and the good line counts."""
    store = Jobs(job.parent, None, Settings.load(), lambda event: None)
    path = job / "metrics.jsonl"
    number = [0]

    @examples()
    @given(st.lists(spoilt(METRICS), max_size=4))
    def check(lines: list[bytes]) -> None:
        number[0] += 1
        last = spelled({"step": (1 << 52) + number[0], "loss": 0.25})
        path.write_bytes(b"".join([*lines, b"\n", last, b'{"step": 4, "lo']))
        found = rows(path)
        assert [row["step"] for row in found] == sorted(row["step"] for row in found)
        assert found[-1]["step"] == (1 << 52) + number[0]
        json.dumps(summary(found)), newest(path)
        store._newest.clear()
        status = store.status("job-1")
        assert status.metrics["loss"] == 0.25 and all(type(v) is float for v in status.metrics.values())
        store.metrics("job-1", ["loss"])

    check()


@pytest.mark.parametrize("name", ["status.json", "spec.json", "metrics.jsonl", "log.txt"])
def test_a_file_of_a_job_that_is_gone_is_told(name: str, job: Path) -> None:
    """A missing file is a typed error or nothing to tell, never a crash of the listing."""
    (job / name).unlink()
    store = Jobs(job.parent, None, Settings.load(), lambda event: None)
    assert "other-1" in [status.id for status in store.list()]
    for ask in (store.status, store.logs, store.spec, store.metrics):
        try:
            ask("job-1")
        except ToolError as error:
            assert error.message


def test_a_report_is_written_whatever_the_jobs_say(job: Path) -> None:
    """The report of a session takes what it can read."""

    @examples(0.2)
    @given(spoilt(STATUS), spoilt(METRICS), spoilt({"prompt": "p", "status": "done", "settings": {}}))
    def check(status: bytes, metrics: bytes, card: bytes) -> None:
        (job / "status.json").write_bytes(status)
        (job / "metrics.jsonl").write_bytes(metrics)
        (job.parents[1] / "session.json").write_bytes(card)
        assert write_report(job.parents[1]).read_text().startswith("<!")

    check()


# Journals


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a session with lines of many kinds, that has not come to its end."""
    replies = [
        cell("x = 20\nplan([{'text': 'a', 'status': 'done'}])"),
        "no cell",
        cell("try:\n    read_file('nothing')\nexcept ToolError as error:\n    print(error)"),
        cell("1 / 0"),
        cell("try:\n    delete_repo('a/b')\nexcept Exception as error:\n    print(error)"),
        cell("start_experiment('a', 'b')"),
    ]
    state = tmp_path_factory.mktemp("recorded")
    return play(replies, state, max_steps=6).session.folder


def lines_of(folder: Path) -> list[Entry]:
    return whole(folder / JOURNAL)


def test_any_line_is_taken_or_the_journal_is_told_as_damaged(recorded: Path) -> None:
    """A line of any kind with any content: what a run can go on from, or a ValueError that names the line."""
    good = lines_of(recorded)
    kinds = st.sampled_from(
        sorted({entry.kind for entry in good} | {"compaction", "standing", "settled", "undo"})
    )

    lines = st.one_of([st.tuples(st.just(entry), changed(entry.payload)) for entry in good])

    @examples()
    @given(lines, st.one_of(st.none(), st.none(), kinds))
    def check(drawn: tuple[Entry, dict[str, Any]], kind: str | None) -> None:
        entry, payload = drawn
        line = Entry(entry.seq, entry.at, kind or entry.kind, payload)
        try:
            found = Recorded.of([*good[: entry.seq - 1], line, *good[entry.seq :]])
        except ValueError as error:
            assert f"line {line.seq}" in str(error) or "line" in str(error)
        else:
            assert all(isinstance(known.text, str) for known in found.answers)
            assert all(isinstance(ran.observation, str) for ran in found.cells.values())

    check()


def with_lines(recorded: Path, folder: Path, lines: list[tuple[int, Any, Any, Any]]) -> Path:
    """A copy of a session in which some lines are others."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in ("session.json", JOURNAL):
        shutil.copyfile(recorded / name, folder / name)
    connection = sqlite3.connect(folder / JOURNAL)
    connection.execute("pragma synchronous=off")  # hundreds of files: none needs to survive a power cut
    for seq, at, kind, payload in lines:
        connection.execute(
            "insert or replace into journal (seq, at, kind, payload) values (?, ?, ?, ?)",
            (seq, at, kind, payload),
        )
    connection.commit()
    connection.close()
    return folder


def rows_for(good: list[Entry]) -> st.SearchStrategy[list[tuple[int, Any, Any, Any]]]:
    """Lines as they may lie in a file that is damaged or was written by somebody else."""
    payload = st.one_of([st.tuples(st.just(entry), spoilt(entry.payload)) for entry in good])
    text = st.one_of(st.just(False), st.booleans())

    def row(given: tuple[Entry, bytes], as_text: bool, at: Any, kind: Any) -> tuple[int, Any, Any, Any]:
        one, data = given
        shown: Any = data.decode("utf-8", "replace").rstrip("\n") if as_text else data
        return (one.seq, at, kind if kind is not None else one.kind, shown)

    kinds = st.one_of(st.none(), st.none(), st.sampled_from(["brain", "finished", "event", "nothing", ""]))
    times = st.one_of(st.just(1.0), st.floats(allow_nan=False), st.just("late"), st.just(b"\x00"))
    return st.lists(st.builds(row, payload, text, times, kinds), min_size=1, max_size=3)


@pytest.mark.thorough
def test_any_journal_can_be_exported_or_is_told(recorded: Path, tmp_path: Path) -> None:
    """A file with any lines: every form is written from what can be read, or a UsageError says why not."""
    good = lines_of(recorded)

    @examples()
    @given(rows_for(good), st.sampled_from(sorted(FORMATS)))
    def check(lines: list[tuple[int, Any, Any, Any]], form: str) -> None:
        folder = with_lines(recorded, tmp_path / "s", lines)
        told: list[str] = []
        before = (folder / JOURNAL).read_bytes()
        try:
            text = export(folder, form, tell=told.append)
            text.encode()
        except UsageError as error:
            assert error.message
        assert (folder / JOURNAL).read_bytes() == before
        assert len(salvage(folder / JOURNAL).entries) >= len(good) - 3

    check()


@pytest.mark.parametrize("at", [-1e18, 2.6e11, 1e17, 1e300])
def test_a_time_that_is_no_date_stops_no_export(recorded: Path, tmp_path: Path, at: float) -> None:
    step = next(line for line in lines_of(recorded) if line.kind == "brain")
    line = (step.seq, at, step.kind, json.dumps(step.payload).encode())
    folder = with_lines(recorded, tmp_path / "s", [line])
    for form in sorted(FORMATS):
        assert export(folder, form, tell=lambda _: None)


def test_any_journal_is_gone_on_from_or_told_as_damaged(recorded: Path, tmp_path: Path) -> None:
    """Resumed: either it goes on to an end of its own, or it is damaged and left as it is."""
    good = lines_of(recorded)
    seen = {"went on": 0, "damaged": 0}

    @examples(0.1)
    @given(rows_for(good))
    def check(lines: list[tuple[int, Any, Any, Any]]) -> None:
        state = tmp_path / "state"
        folder = with_lines(recorded, state / "sessions" / recorded.name, lines)
        before = (folder / JOURNAL).read_bytes()
        try:
            played = play([cell("final_answer('went on')")], state, folder=folder, go_on=False)
        except Damaged:
            seen["damaged"] += 1
            assert (folder / JOURNAL).read_bytes() == before
            return
        seen["went on"] += 1
        assert played.result.status in ("done", "failed", "limit"), played.result
        assert not any("failed inside" in error for error in played.result.errors), played.result.errors

    check()
    assert seen["damaged"] > 0


def test_whatever_is_written_is_read_again(tmp_path: Path) -> None:
    """A line of any content goes into one journal and comes out as JSON has it, and the next one, too."""
    journal = Journal(tmp_path / JOURNAL)

    @examples()
    @given(st.dictionaries(TEXT, values(), max_size=4))
    def check(payload: dict[str, Any]) -> None:
        journal.append("any", payload)
        journal.append("next", {"fine": True})

    check()
    lines = whole(tmp_path / JOURNAL)
    assert [e.payload for e in journal.entries()] == [e.payload for e in lines] or "NaN" in str(lines)
    assert len(lines) >= 600 and all(e.payload == {"fine": True} for e in lines if e.kind == "next")
    journal.close()


def test_half_characters_in_a_reply_are_exported(tmp_path: Path) -> None:
    """Half of a surrogate pair, which no file takes, is replaced where a session is written out."""
    from ml_intern.cli.main import run

    half = "\ud83d"
    replies = [cell("x = '\\ud83d'\nprint(x)", half), cell("final_answer(x + ' end')", half)]
    played = play(replies, tmp_path)
    assert played.result.status == "done"
    for form in FORMATS:
        out = tmp_path / f"out{FORMATS[form]}"
        words = ["export", played.session.id, "--format", form, "--state", str(tmp_path), "-o", str(out)]
        assert run(words) == 0 and "x = " in out.read_text(encoding="utf-8")
        assert run(words[:-2]) == 0
    again = play([cell("final_answer('other')")], tmp_path, folder=played.session.folder)
    assert again.result.answer == played.result.answer and not again.brain.prompts


# What small tools keep


@examples(0.3)
@given(spoilt({"plan": [{"text": "a", "status": "todo"}]}))
def test_notes_that_are_spoilt_are_as_if_they_were_not_there(data: bytes) -> None:
    """notes.json: what is no JSON object is left out, and the next note is kept."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "notes.json"
        path.write_bytes(data)
        notes = Notes(path)
        notes["seen"] = True
        assert Notes(path)["seen"] is True


@pytest.mark.parametrize(
    "plan", [3, "x", ["a"], [{}], [{"text": None}], [{"text": "a", "status": 5}], {"a": 1}]
)
def test_a_plan_of_any_form_does_not_stop_a_session(plan: Any, tmp_path: Path) -> None:
    """A plan that somebody has changed in the file: the run goes on, its summaries are made, it ends."""
    first = play([cell("x = 1")], tmp_path, max_steps=1)
    (first.session.folder / "notes.json").write_text(json.dumps({"plan": plan}))
    long = cell("print('row ' * 2000)")
    again = play(
        [long, long + " ", cell("final_answer('end')")], tmp_path, folder=first.session.folder, window=12_000
    )
    assert again.result.status == "done" and again.result.answer == "end", again.result.errors
    assert any(type(e).__name__ == "ContextCompacted" for e in again.events)
