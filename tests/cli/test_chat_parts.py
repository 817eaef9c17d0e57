"""The parts of the chat that need no terminal: history, completion, changes as a diff, commands' help."""

from __future__ import annotations

import asyncio
import io
import os
import stat
import time
from pathlib import Path
from threading import Event, Thread, Timer
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from cli_process import REAL, environment
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent, DummyCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.output import DummyOutput
from support.openai_server import ScriptedServer

from ml_intern.cli.chat import opening
from ml_intern.cli.chat.changes import change_of, diff
from ml_intern.cli.chat.completing import Words, plain_paths
from ml_intern.cli.chat.history import FILE, MOST_BYTES, MaskedHistory
from ml_intern.cli.chat.line import Line
from ml_intern.cli.chat.screen import Screen
from ml_intern.cli.chat.slash import Slash
from ml_intern.cli.chat.talk import Chat
from ml_intern.errors import UsageError
from ml_intern.events import ApprovalNeeded, SessionFinished
from ml_intern.session.session import Session
from ml_intern.workspace.files import Files

TOKEN = "hf_" + "abcdefghijklmnopqrstuvwxyzABCDEFGH"


def lines(history: MaskedHistory) -> list[str]:
    return list(history.load_history_strings())


def test_the_history_is_the_persons_own_and_holds_no_credential(tmp_path: Path) -> None:
    history = MaskedHistory(tmp_path / "state")
    history.append_string(f"use {TOKEN} for it")
    history.append_string("two\nlines")
    file = tmp_path / "state" / FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert TOKEN not in file.read_text() and "[hidden]" in file.read_text()
    assert lines(MaskedHistory(tmp_path / "state")) == ["two\nlines", "use [hidden] for it"]


def test_a_history_that_others_could_read_is_closed_and_a_long_one_is_cut(tmp_path: Path) -> None:
    file = tmp_path / FILE
    file.write_text("".join(f"\n# then\n+line {n} {'x' * 80}\n" for n in range(MOST_BYTES // 80)))
    file.chmod(0o644)
    kept = lines(MaskedHistory(tmp_path))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.stat().st_size <= MOST_BYTES // 2
    newest = MOST_BYTES // 80 - 1
    assert all(line.startswith(f"line {newest - n} ") for n, line in enumerate(kept))


def test_a_history_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    history = MaskedHistory(tmp_path)
    history.append_string("hello")
    assert lines(history) == []
    aside = tmp_path / "aside"
    aside.write_text("")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / FILE).symlink_to(aside)
    MaskedHistory(tmp_path / "linked").append_string("hello")
    assert aside.read_text() == ""  # a link is not followed


class Parts:
    """As much of a chat as its words need."""

    def __init__(self, folder: Path) -> None:
        self.project = folder
        self.state = folder / "state"
        self.asking = SimpleNamespace(open=None)
        self.said: list[str] = []
        self.view = SimpleNamespace(
            print=lambda piece: self.said.append(str(piece)), note=self.said.append, board=None
        )
        self.slash = Slash(self)  # type: ignore[arg-type]


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    (tmp_path / "src").mkdir()
    for name in ("notes.txt", "numbers.csv", ".hidden", "src/a.py"):
        (tmp_path / name).write_text("x")
    return Parts(tmp_path)


def completed(parts: Parts, text: str) -> list[str]:
    """The whole lines that the completions make of a text."""
    found = Words(parts).get_completions(Document(text), CompleteEvent())  # type: ignore[arg-type]
    return [text[: len(text) + c.start_position] + c.text for c in found]


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("/exp", ["/experiments"]),
        ("/re", ["/report", "/resume"]),
        ("/help mod", ["/help model"]),
        ("/stop ", ["/stop cell", "/stop step", "/stop run"]),
        ("/approve compute,publish", []),
        ("/approve pub", ["/approve publish"]),
        ("/approve publish des", ["/approve publish destroy"]),
        ("/model play", ["/model playbook:"]),
        ("look at @n", ["look at @notes.txt", "look at @numbers.csv"]),
        ("look at @src/", ["look at @src/a.py"]),
        ("@.h", ["@.hidden"]),
        ("mail a@n", []),
        ("no slash", []),
        ("/nothing x", []),
        ("@/no/such/folder/x", []),
    ],
)
def test_words_are_completed(parts: Parts, typed: str, wanted: list[str]) -> None:
    assert completed(parts, typed) == wanted


def test_paths_with_an_at_are_told_as_paths(parts: Parts) -> None:
    folder = parts.project
    assert plain_paths("see @notes.txt, and @src/a.py.", folder) == "see notes.txt, and src/a.py."
    assert plain_paths("ask @nobody or me@notes.txt", folder) == "ask @nobody or me@notes.txt"


def test_every_command_has_its_help_and_a_wrong_one_a_guess(parts: Parts) -> None:
    named = {
        "model",
        "budget",
        "approve",
        "jobs",
        "experiments",
        "compact",
        "undo",
        "resume",
        "share",
        "plan",
    }
    assert named < set(parts.slash.commands)
    for name in parts.slash.commands:
        parts.slash.run("help", name)
        assert any(f"/{name}" in said for said in parts.said)
    with pytest.raises(UsageError, match=r"no command /budgt .did you mean '/budget'"):
        parts.slash.run("budgt", "5 usd")
    with pytest.raises(UsageError, match=r"no command /xyzzy\. /help"):
        parts.slash.run("xyzzy", "")


def asked(tool: str, **arguments: Any) -> ApprovalNeeded:
    return ApprovalNeeded("call-1", tool, "write", arguments, "free", "a rule")


def hosted(folder: Path) -> Any:
    (folder / "ws").mkdir()
    services = SimpleNamespace(files=Files(folder / "ws", folder))
    return SimpleNamespace(session=SimpleNamespace(services=services))


def test_a_change_of_a_file_is_a_diff_and_a_new_file_is_none(tmp_path: Path) -> None:
    here = hosted(tmp_path)
    (tmp_path / "ws" / "a.txt").write_text("one\ntwo\nthree\n")
    change = change_of(asked("write_file", path="a.txt", content="one\n2\nthree\n"), here)
    assert change and [line for line in change.lines if line[0] in "+-"] == ["-two", "+2"]
    assert change.arguments == ("content",)
    change = change_of(asked("edit_file", path="a.txt", old="two", new="2", how="after"), here)
    assert change and [line for line in change.lines if line[0] in "+-"] == ["-two", "+two2"]
    assert change_of(asked("write_file", path="b.txt", content="x"), here) is None
    assert change_of(asked("edit_file", path="a.txt", old="not there", new="2"), here) is None
    (tmp_path / "ws" / "raw.bin").write_bytes(b"\xff\xfe\x00")
    assert change_of(asked("write_file", path="raw.bin", content="x"), here) is None
    assert diff("same", "same") == ["nothing changes"]


@pytest.mark.parametrize("words", [["chat"], ["chat", "hello"], ["chat", "--resume"], []])
def test_without_a_terminal_there_is_no_chat(tmp_path: Path, words: list[str]) -> None:
    import subprocess

    env = environment(tmp_path, PYTHONPATH=os.environ.get("PYTHONPATH", ""))
    done = subprocess.run([*REAL, *words], capture_output=True, text=True, cwd=tmp_path, env=env, timeout=120)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 2 and last.startswith("ml-intern: ") and "Traceback" not in done.stderr
    assert ("The chat needs a terminal." in last) == bool(words)


def test_what_comes_while_the_line_is_drawn_first_does_not_stand_on_it() -> None:
    """Another thread may show something between the first drawing of the line and the next turn of the loop."""
    shown, seen = io.StringIO(), []
    screen = Screen(shown)
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        line = Line(Mock(), screen, DummyCompleter(), InMemoryHistory(), list)

        def drawn(_: object) -> None:
            if not seen:
                teller = Thread(target=screen.put, args=("from afar\n",))
                teller.start()
                teller.join()
                seen.append(shown.getvalue())

        async def chat() -> None:
            line.session.app.after_render += drawn
            running = asyncio.create_task(line.run())
            while not shown.getvalue():
                await asyncio.sleep(0.01)
            line.end()
            await running

        asyncio.run(asyncio.wait_for(chat(), 60))
    assert (seen, shown.getvalue()) == ([""], "from afar\n")


def test_a_ctrl_d_that_is_pressed_while_something_is_printed_counts() -> None:
    mine, theirs = os.openpty()
    hearer, screen = Mock(), Screen(io.StringIO())
    with os.fdopen(theirs) as terminal, create_app_session(input=Vt100Input(terminal), output=DummyOutput()):
        line = Line(hearer, screen, DummyCompleter(), InMemoryHistory(), list)
        hearer.leave.side_effect = line.end

        def press() -> None:
            os.write(mine, b"\x04")
            time.sleep(0.2)  # the terminal takes it in the mode of this moment

        async def chat() -> None:
            running, drawn = asyncio.create_task(line.run()), asyncio.Event()
            line.session.app.after_render += lambda _: drawn.set()
            await drawn.wait()
            screen.put(press)
            await running

        asyncio.run(asyncio.wait_for(chat(), 30))
    os.close(mine)
    assert hearer.leave.call_count == 1


@pytest.mark.parametrize("looked", [True, False], ids=["end was shown", "end was not shown yet"])
def test_who_leaves_while_an_ended_session_is_put_away_gets_its_exit_code(
    looked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_away, told = Event(), io.StringIO()
    close = Session.close
    monkeypatch.setattr(Session, "close", lambda session: (put_away.wait(60), close(session))[1])
    monkeypatch.setattr(opening, "end_soon", lambda code: None)
    with ScriptedServer(["Next.\n<cell>\nprint(1)\n</cell>"] * 3) as server:
        given = {"model": "openai:x", "base_url": server.url, "sandbox": "none", "state": tmp_path / "state"}
        given |= {"api_key": "none", "budget": "10 tokens"}
        with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
            chat = Chat(given, tmp_path / "state", Screen(told), 0, None)
            chat.tell("count")
            while not any(isinstance(event, SessionFinished) for event in chat.hosted.events()):
                assert chat.hosted.wait(len(chat.hosted.events()), 60)
            if looked:
                chat.show_news()
            assert chat.hosted.state == "working" and not chat.hosted.works and not chat.stop("run")
            Timer(0.2, put_away.set).start()
            assert opening._leave(chat) == 3
    assert "The session is over (limit)" in told.getvalue() and "Stopping" not in told.getvalue()
