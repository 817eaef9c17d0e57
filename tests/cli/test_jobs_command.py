"""`ml-intern jobs`: which job is meant, how it stands, its log while it grows, its end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ml_intern.cli import jobs as face
from ml_intern.cli.main import run


def make_job(session: Path, name: str, state: str = "succeeded", **more: object) -> Path:
    folder = session / "jobs" / name
    folder.mkdir(parents=True)
    status = {"id": name, "name": name, "method": "pretrain", "state": state, "created": 1.0, "started": 1.0}
    status |= {"seconds": 8.0, "ended": 9.0} if state == "succeeded" else {}
    (folder / "spec.json").write_text(json.dumps({"name": name, "method": "pretrain"}))
    (folder / "status.json").write_text(json.dumps(status | more))
    rows = [
        {"step": s, "total_steps": 40, "loss": 5 - s / 10, "learning_rate": 1e-3} for s in range(0, 41, 10)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "log.txt").write_text("first\n\x1b[31mlast\x1b[0m\n")
    return folder


@pytest.fixture
def state(own_state: Path) -> Path:
    """Two sessions; the older one alone has the job `old-1`."""
    for name, job in (("20260101-100000-aaaa", "old-1"), ("20260102-100000-bbbb", "base-1")):
        session = own_state / "sessions" / name
        make_job(session, job)
        (session / "session.json").write_text(json.dumps({"id": name, "status": "done", "created": name[:8]}))
    return own_state


def told(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert run(["jobs", *words]) == code
    shown = capsys.readouterr()
    return shown.err if code else shown.out


def test_a_job_is_found_by_its_name_alone(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "base-1" in told(capsys) and "old-1" not in told(capsys)
    assert "20260101-100000-aaaa" in told(capsys, "old-1")
    assert "old-1" in told(capsys, "2") and "session" in told(capsys, "20260101", "old-1")


def test_one_job_has_its_facts_and_its_curve(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = told(capsys, "base-1")
    assert (
        "step            40/40" in shown and "loss            █" in shown and "took            8.0s" in shown
    )
    document = json.loads(told(capsys, "base-1", "--json", "--logs"))
    assert document["job"]["step"] == 40 and "first" in document["log"]


def test_logs(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "old-1", "--logs") == told(capsys, "--log", "old-1", "2") == "first\nlast\n"
    assert told(capsys, "base-1", "--follow") == "first\nlast\n"


def test_a_log_is_followed_to_its_end(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(face, "POLL_S", 0.01)
    folder = state / "sessions" / "20260102-100000-bbbb" / "jobs" / "base-1"
    from ml_intern.jobs.local import Jobs

    pages: list[object] = []
    real = Jobs.logs

    def growing(self: Jobs, job: str, offset: int = 0, limit: int = 20_000) -> object:
        page = real(self, job, offset, limit)
        pages.append(page)
        if len(pages) == 2:
            page = page.model_copy(update={"done": False})
            with (folder / "log.txt").open("a") as log:
                log.write("later\n")
        return page

    monkeypatch.setattr(Jobs, "logs", growing)
    assert told(capsys, "base-1", "--follow") == "first\nlast\nlater\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--logs"], "Which job? Name one: base-1."),
        (["base-2"], "did you mean 'base-1'"),
        (["1", "old-1"], "There is no job 'old-1' in session 20260102-100000-bbbb"),
        (["20260103"], "There is no session '20260103'"),
        (["1", "base-1", "x"], "Too many words."),
        (["base-1", "--follow", "--json"], "--follow shows lines"),
    ],
    ids=["which", "slip", "not-there", "session", "words", "json"],
)
def test_what_is_not_clear_gets_one_line(
    state: Path, capsys: pytest.CaptureFixture[str], words: list[str], expected: str
) -> None:
    assert expected in told(capsys, *words, code=2)


def test_a_job_that_has_ended_stays_as_it_is(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(told(capsys, "base-1", "--cancel", "--json"))["job"]["state"] == "succeeded"
