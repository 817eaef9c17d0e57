"""Behaviours 16 and 18: sessions are found, go on without a rewritten past, and belong to one process."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.openai_server import ScriptedServer
from support.scripted_runs import cell, play

from ml_intern import MLIntern
from ml_intern.cli.main import run as command
from ml_intern.journal.reading import JOURNAL

Server = Callable[..., ScriptedServer]
REAL = [sys.executable, "-c", "import sys; from ml_intern.cli.main import run; sys.exit(run())"]
CELLS = [cell("x = 20\nprint('twenty')"), cell("x += 22"), cell("final_answer(x)")]


def rows(folder: Path) -> list[Any]:
    """The lines of a journal, each as it lies there."""
    connection = sqlite3.connect(f"file:{folder / JOURNAL}?mode=ro", uri=True)
    try:
        return connection.execute("select seq, at, kind, payload from journal order by seq").fetchall()
    finally:
        connection.close()


def said(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """The real command in this process: exit code, stdout, stderr."""
    capfd.readouterr()
    code = command(words)
    out, err = capfd.readouterr()
    assert "Traceback" not in err and "defect" not in err, err
    return code, out, err


# 16. Found


@pytest.fixture
def three(own_state: Path) -> list[str]:
    """Three sessions, newest first; the middle one has met its limit."""
    made = []
    for n, steps in enumerate((9, 2, 9)):
        made.append(play(CELLS, own_state, f"count {n}", max_steps=steps).session)
        card = made[-1].folder / "session.json"
        told = json.loads(card.read_text()) | {"created": f"2026-11-21T10:00:0{n}+00:00"}
        card.write_text(json.dumps(told))
    return [session.id for session in reversed(made)]


def test_sessions_are_listed_newest_first_and_found_by_index_prefix_or_path(
    three: list[str], own_state: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Newest first; found by index, unique prefix or path, by every command that takes a session."""
    code, out, _ = said(capfd, "sessions", "--json")
    assert code == 0 and [s["id"] for s in json.loads(out)["sessions"]] == three
    middle = own_state / "sessions" / three[1]
    for reference in ("2", three[1], three[1][:-1], str(middle), os.path.relpath(middle)):
        code, out, _ = said(capfd, "export", reference, "--format", "markdown")
        assert code == 0 and "# count 1" in out, reference
    code, out, _ = said(capfd, "export", "--format", "markdown")
    assert "# count 2" in out  # nothing means the newest


def test_a_reference_that_is_not_clear_is_one_line(
    three: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    """What fits no session, or several, is told in one line with a way on."""
    unclear = ["4", "0", "-1", "2026", "x", "", "~nobody-here", "a\0b", "9" * 5000, "s" * 5000, "../.."]
    for verb, reference in itertools.product(("resume", "export", "jobs"), unclear):
        code, out, err = said(capfd, verb, "--", reference)
        assert code == 2 and out == "" and len(err.strip().splitlines()) == 1, (verb, reference)
        assert "no session" in err or "sessions begin" in err


# 16. The past is not rewritten


@pytest.mark.parametrize("how", ["index", "prefix", "path", "newest"])
def test_a_resumed_session_keeps_its_journal_line_by_line(
    how: str, scripted_server: Server, own_state: Path
) -> None:
    """The journal of a resumed session is never rewritten: its lines stay as they were, to the byte."""
    server = scripted_server(CELLS)
    intern = MLIntern("openai:m", base_url=server.url, sandbox="none", state=own_state, max_steps=2)
    first = intern.run("count")
    assert first.status == "limit"
    before = rows(first.folder)
    reference = {"index": "1", "prefix": first.session[:-2], "path": str(first.folder), "newest": None}[how]
    again = MLIntern(state=own_state, max_steps=9).resume(reference)
    assert (again.status, again.answer, again.session) == ("done", "42", first.session)
    after = rows(first.folder)
    assert after[: len(before)] == before and len(after) > len(before)
    assert len(server.chats) == 3  # and no answer was paid for twice


def test_looking_at_a_session_changes_nothing(own_state: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Listing, exporting and replaying leave every file of the session as it was."""
    folder = play(CELLS, own_state, "count").session.folder

    def files() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    before = files()
    for words in (["sessions"], ["export"], ["jobs"], ["experiments"], ["replay", "--sandbox", "none"]):
        assert said(capfd, *words, *([] if words == ["sessions"] else ["--", folder.name]))[0] == 0
    assert files() == before


# 16. A model that is gone


@pytest.mark.parametrize("model", ["openai:gone", "nosuch:thing", "openai:"])
def test_an_unknown_model_in_a_saved_session_is_told_and_the_current_one_goes_on(
    model: str, scripted_server: Server, own_state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unknown model in a saved session: says so and keeps the current one."""
    old = scripted_server(CELLS[:2])
    first = MLIntern(
        "openai:m", base_url=old.url, sandbox="none", state=own_state, max_steps=2, connect_timeout_s=10
    ).run("count")
    card = json.loads((first.folder / "session.json").read_text())
    card["settings"] |= {"model": model, "base_url": "http://127.0.0.1:9/v1", "max_steps": 9}
    (first.folder / "session.json").write_text(json.dumps(card))
    server = scripted_server(CELLS[2:])
    monkeypatch.setenv("ML_INTERN_MODEL", "openai:here")
    monkeypatch.setenv("ML_INTERN_BASE_URL", server.url)
    intern = MLIntern(state=own_state)
    assert intern.resume().answer == "42"
    assert [chat["model"] for chat in server.chats] == ["here"]
    told = [json.loads(row[3]) for row in rows(first.folder) if row[2] == "event"]
    [line] = [e["text"] for e in told if model in e.get("text", "")]
    assert "is not there" in line and "openai:here goes on" in line


def test_with_no_other_model_the_reason_is_told(
    scripted_server: Server, own_state: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where nothing else is there to go on with, the error names the model that is gone."""
    server = scripted_server(CELLS[:1])
    MLIntern("openai:m", base_url=server.url, sandbox="none", state=own_state, max_steps=1).run("count")
    server.__exit__()
    code, _, err = said(capfd, "resume", "--max-steps", "5")
    assert code == 5 and len(err.strip().splitlines()) == 1
    assert server.url in err and "cannot be reached" in err
    [path] = own_state.glob("sessions/*/session.json")
    card = json.loads(path.read_text())
    path.write_text(json.dumps({**card, "settings": {**card["settings"], "model": "nosuch:thing"}}))
    code, _, err = said(capfd, "resume", "--max-steps", "5")
    assert code == 2 and len(err.strip().splitlines()) == 1
    assert "'nosuch:thing' is not there" in err and "--model" in err


# 18. One process


@pytest.fixture
def owner(scripted_server: Server, own_state: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A real command that waits for its brain."""
    server = scripted_server([cell("x = 1"), {"delay": 60, "text": cell("final_answer(x)"), "stay": True}])
    words = ["count", "--model", "openai:m", "--base-url", server.url, "--sandbox", "none"]
    log = (tmp_path / "owner.log").open("w")
    process = subprocess.Popen([*REAL, *words], stdout=log, stderr=log, text=True)
    deadline = time.monotonic() + 60
    while len(server.chats) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(server.chats) == 2, (tmp_path / "owner.log").read_text()
    server.replies[:] = [{"text": cell("final_answer(x + 41)")}]
    yield process
    process.kill()
    process.wait()
    log.close()


def test_the_second_process_is_refused_with_the_pid_of_the_first(
    owner: subprocess.Popen[str], own_state: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Two processes on one session: the second is refused and names the first; a dead one holds nothing."""
    code, out, err = said(capfd, "resume", "1", "--sandbox", "none")
    assert code == 1 and out == "" and f"in use by process {owner.pid}." in err
    assert len(err.strip().splitlines()) == 1
    assert said(capfd, "export", "1", "--format", "markdown")[0] == 0  # looking is allowed
    code, out, _ = said(capfd, "sessions", "--json")
    assert json.loads(out)["sessions"][0]["status"] == "running"
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    code, out, _ = said(capfd, "sessions", "--json")
    assert json.loads(out)["sessions"][0]["status"] == "stopped"
    code, out, err = said(capfd, "resume", "1", "--sandbox", "none", "-q")
    assert (code, out.strip()) == (0, "42"), err
