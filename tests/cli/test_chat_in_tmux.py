"""The chat in a real terminal, through the real command with a scripted model."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_process import REAL, environment
from support.fixtures import scripted_server  # noqa: F401
from support.own_tools import write_tools
from support.tmux import MISSING, Pane

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING or "-")

QUESTION = r"^allow\? \[y/n/a/e\]"
IDLE = r"^ ● your turn"
READY = r"^ ● new"

Start = Callable[..., Pane]


class Folder:
    """One person's folder: starts chats in it, and ends them."""

    def __init__(self, root: Path, server: Any) -> None:
        self.root = root
        self._server = server
        self._panes: list[Pane] = []
        tools, self.ran = write_tools(root)
        self._env = {"ML_INTERN_TOOLS": str(tools), "ML_INTERN_STATE": str(root / "state")}
        self.model: list[str] = []

    @property
    def sessions(self) -> list[Path]:
        return sorted((self.root / "state" / "sessions").glob("*"))

    def script(self, *cells: str) -> None:
        """What the model writes, cell by cell."""
        server = self._server([f"Next.\n<cell>\n{code}\n</cell>" for code in cells])
        self.model = ["--model", "openai:x", "--base-url", server.url, "--sandbox", "none"]

    def start(self, *words: str, width: int = 100, **env: str) -> Pane:
        path = os.environ.get("PYTHONPATH", "")
        whole = environment(self.root, TERM="xterm-256color", PYTHONPATH=path, **self._env, **env)
        pane = Pane([*REAL, *words, *self.model], self.root, whole, width)
        self._panes.append(pane)
        return pane

    def close(self) -> None:
        for pane in self._panes:
            pane.close()


@pytest.fixture
def folder(scripted_server: Any, tmp_path: Path) -> Iterator[Folder]:  # noqa: F811
    made = Folder(tmp_path, scripted_server)
    yield made
    made.close()


def waiting(folder: Path, name: str = "go") -> str:
    """Code of a cell that waits for a file, and for no clock."""
    return f"import os, time\nprint('it waits')\nwhile not os.path.exists({str(folder / name)!r}):\n    time.sleep(0.02)"


def attempt(call: str) -> str:
    return f"try:\n    said = {call}\nexcept ToolError as error:\n    said = str(error)\nfinal_answer(said)"


def test_completion_of_commands_arguments_and_files(folder: Folder) -> None:
    (folder.root / "notes-of-mine.txt").write_text("x")
    pane = folder.start()
    pane.wait(READY)
    pane.type("/exp")
    pane.wait("/experiments +list what was tried")
    pane.press("Tab")
    pane.wait("^› /experiments")
    pane.press("C-c")
    pane.wait("^›$", where="screen")
    pane.type("/approve pub")
    pane.wait("publish +needs no question then")
    pane.press("Tab", "Enter", "Enter")
    pane.wait("^Needs no question in this session: publish")
    pane.type("look at @notes-of")
    pane.wait("^ +notes-of-mine.txt")
    pane.press("Tab")
    pane.wait("^› look at @notes-of-mine.txt")
    pane.press("C-c")
    pane.enter("/experimnts")
    pane.wait("There is no command /experimnts .did you mean '/experiments'")
    pane.press("C-d")
    assert pane.ended() == 0


@pytest.mark.thorough
def test_a_public_publication_is_asked_about_and_what_was_typed_before_is_no_answer(folder: Folder) -> None:
    before = waiting(folder.root)
    folder.script(before, attempt("announce('me/x', 'one\\ntwo', private=False)"), "final_answer('second')")
    pane = folder.start("chat", "tell the world")
    pane.wait("it waits|time.sleep")
    pane.type("y")
    pane.wait("^› y$", where="screen")
    (folder.root / "go").touch()
    pane.wait(QUESTION)
    pane.wait("announce asks for permission: it leaves this machine and others can see it")
    pane.wait("price +free")
    pane.wait("reaches +whatever announce reaches")
    pane.wait('repo +"me/x"')
    pane.wait(r"private +false")
    pane.press("Enter")
    pane.wait("^y yes · n .reason. no")
    assert folder.ran.read_text() == ""
    pane.enter("yesterday")
    pane.enter("n")
    pane.wait(r"^why\? .the brain reads it.")
    pane.enter("it is not ready")
    pane.wait("announce was not allowed: it is not ready")
    pane.wait(IDLE)
    pane.wait("^› y$", where="screen")
    assert folder.ran.read_text() == ""
    pane.press("C-c", "C-d")
    assert pane.ended() == 0


def test_an_interrupt_a_second_turn_with_the_variables_of_the_first_and_undo(folder: Folder) -> None:
    cells = ("x = 41\n" + waiting(folder.root, "never"), "final_answer(f'**x** is {x}')")
    folder.script(*cells, "y = x + 1\nopen('made.txt', 'w').write('z')\nfinal_answer(f'now {y}')")
    pane = folder.start()
    pane.wait(READY)
    pane.enter("count")
    pane.wait("^ . step 1 runs")
    pane.wait("^    +time.sleep")
    pane.press("C-c")
    pane.wait("Stopping the step. Ctrl-C again stops the run.")
    pane.wait("x is 41")
    pane.wait(IDLE)
    pane.enter("and one more")
    pane.wait("now 42")
    pane.wait(r"^ ● your turn · step 3")
    made = folder.sessions[0] / "workspace" / "made.txt"
    assert made.exists()
    pane.enter("/undo")
    pane.wait("The turn 'and one more' is undone .1 step.")
    assert not made.exists()
    pane.enter("/quit")
    assert pane.ended() == 0
    pane.wait(f"ml-intern chat --resume {folder.sessions[0].name}")


@pytest.mark.thorough
def test_a_session_that_was_killed_goes_on_in_the_chat(folder: Folder) -> None:
    cell = waiting(folder.root)
    folder.script("x = 41\nprint('first')", cell, "final_answer(f'x is {x}')")
    pane = folder.start("chat", "count to three")
    pane.wait("^ . step 2 runs")
    os.kill(pane.pid(), signal.SIGKILL)
    assert pane.ended() == 137
    (folder.root / "go").touch()
    again = folder.start("chat", "--resume")
    again.wait("^› count to three")
    again.wait("Going on: 2 answers of the brain and 1 finished cells are taken from the journal")
    again.wait("x is 41")
    again.wait(IDLE)
    again.press("C-d")
    assert again.ended() == 0


@pytest.mark.thorough
def test_an_edit_is_asked_about_with_its_diff(folder: Folder) -> None:
    rules = (
        '[[policy]]\ntool = ["write_file", "edit_file"]\naction = "ask"\nreason = "files are talked about"\n'
    )
    (folder.root / "ml-intern.toml").write_text(rules)
    (folder.root / "ws").mkdir()
    (folder.root / "ws" / "plan.md").write_text("one\ntwo\nthree\n")
    folder.script(
        "write_file('plan.md', 'one\\n2 \u202e\\nthree\\n')",
        "edit_file('plan.md', 'three', '3')",
        "final_answer('ok')",
    )
    pane = folder.start("chat", "--workspace", "ws", width=80)
    pane.wait(READY)
    pane.enter("write")
    pane.wait(QUESTION)
    pane.wait("plan.md is there: it would change so")
    pane.wait(r"^    -two\n    \+2 \\u202e")
    assert "\x1b[31m-two" in pane.screen(colours=True) and "\x1b[32m+2" in pane.screen(colours=True)
    pane.enter("y")
    pane.wait(r"^    -three\n    \+3")
    pane.enter("e")
    pane.wait("changed arguments as JSON")
    pane.enter("{no")
    pane.wait("That is no JSON")
    pane.enter('e {"nw": "drei"}')
    pane.wait("Write an object with some of: path, old, new, how")
    pane.enter('e {"new": "drei"}')
    pane.wait(IDLE)
    assert (folder.root / "ws" / "plan.md").read_text() == "one\n2 \u202e\ndrei\n"


@pytest.mark.thorough
def test_ctrl_c_at_a_question_is_a_no_and_the_next_one_is_asked(folder: Folder) -> None:
    folder.script("forget('all')", attempt("announce('me/x', private=False)"), "final_answer('end')")
    pane = folder.start("chat", "forget it")
    pane.wait(r"^allow\? \[y/n/e\]")
    pane.press("C-c")
    pane.wait("denied the run was interrupted")
    pane.wait('repo +"me/x"')
    pane.wait(QUESTION)
    pane.enter("y")
    pane.wait("announce me/x  False")
    pane.wait(IDLE)
    assert folder.ran.read_text() == "announce me/x  False\n"


@pytest.mark.thorough
def test_what_is_allowed_holds_until_it_is_revoked_and_for_one_session(folder: Folder) -> None:
    call = attempt("announce('me/x', private=False)")
    folder.script(call, call, call)
    pane = folder.start("chat", "--yes", "compute")
    pane.wait(READY)
    pane.enter("/approve pubish")
    pane.wait("did you mean 'publish'")
    pane.enter("/approve publish")
    pane.wait("Needs no question in this session: compute, publish")
    pane.enter("tell")
    pane.wait("^ ● your turn · step 1")
    assert folder.ran.read_text().count("\n") == 1
    pane.enter("/approve revoke publish")
    pane.wait("Needs no question now: compute")
    pane.enter("tell again")
    pane.wait(QUESTION)
    pane.enter("n no")
    pane.wait("^ ● your turn · step 2")
    pane.enter("/approve publish")
    pane.enter("/new tell them")
    pane.wait(r"cell-1[\s\S]*" + QUESTION)
    pane.enter("n no")
    pane.wait("^ ● your turn · step 1")
    assert folder.ran.read_text().count("\n") == 1


@pytest.mark.thorough
def test_another_model_goes_on_with_the_variables_and_another_budget_holds(folder: Folder) -> None:
    folder.script("x = 41\nfinal_answer('first')", "final_answer(f'x is {x}')", "print(x)", "print(x)")
    pane = folder.start("chat", "begin")
    pane.wait("first$")
    pane.wait(IDLE)
    pane.enter("/model opnai:y")
    pane.wait("did you mean 'openai'")
    pane.enter("/model openai:y")
    pane.wait("model openai:y from the next turn on")
    pane.enter("go on")
    pane.wait("x is 41")
    pane.wait(IDLE)
    pane.enter("/model")
    pane.wait("^model openai:y$")
    pane.enter("/budget 40 tokens")
    pane.wait("tokens +30 +of 40")
    pane.enter("more")
    pane.wait("The budget of 40 tokens is used up")
    pane.wait(r"The session is over .limit.")
    pane.press("C-d")
    assert pane.ended() == 3


@pytest.mark.thorough
def test_jobs_run_on_when_the_chat_is_left_and_their_ends_are_seen(folder: Folder) -> None:
    go = folder.root / "go"
    script = (
        f"import os, time\nprint('job begins')\nwhile not os.path.exists({str(go)!r}):\n    time.sleep(0.1)\n"
    )
    folder.script(f"job = launch_script({script!r}, name='waiter')\nfinal_answer(job.id)")
    pane = folder.start("chat", "start it")
    pane.wait("^ waiter-1 +[━─]+ running", where="screen")
    pane.wait(IDLE)
    pane.enter("/jobs")
    pane.wait("^waiter-1 +script +running")
    pane.enter("/jobs waiter-1 logs")
    pane.wait("^job begins")
    pane.enter("/jobs waiter-2")
    pane.wait("There is no job 'waiter-2' .did you mean 'waiter-1'")
    pane.press("C-d")
    assert pane.ended() == 0
    pane.wait("1 job runs on: waiter-1. Look at it: ml-intern jobs ")
    again = folder.start("chat", "--resume", folder.sessions[0].name)
    again.wait("It has answered. Say what is next.")
    go.touch()
    again.enter("/jobs waiter-1")
    again.wait("state +(running|succeeded)")
    again.press("C-d")
    assert again.ended() == 0


@pytest.mark.thorough
def test_lines_of_several_rows_words_from_elsewhere_and_a_second_ctrl_c(folder: Folder) -> None:
    folder.script(waiting(folder.root, "never"), waiting(folder.root, "never"), "final_answer('end')")
    pane = folder.start("chat")
    pane.wait(READY)
    pane.type("one \\")
    pane.press("Enter")
    pane.type("two")
    pane.press("M-Enter")
    pane.enter("three")
    pane.wait("^› one\n  two\n  three")
    pane.wait("^ . step 1 runs")
    pane.enter("heard?")
    pane.wait("^› heard[?]")
    pane.type("a draft")
    pane.wait("^› a draft", where="screen")
    pane.press("C-c")
    pane.wait("^›$", where="screen")
    pane.press("C-c")
    pane.wait("Stopping the step")
    pane.wait("heard before its next answer")
    pane.wait("^ . step 2 runs")
    pane.press("C-c")
    pane.wait("Stopping the")
    pane.press("C-c", "C-c")
    pane.wait("Stopping the run")
    pane.wait(r"The session is over .interrupted.")
    pane.press("Up")
    pane.wait("^› heard[?]", where="screen")
    pane.press("C-c", "C-d")
    assert pane.ended() == 130
