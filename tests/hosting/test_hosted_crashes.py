"""A hosted session whose process dies, and one that somebody else runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hosted_kit import answers, cell, idle, say, settings, told
from support.openai_server import ScriptedServer

from ml_intern.agent.inbox import Inbox
from ml_intern.errors import UsageError
from ml_intern.events import CellStarted, Notice, SessionStarted
from ml_intern.hosting import Hosted, past_events
from ml_intern.session.lock import SessionBusy

CHILD = Path(__file__).with_name("hosted_child.py")
WORK = "import os, time\nn = globals().get('n', 0) + 1\nprint('at it', flush=True)\nwhile not os.path.exists('go'): time.sleep(0.05)"


@pytest.mark.parametrize("when", [pytest.param("waiting", marks=pytest.mark.thorough), "working"])
def test_killed_and_gone_on_with(tmp_path: Path, when: str) -> None:
    first = ["import random\nx = random.random()\nopen('x', 'w').write(str(x))\nfinal_answer('first')"] if when == "waiting" else [WORK, "final_answer('worked')"]  # fmt: skip
    last = "final_answer('second')" if when == "waiting" else "final_answer('heard')"
    with ScriptedServer([cell(code) for code in [*first, last]]) as server:
        argv = [sys.executable, str(CHILD), str(tmp_path), server.url, when]
        child = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        try:
            assert child.stdout is not None
            folder = Path(child.stdout.readline().strip())
            assert (folder / "journal.sqlite").is_file()
            another = Hosted(settings(server, tmp_path), folder)
            with pytest.raises(SessionBusy) as busy:
                another.tell("me too")
            assert f"process {child.pid}" in str(busy.value) and not Inbox(folder).messages()
            asked = len(server.chats)
        finally:
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
        hosted = Hosted(settings(server, tmp_path), folder)
        try:
            assert hosted.state == "over" and len(told(hosted, SessionStarted)) == 1
            if when == "working":
                (folder / "workspace" / "go").touch()
            hosted.tell("and now?")
            idle(hosted)
            assert answers(hosted)[-1] == ("second" if when == "waiting" else "worked")
            assert "and now?" in str(server.chats[-1]["messages"])
            assert len(server.chats) == asked + 1, "nothing was asked a second time"
            if when == "waiting":
                assert answers(hosted) == ["first", "second"]
        finally:
            hosted.close()
        assert [e.kind for e in past_events(folder) if e.kind != "Notice"][-1] == "SessionFinished"


def test_words_for_a_dead_session_are_heard_when_it_goes_on(tmp_path: Path) -> None:
    with ScriptedServer([cell("final_answer('one')"), cell("final_answer('two')")]) as server:
        hosted = Hosted(settings(server, tmp_path))
        assert say(hosted, "begin") == "one"
        hosted.close()
        assert hosted.folder is not None
        Inbox(hosted.folder).say("from another process")
        again = Hosted(settings(server, tmp_path), hosted.folder)
        again.go_on()
        idle(again)
        assert answers(again) == ["one", "two"] and "from another process" in str(
            server.chats[-1]["messages"]
        )
        again.close()


@pytest.mark.thorough
def test_a_finished_session_that_goes_on_without_words_waits_for_them(tmp_path: Path) -> None:
    with ScriptedServer([cell("x = 5\nfinal_answer('one')"), cell("final_answer(str(x))")]) as server:
        first = Hosted(settings(server, tmp_path))
        say(first, "begin")
        first.close()
        again = Hosted(settings(server, tmp_path), first.folder)
        again.go_on()
        idle(again)
        assert again.state == "waiting" and len(server.chats) == 1
        assert say(again, "x?") == "5"
        again.close()
        assert told(again, CellStarted) and told(again, Notice)


def test_a_card_that_is_gone_is_one_line(tmp_path: Path) -> None:
    with ScriptedServer([cell("final_answer('one')")]) as server:
        hosted = Hosted(settings(server, tmp_path))
        say(hosted, "begin")
        hosted.close()
        assert hosted.folder is not None
        (hosted.folder / "session.json").write_text("{")
        again = Hosted(settings(server, tmp_path), hosted.folder)
        with pytest.raises(UsageError, match="card") as error:
            again.tell("hello")
        assert "\n" not in str(error.value) and not Inbox(hosted.folder).messages()
