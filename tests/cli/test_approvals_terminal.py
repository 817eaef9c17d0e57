"""Questions of the gate in a real terminal, through the real command with a scripted model."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from cli_process import REAL, environment
from support.fixtures import scripted_server  # noqa: F401
from support.own_tools import write_tools

QUESTION = b"allow? [y/n/a/e] "
GRAVE = b"allow? [y/n/e] "


class Screen:
    """A command in a pseudo-terminal; what it wrote, without the terminal's own language."""

    def __init__(self, argv: Sequence[str], home: Path, **env: str) -> None:
        self.main, side = pty.openpty()
        self.process = subprocess.Popen(
            argv,
            stdin=side,
            stdout=side,
            stderr=side,
            env=environment(home, TERM="xterm-256color", LINES="60", **env),
            cwd=home,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(side)
        self.seen = b""
        self._from = 0

    def wait_for(self, cue: bytes, seconds: float = 120) -> None:
        """Read until the cue is there, after the last one."""
        end = time.monotonic() + seconds
        while (place := self.seen.find(cue, self._from)) < 0:
            assert time.monotonic() < end and self._read(end - time.monotonic()), self.text
        self._from = place + len(cue)

    def type(self, line: bytes) -> None:
        """Type keys."""
        os.write(self.main, line)

    def end(self) -> int:
        """Read to the end; the exit code."""
        while self._read(120):
            pass
        os.close(self.main)
        return self.process.wait(120)

    def _read(self, seconds: float) -> bool:
        if not select.select([self.main], [], [], seconds)[0]:
            return False
        try:
            piece = os.read(self.main, 65536)
        except OSError:  # Linux says EIO when the last process of the terminal has left.
            return False
        self.seen += piece
        return bool(piece)

    @property
    def text(self) -> str:
        """All that was shown."""
        return re.sub(r"\x1b\[[0-?]*[ -/]*[@-~]", "", self.seen.decode("utf-8", "replace"))


Start = Callable[..., tuple[Screen, Path]]


@pytest.fixture
def start(scripted_server: Any, tmp_path: Path) -> Start:  # noqa: F811
    """The command on cells of a scripted model; with it the file that tells which tools ran."""

    def make(*cells: str, **env: str) -> tuple[Screen, Path]:
        server = scripted_server([f"Next.\n<cell>\n{code}\n</cell>" for code in cells])
        tools, ran = write_tools(tmp_path)
        words = ["do it", "--model", "openai:x", "--base-url", server.url, "--sandbox", "none"]
        state = str(tmp_path / "state")
        screen = Screen([*REAL, *words], tmp_path, ML_INTERN_TOOLS=str(tools), ML_INTERN_STATE=state, **env)
        return screen, ran

    return make


def attempt(call: str) -> str:
    return f"try:\n    said = {call}\nexcept ToolError as error:\n    said = str(error)\nfinal_answer(said)"


def test_yes_runs_what_was_shown(start: Start) -> None:
    screen, ran = start(attempt("announce('me/x', 'hello', private=False)"))
    screen.wait_for(QUESTION)
    assert "announce asks for permission: it leaves this machine" in screen.text
    assert "effect publish · price free · from cell-1" in screen.text and 'repo = "me/x"' in screen.text
    screen.type(b"y\n")
    assert screen.end() == 0 and ran.read_text() == "announce me/x hello False\n"


@pytest.mark.thorough
def test_code_is_shown_whole_and_a_no_with_a_reason_reaches_the_brain_and_the_exit_code(start: Start) -> None:
    code = "\\n".join(["import os", *[f"x{n} = {n}" for n in range(80)], "os.getcwd()  # \\u202e txet"])
    hidden = "good()\\rprint(1)\\x1b[2K"
    screen, ran = start(attempt(f'announce("me/x", "{code}\\n{hidden}", private=False)'))
    screen.wait_for(QUESTION)
    shown = screen.text
    assert "text = 84 lines:" in shown and all(f"| x{n} = {n}" in shown for n in range(80))
    assert "\u202e" not in shown and "\\u202e txet" in shown
    assert "| good()" in shown and "| print(1)" in shown and "\\x1b[2K" not in shown
    screen.type(b"n it is not ready yet\n")
    assert screen.end() == 4 and ran.read_text() == ""
    assert "announce was not allowed: it is not ready yet" in screen.text


@pytest.mark.thorough
def test_always_holds_for_the_session_and_for_what_it_says(start: Start) -> None:
    calls = "\n".join(
        f"try:\n    announce('me/{name}', private=False)\nexcept ToolError as error:\n    print(error)"
        for name in ("x", "x", "y")
    )
    screen, ran = start(f"{calls}\nfinal_answer('end')")
    screen.wait_for(QUESTION)
    screen.type(b"what?\n")
    screen.wait_for(b"a always: announce with private = False, repo = me/x")
    screen.type(b"a\n")
    screen.wait_for(b"me/y")
    screen.wait_for(QUESTION)
    screen.type(b"n\n")
    screen.wait_for(b"the brain reads it) ")
    screen.type(b"enough\n")
    assert screen.end() == 4 and "enough" in screen.text
    assert ran.read_text().count("me/x") == 2 and "me/y" not in ran.read_text()


@pytest.mark.thorough
def test_what_cannot_be_undone_offers_no_always(start: Start) -> None:
    screen, ran = start(attempt("forget('all')"))
    screen.wait_for(GRAVE)
    screen.type(b"a\n")
    screen.wait_for(b"no always: what cannot be undone is asked about each time")
    screen.wait_for(GRAVE)
    screen.type(b"y\n")
    assert screen.end() == 0 and ran.read_text() == "forget all\n"


@pytest.mark.thorough
def test_an_edit_is_checked_and_what_reaches_further_is_asked_about_again(start: Start) -> None:
    screen, ran = start(attempt("announce('me/x', private=False)"))
    screen.wait_for(QUESTION)
    screen.type(b"e\n")
    screen.wait_for(b'{"private": true}: ')
    screen.type(b'{"repo": "you/x", "text": 5}\n')
    screen.wait_for(b"The edit was not taken: announce: text = 5")
    screen.wait_for(QUESTION)
    screen.type(b'e {"repo": "you/x"}\n')
    screen.wait_for(b'repo = "you/x"')
    screen.wait_for(QUESTION)
    screen.type(b'e {"private": true}\n')
    assert screen.end() == 0 and ran.read_text() == "announce you/x  True\n"


@pytest.mark.thorough
def test_keys_typed_before_a_question_do_not_answer_it(start: Start, tmp_path: Path) -> None:
    typed = tmp_path / "typed"
    wait = f"import os, time\nwhile not os.path.exists(\n    {str(typed)!r}\n):\n    time.sleep(0.02)"
    screen, ran = start(wait, attempt("forget('all')"))
    screen.wait_for(b"time.sleep")
    screen.type(b"y\ny\n")
    typed.touch()
    screen.wait_for(GRAVE)
    time.sleep(0.5)
    assert ran.read_text() == ""
    screen.type(b"n no\n")
    assert screen.end() == 4 and ran.read_text() == ""


def test_ctrl_c_at_a_question_ends_the_run_in_order(start: Start) -> None:
    screen, ran = start(attempt("forget('all')"), "final_answer('no')")
    screen.wait_for(GRAVE)
    screen.type(b"\x03")
    assert screen.end() == 130 and ran.read_text() == "" and "Traceback" not in screen.text


@pytest.mark.thorough
def test_questions_of_parallel_calls_come_one_after_the_other(start: Start) -> None:
    cell = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(3) as pool:\n"
        "    done = list(pool.map(lambda n: announce(f'me/{n}', private=False), range(3)))\n"
        "final_answer(' '.join(done))"
    )
    screen, ran = start(cell)
    for _ in range(3):
        screen.wait_for(QUESTION)
        screen.type(b"y\n")
    assert screen.end() == 0 and len(ran.read_text().splitlines()) == 3
    assert screen.text.count("asks for permission") == 3 == screen.text.count(QUESTION.decode())


@pytest.mark.thorough
def test_a_price_above_the_budget_is_told_and_a_yes_does_not_lift_it(start: Start) -> None:
    screen, ran = start(attempt("rent(usd=3.0)"), ML_INTERN_BUDGET="2 usd")
    screen.wait_for(GRAVE)
    assert "it needs 3 usd, 2 of 2 left" in screen.text and "price 3.00 usd" in screen.text
    screen.type(b"y\n")
    assert screen.end() == 4 and "over the budget" in screen.text and ran.read_text() == ""
