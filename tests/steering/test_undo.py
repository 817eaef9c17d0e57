"""The last turn is undone: forgotten by the brain, its files put back; what left the machine is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from steered import open_session, prompts, run

from ml_intern.cli import steering
from ml_intern.errors import InternError, UsageError
from ml_intern.export import export
from ml_intern.session.lock import SessionBusy, SessionLock
from ml_intern.session.session import Session
from ml_intern.session.undoing import undo
from ml_intern.workspace.keeping import Kept

FIRST = "x = 1\nopen('a.txt', 'w').write('first')\nfinal_answer('one')"
SECOND = "x = 2\nopen('a.txt', 'a').write(' second')\nopen('b.txt', 'w').write('new')\nfinal_answer('two')"


def two_turns(n: int, seen: str) -> str:
    if "say x" in seen.rpartition("Task:")[2]:
        return "final_answer(str(x))"
    return SECOND if n else FIRST


def after_two(tmp_path: Path) -> Session:
    session = open_session(tmp_path, two_turns)
    assert run(session).answer == "one"
    session.inbox.say("once more")
    again = open_session(tmp_path, two_turns, session.folder)
    assert run(again).answer == "two"
    assert (again.workspace / "a.txt").read_text() == "first second"
    return again


def test_the_brain_forgets_and_the_files_are_as_they_were(tmp_path: Path) -> None:
    session = after_two(tmp_path)
    done = undo(session.folder, session.workspace)
    assert (done.prompt, done.steps, done.workspace, done.stays) == ("once more", 1, True, [])
    assert (session.workspace / "a.txt").read_text() == "first"
    assert not (session.workspace / "b.txt").exists()
    session.inbox.say("say x")
    again = open_session(tmp_path, two_turns, session.folder)
    assert run(again).answer == "1", "the variables are those of the first turn"
    assert "once more" not in prompts(again)[-1] and "Observation of step 2" not in prompts(again)[-1]


def test_without_a_word_the_session_has_ended(tmp_path: Path) -> None:
    session = after_two(tmp_path)
    undo(session.folder, session.workspace)
    again = open_session(tmp_path, two_turns, session.folder)
    assert run(again).answer == "one" and prompts(again) == []


def test_twice_and_then_nothing_is_left(tmp_path: Path) -> None:
    session = after_two(tmp_path)
    undo(session.folder, session.workspace)
    done = undo(session.folder, session.workspace)
    assert (done.prompt, done.steps, done.workspace) == ("", 1, True)
    assert not (session.workspace / "a.txt").exists()
    with pytest.raises(UsageError, match="nothing to undo"):
        undo(session.folder, session.workspace)
    again = open_session(tmp_path, two_turns, session.folder)
    assert run(again).answer == "one", "it begins anew"


def test_calls_of_later_steps_are_not_taken_for_those_undone(tmp_path: Path) -> None:
    """A step's number is part of its calls' keys: the numbers of undone steps are not used again."""

    def reply(n: int, seen: str) -> str:
        return (
            "read = list(plan([{'text': 'a', 'status': 'done'}]))\nfinal_answer(str(len(read)))"
            if "again" in seen
            else FIRST
        )

    session = open_session(tmp_path, reply)
    run(session)
    numbers = []
    for _ in range(2):
        session.inbox.say("again")
        session = open_session(tmp_path, reply, session.folder)
        run(session)
        numbers.append(session.agent.number)
        undo(session.folder, session.workspace)
    assert numbers == [2, 3]


def test_what_stays_is_named(tmp_path: Path) -> None:
    def reply(n: int, seen: str) -> str:
        return "job = launch_script('print(1)', name='mine')\nwait_for_job(job.id)\nfinal_answer('ok')"

    session = open_session(tmp_path, reply, yes=["compute"])
    run(session)
    done = undo(session.folder, session.workspace)
    assert len(done.stays) == 1 and done.stays[0].startswith("launch_script")


def test_a_crash_between_is_mended_when_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = after_two(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Kept, "put_back", lambda self: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            undo(session.folder, session.workspace)
    assert (session.workspace / "b.txt").exists()
    run(open_session(tmp_path, two_turns, session.folder))
    assert (session.workspace / "a.txt").read_text() == "first"


def test_a_large_workspace_is_not_copied(tmp_path: Path) -> None:
    session = open_session(tmp_path, two_turns, undo_mb=0, workspace=_folder(tmp_path / "w"))
    assert run(session).answer == "one"
    done = undo(session.folder, session.workspace)
    assert not done.workspace and (session.workspace / "a.txt").exists()


def test_one_that_runs_is_left_alone(tmp_path: Path) -> None:
    session = after_two(tmp_path)
    lock = SessionLock(session.folder)
    with pytest.raises(SessionBusy, match=str(os.getpid())):
        undo(session.folder, session.workspace)
    lock.release()


def test_the_journal_keeps_what_the_exports_leave_out(tmp_path: Path) -> None:
    session = after_two(tmp_path)
    before = _lines(session.folder)
    undo(session.folder, session.workspace)
    assert _lines(session.folder)[: len(before)] == before
    assert "once more" not in export(session.folder, "markdown") and "second" not in export(
        session.folder, "script"
    )


@pytest.mark.thorough
def test_on_the_command_line(tmp_path: Path) -> None:
    session = after_two(tmp_path)
    words = [sys.executable, "-c", "import sys; from ml_intern.cli.main import run; sys.exit(run())"]

    def command(*more: str) -> subprocess.CompletedProcess[str]:
        given = [*words, *more, "--state", str(tmp_path)]
        return subprocess.run(given, capture_output=True, text=True, check=False)

    said = command("say", session.id[:12], "one", "more")
    assert said.returncode == 0 and "does not run" in said.stdout
    assert [m.text for m in session.inbox.messages()] == ["one more"]
    stopped = command("stop", "1", "--cell")
    assert stopped.returncode == 2 and "does not run" in stopped.stderr
    undone = json.loads(command("undo", "--json").stdout)
    assert undone["prompt"] == "once more" and undone["session"] == session.id and undone["workspace"]
    told = command("undo")
    assert told.stdout.startswith("The first turn of session") and "(1 step)" in told.stdout
    nothing = command("undo")
    assert nothing.returncode == 2 and nothing.stderr.count("\n") == 1


def _folder(path: Path) -> Path:
    path.mkdir()
    (path / "large.bin").write_bytes(b"x" * 100)
    return path


def _lines(folder: Path) -> list[tuple[int, str, str]]:
    import sqlite3

    with sqlite3.connect(folder / "journal.sqlite") as db:
        return list(db.execute("select seq, kind, payload from journal order by seq"))


@pytest.mark.parametrize("journal", [None, b"\x00not a database" * 300])
def test_a_journal_that_cannot_be_read_is_told_and_left(tmp_path: Path, journal: bytes | None) -> None:
    (tmp_path / "session.json").write_text('{"prompt": "a"}')
    file = tmp_path / "journal.sqlite"
    if journal is not None:
        file.write_bytes(journal)
    with pytest.raises(InternError, match="has no journal" if journal is None else "is damaged"):
        undo(tmp_path, tmp_path / "workspace")
    assert (file.read_bytes() if file.exists() else None) == journal


@pytest.mark.parametrize("card", ["[1]", "{", '{"prompt": "a", "workspace": 3}'])
def test_a_card_that_is_none_is_named(tmp_path: Path, card: str) -> None:
    (tmp_path / "session.json").write_text(card)
    (tmp_path / "journal.sqlite").touch()
    with pytest.raises(UsageError, match=r"card of the session .* cannot be read\. It is "):
        steering.undo(str(tmp_path), False, tmp_path / "state")
