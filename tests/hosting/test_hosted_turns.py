"""One session, several turns: the kernel stays, words are heard, what was done can be taken back."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from hosted_kit import LONG_S, answers, cell, hosting, idle, lasting, say, told, until
from support.openai_server import ScriptedServer

from ml_intern.agent.inbox import Inbox
from ml_intern.errors import NoBrain, UsageError
from ml_intern.events import (
    CellOutput,
    CellStarted,
    PersonSaid,
    SessionFinished,
    SessionStarted,
    TurnFinished,
)
from ml_intern.hosting import Hosted, past_events
from ml_intern.session.lock import SessionBusy, SessionLock
from ml_intern.session.session import Session


def test_variables_stay_from_turn_to_turn(tmp_path: Path) -> None:
    cells = (
        "import os\nx, pid = 41, os.getpid()\nfinal_answer(str(x))",
        "final_answer(f'{x + 1} {pid == os.getpid()}')",
    )
    with hosting(*cells, state=tmp_path) as (hosted, _):
        assert hosted.state == "new" and hosted.id == ""
        assert say(hosted, "count") == "41"
        assert hosted.state == "waiting" and hosted.session is not None
        assert say(hosted, "one more") == "42 True"
        assert [said.text for said in told(hosted, PersonSaid)] == ["one more"]
        assert len(told(hosted, SessionStarted)) == 1
        past = past_events(hosted.folder)  # type: ignore[arg-type]
        assert [e.kind for e in past] == [e.kind for e in lasting(hosted.events())]
    assert hosted.state == "over" and told(hosted, SessionFinished)[-1].status == "done"


def test_a_word_while_it_works_is_heard_before_the_next_answer(tmp_path: Path) -> None:
    wait = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.02)"
    with hosting(wait, "final_answer('heard')", state=tmp_path) as (hosted, server):
        hosted.tell("wait for me")
        until(hosted, CellStarted)
        hosted.tell("be quick")
        assert hosted.state == "working"
        (hosted.session.workspace / "go").touch()  # type: ignore[union-attr]
        idle(hosted)
        assert [(s.text, s.turn) for s in told(hosted, PersonSaid)] == [("be quick", False)]
        assert "be quick" in str(server.chats[1]["messages"])


def test_idle_means_that_nothing_told_is_unheard(tmp_path: Path) -> None:
    with hosting({"text": cell("final_answer('again')"), "stay": True}, state=tmp_path) as (hosted, _):
        for n in range(6):
            hosted.tell(f"turn {n}")
            idle(hosted)
            assert len(answers(hosted)) == n + 1
            assert hosted.state == "waiting"


def test_two_faces_that_speak_at_once_speak_to_one_session(tmp_path: Path) -> None:
    with hosting({"text": cell("final_answer('yes')"), "stay": True}, state=tmp_path) as (hosted, server):
        barrier = threading.Barrier(4)

        def speak(n: int) -> None:
            barrier.wait()
            hosted.tell(f"this is face {n}")

        faces = [threading.Thread(target=speak, args=(n,)) for n in range(4)]
        for face in faces:
            face.start()
        for face in faces:
            face.join()
        idle(hosted)
        assert len(list((tmp_path / "sessions").iterdir())) == 1
        heard = str(server.chats[-1]["messages"])
        assert all(f"this is face {n}" in heard for n in range(4))


def test_a_stopped_cell_leaves_the_turn_and_a_stopped_run_goes_on_with_the_next_words(tmp_path: Path) -> None:
    forever = "import time\nx = 7\nprint('began', flush=True)\ntime.sleep(600)"
    with hosting(forever, forever, "final_answer(str(x))", state=tmp_path) as (hosted, _):
        assert hosted.stop("cell") is False
        hosted.tell("sleep")
        until(hosted, CellOutput)
        assert hosted.stop("cell")
        until(hosted, CellOutput, 2)
        assert hosted.stop("run")
        idle(hosted)
        assert hosted.state == "over" and told(hosted, SessionFinished)[-1].status == "interrupted"
        assert say(hosted, "and now?") == "7"
        assert hosted.state == "waiting" and hosted.stop() is False


def test_an_end_that_was_told_is_an_end_while_things_are_put_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away, close = threading.Event(), Session.close

    def slow(session: Session) -> None:
        assert away.wait(LONG_S)
        close(session)

    monkeypatch.setattr(Session, "close", slow)
    with hosting("while True: pass", state=tmp_path) as (hosted, _):
        hosted.tell("work")
        until(hosted, CellStarted)
        assert hosted.works
        hosted.stop("run")
        until(hosted, SessionFinished)
        assert hosted.state == "working" and not hosted.works and not hosted.stop("run")
        away.set()
        idle(hosted)
        assert hosted.state == "over" and not hosted.works


def test_words_after_a_stop_reach_the_session_that_goes_on(tmp_path: Path) -> None:
    forever = "import time\nprint('began', flush=True)\ntime.sleep(600)"
    with hosting(forever, "final_answer('on')", state=tmp_path) as (hosted, server):
        hosted.tell("sleep")
        until(hosted, CellOutput)
        hosted.stop("run")
        assert say(hosted, "at once") == "on"
        assert "at once" in str(server.chats[-1]["messages"])


def test_words_that_a_stopped_run_has_not_heard_do_not_start_it_again(tmp_path: Path) -> None:
    forever = "import time\nprint('began', flush=True)\ntime.sleep(600)"
    with hosting(forever, "final_answer('both')", state=tmp_path) as (hosted, server):
        hosted.tell("sleep")
        until(hosted, CellOutput)
        hosted.tell("never mind")
        hosted.stop("run")
        idle(hosted)
        assert hosted.state == "over" and len(server.chats) == 1
        assert say(hosted, "go") == "both"
        assert "never mind" in str(server.chats[-1]["messages"])


def test_undo_takes_the_last_turn_back(tmp_path: Path) -> None:
    cells = (
        "x = 1\nfinal_answer('one')",
        "x = 2\nopen('b.txt', 'w').write('b')\nfinal_answer('two')",
        "final_answer(str(x))",
    )
    with hosting(*cells, state=tmp_path) as (hosted, _):
        with pytest.raises(UsageError, match="nothing to undo"):
            hosted.undo()
        say(hosted, "first")
        say(hosted, "second")
        done = hosted.undo()
        assert (done.prompt, done.steps, done.workspace) == ("second", 1, True)
        assert hosted.edition == 1 and hosted.state == "over"
        assert answers(hosted) == ["one"] and not told(hosted, PersonSaid)
        assert say(hosted, "what is x?") == "1"


def test_a_session_that_works_is_not_undone(tmp_path: Path) -> None:
    with hosting("import time\ntime.sleep(600)", state=tmp_path) as (hosted, _):
        hosted.tell("sleep")
        until(hosted, CellStarted)
        with pytest.raises(UsageError, match="Stop it first"):
            hosted.undo()


def test_another_model_and_budget_through_rest(tmp_path: Path) -> None:
    with hosting("y = 5\nfinal_answer('first')", state=tmp_path, budget="100k tokens") as (hosted, _):
        say(hosted, "begin")
        with ScriptedServer([cell("final_answer(f'{y} from another')")]) as other:
            hosted.rest()
            assert hosted.state == "over" and hosted.session is None
            hosted.given |= {"model": "openai:y", "base_url": other.url, "budget": "200k tokens"}
            assert say(hosted, "go on") == "5 from another"
            assert other.chats[0]["model"] == "y"
            assert hosted.session is not None and hosted.session.budget.caps["tokens"] == 200_000
            hosted.close()


def test_what_fails_at_the_start_leaves_it_usable(tmp_path: Path) -> None:
    with hosting("final_answer('fine')", "final_answer('again')", state=tmp_path) as (hosted, server):
        hosted.given["budget"] = "much"
        with pytest.raises(UsageError, match="budget"):
            hosted.tell("begin")
        assert hosted.state == "new" and hosted.events() == []
        hosted.given["budget"] = ""
        assert say(hosted, "begin") == "fine"
        hosted.rest()
        hosted.given["budget"] = "much"
        with pytest.raises(UsageError, match="budget"):
            hosted.tell("this was refused")
        assert hosted.state == "over" and hosted.folder is not None and not Inbox(hosted.folder).messages()
        hosted.given["budget"] = ""
        assert say(hosted, "once more") == "again"
        assert "this was refused" not in str(server.chats[-1]["messages"])


def test_an_empty_word_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    with hosting("final_answer('fine')", state=tmp_path) as (hosted, _):
        say(hosted, "begin")
        with pytest.raises(UsageError, match="empty"):
            hosted.tell("  ")
        assert hosted.state == "waiting"


def test_a_brain_that_is_gone_ends_the_run_and_another_goes_on(tmp_path: Path) -> None:
    gone = {"status": 401, "body": {"error": {"message": "no such key"}}}
    with hosting("z = 3\nfinal_answer('first')", gone, "final_answer(str(z))", state=tmp_path) as (
        hosted,
        server,
    ):
        say(hosted, "begin")
        hosted.tell("more")
        idle(hosted)
        assert hosted.state == "over" and told(hosted, SessionFinished)[-1].exit_code != 0
        assert len(server.chats) == 2, "it was not begun again and again"
        assert say(hosted, "and now?") == "3"


def test_a_session_that_another_runs_is_busy_in_one_line_and_hears_nothing(tmp_path: Path) -> None:
    with hosting("final_answer('fine')", "final_answer('again')", state=tmp_path) as (hosted, _):
        say(hosted, "begin")
        hosted.rest()
        assert hosted.folder is not None
        lock = SessionLock(hosted.folder)
        for speak in (lambda: hosted.tell("hello"), hosted.go_on, hosted.undo):
            with pytest.raises(SessionBusy) as refused:
                speak()
            assert "\n" not in str(refused.value) and "in use by process" in str(refused.value)
        assert not Inbox(hosted.folder).messages()
        lock.release()
        assert say(hosted, "hello") == "again"


def test_time_stands_still_while_it_waits(tmp_path: Path) -> None:
    with hosting({"text": cell("final_answer('quick')"), "stay": True}, state=tmp_path, budget="10h") as (
        hosted,
        _,
    ):
        say(hosted, "begin")
        budget = hosted.session.budget  # type: ignore[union-attr]
        before = budget.used("seconds")
        time.sleep(0.3)
        assert budget.used("seconds") == before and hosted.state == "waiting"
        assert say(hosted, "more") == "quick"
        assert before < budget.used("seconds")


def test_closed_it_leaves_no_thread_and_takes_no_words(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with hosting("final_answer('fine')", state=tmp_path) as (hosted, _):
        say(hosted, "begin")
        kernel = hosted.session.kernel  # type: ignore[union-attr]
        hosted.close()
        assert not [t.name for t in set(threading.enumerate()) - before if t.name == "hosted"]
        assert kernel is not None and hosted.session is None
        with pytest.raises(UsageError, match="closed"):
            hosted.tell("hello")
        again = Hosted(hosted.given, hosted.folder)
        assert [e.kind for e in again.events()] == [e.kind for e in lasting(hosted.events())]
        SessionLock(again.folder).release()  # type: ignore[arg-type]


def test_closing_in_the_midst_of_a_cell(tmp_path: Path) -> None:
    forever = "import os, time\nopen('pid', 'w').write(str(os.getpid()))\nprint('began', flush=True)\ntime.sleep(600)"
    with hosting(forever, state=tmp_path) as (hosted, _):
        hosted.tell("sleep")
        until(hosted, CellOutput)
        pid = int((hosted.session.workspace / "pid").read_text())  # type: ignore[union-attr]
        hosted.close()
        assert hosted.state == "over" and told(hosted, SessionFinished)[-1].status == "interrupted"
        deadline = time.monotonic() + LONG_S
        while _lives(pid):  # it is told to end, and the system takes its time
            assert time.monotonic() < deadline, "the kernel was left behind"
            time.sleep(0.02)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_no_such_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="journal"):
        Hosted({}, tmp_path / "nothing")
    with pytest.raises(UsageError, match="no session to go on"):
        Hosted({"state": tmp_path}).go_on()


def test_playbooks_take_turns_too(tmp_path: Path) -> None:
    hosted = Hosted(
        {"model": "playbook:", "state": tmp_path, "sandbox": "none", "web_cache": tmp_path / "web"}
    )
    try:
        with pytest.raises(UsageError):
            hosted.tell("sing me a song")
        assert hosted.state == "new"
        assert "Ada" in say(hosted, "say hello to Ada")
        hosted.tell("sing me a song")
        idle(hosted)
        assert hosted.state == "waiting", "it says what it understands, and waits"
        assert "Bob" in say(hosted, "say hello to Bob")
        assert told(hosted, TurnFinished)[-1].answer == answers(hosted)[-1]
    finally:
        hosted.close()


def test_nobody_answers_at_the_address(tmp_path: Path) -> None:
    hosted = Hosted({"model": "openai:x", "base_url": "http://127.0.0.1:9/v1", "state": tmp_path, "sandbox": "none",
                     "brain_retries": 0, "connect_timeout_s": 1, "web_cache": tmp_path / "web"})  # fmt: skip
    with pytest.raises(NoBrain):
        hosted.tell("begin")
    assert hosted.state == "new"
