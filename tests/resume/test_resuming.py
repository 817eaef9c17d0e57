"""A session goes on: what is taken from the journal, what runs again, what is asked once more."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ml_intern.brains.base import Brain, Ending, answer, role_of
from ml_intern.journal.journal import Journal
from ml_intern.router.recorded import Recorded
from ml_intern.sandbox.bare import BareSandbox
from ml_intern.session.lock import SessionBusy
from ml_intern.session.resuming import Damaged
from ml_intern.session.session import Session
from ml_intern.settings import Settings

Begin = Callable[..., Session]


class Scripted(Brain):
    """Answers with the cell of the step."""

    label = "scripted"

    def __init__(self, *cells: str) -> None:
        super().__init__()
        self.cells = cells
        self.asked = 0

    def generate(self, messages: list[Any], **_: Any) -> Any:
        self.asked += 1
        step = sum(role_of(m) == "assistant" for m in messages)
        return answer(f"Next.\n<cell>\n{self.cells[step]}\n</cell>", Ending("stop"), 10, 10)


@pytest.fixture
def begin(own_state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Begin:
    """A session over cells; with a folder, one that goes on."""
    monkeypatch.chdir(tmp_path)

    def make(*cells: str, folder: Path | None = None, **settings: Any) -> Session:
        given = Settings.load(**{"state": own_state, **settings})
        return Session(given, "do it", Scripted(*cells), BareSandbox("test"), None, folder=folder)

    return make


def finish(session: Session) -> tuple[Any, list[str]]:
    told = [getattr(event, "text", "") for event in session.run() if event.kind == "Notice"]
    result = session.result()
    session.close()
    return result, told


def asked(session: Session) -> int:
    count: int = session.brain.asked  # type: ignore[attr-defined]
    return count


@pytest.mark.parametrize("files", [10_000, 0])
def test_a_limit_is_raised_and_the_run_goes_on(begin: Begin, files: int) -> None:
    cells = (
        "x = [1]\nopen('log', 'a').write('a')",
        "x.append(2)",
        "final_answer(f'{x} {open(\"log\").read()}')",
    )
    first = begin(*cells, max_steps=2, snapshot_files=files)
    result, _ = finish(first)
    assert result.status == "limit"
    again = begin(*cells, max_steps=5, folder=first.folder, snapshot_files=files)
    result, told = finish(again)
    assert (result.status, result.answer, result.steps) == ("done", "[1, 2] a", 3)
    assert asked(again) == 1 and result.tokens == {"input": 30, "output": 30}
    assert result.budget["tokens"]["spent"] == 60 and result.errors == []
    assert not (first.folder / "workspace-kept").exists() and not any("another result" in t for t in told)


def test_what_differs_when_run_again_is_told(begin: Begin) -> None:
    cells = ("import time\nprint(time.time_ns())", "y = 1", "final_answer(y)")
    first = begin(*cells, max_steps=2)
    finish(first)
    _, told = finish(begin(*cells, folder=first.folder))
    assert any("Step 1 gave another result" in line for line in told)


def test_a_cell_that_killed_its_kernel_is_not_run_again(begin: Begin) -> None:
    cells = ("x = 1", "import os\nos._exit(3)", "y = 2", "final_answer(y)")
    first = begin(*cells, max_steps=3)
    finish(first)
    result, told = finish(begin(*cells, folder=first.folder))
    assert result.answer == "2" and any("2 finished cells" in line for line in told)


def test_a_finished_session_gives_its_result(begin: Begin) -> None:
    first = begin("final_answer(7)")
    before, _ = finish(first)
    again = begin("final_answer(8)", folder=first.folder)
    result, told = finish(again)
    assert (result.answer, result.status, result.tokens) == ("7", "done", before.tokens)
    assert asked(again) == 0 and again.kernel.alive is False and "end already" in told[0]


def test_a_second_process_is_refused(begin: Begin) -> None:
    first = begin("final_answer(1)")
    with pytest.raises(SessionBusy, match=str(os.getpid())):
        begin("final_answer(1)", folder=first.folder)
    finish(first)


def test_a_damaged_journal_is_left_as_it_is(begin: Begin) -> None:
    first = begin("x = 1", "final_answer(x)")
    finish(first)
    path = first.folder / "journal.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("update journal set payload = '{half' where kind = 'finished'")
    connection.commit()
    connection.close()
    with pytest.raises(Damaged, match="damaged"):
        begin("final_answer(1)", folder=first.folder)
    assert "x = 1" in (first.folder / "rescued.md").read_text()
    with pytest.raises(Damaged):  # the lock was given back
        begin("final_answer(1)", folder=first.folder)


def test_the_card_keeps_settings_without_keys(begin: Begin) -> None:
    session = begin("final_answer(1)", api_key="sk-very-private", max_steps=7)
    finish(session)
    card = (session.folder / "session.json").read_text()
    assert "very-private" not in card and json.loads(card)["settings"]["max_steps"] == 7


def test_a_card_that_does_not_say_when_is_gone_on_with(begin: Begin) -> None:
    first = begin("final_answer(7)")
    finish(first)
    path = first.folder / "session.json"
    path.write_text(json.dumps({"prompt": json.loads(path.read_text())["prompt"]}))
    result, _ = finish(begin("final_answer(8)", folder=first.folder))
    assert result.answer == "7" and json.loads(path.read_text())["created"]


def test_standing_approvals_and_errors_come_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    journal.append("standing", {"tool": "announce", "rule": "r", "arguments": [], "price": {}})
    journal.append("event", {"event": "Notice", "level": "error", "text": "bad"})
    journal.append("intent", {"call": "call-4", "key": "k", "tool": "announce", "arguments": {}})
    found = Recorded.of(journal.entries())
    assert [row["tool"] for row in found.always] == ["announce"] and found.count == 4
    assert list(found.open) == ["k"] and found.events[0]["text"] == "bad"
    journal.append("result", {"call": "call-4", "ok": True, "value": 1, "budget": {"spent": {}}})
    found = Recorded.of(journal.entries())
    assert not found.open and found.calls["k"].value == 1 and found.budget == {"spent": {}}


def test_an_interrupted_cell_runs_again(begin: Begin, tmp_path: Path) -> None:
    flag = tmp_path / "second"
    nap = f"import os, time\nos.path.exists({str(flag)!r}) or time.sleep(60)\nx += 1"
    cells = ("x = 1", nap, "final_answer(x)")
    first = begin(*cells)
    for event in first.run():
        if event.kind == "CellStarted" and getattr(event, "step", 0) == 2:
            break
    first.close()  # interrupts until the cell has heard it
    assert first.finished is not None and first.finished.exit_code == 130
    flag.touch()
    result, _ = finish(begin(*cells, folder=first.folder))
    assert (result.status, result.answer) == ("done", "2")


def test_a_cell_that_was_cut_finds_its_files_as_they_were(begin: Begin, tmp_path: Path) -> None:
    flag = tmp_path / "second"
    nap = (
        "open('log', 'a').write('two ')\nwrite_file('made', 'by a tool')\nopen('made', 'a').write('!')\n"
        f"import os, time\nos.path.exists({str(flag)!r}) or time.sleep(60)"
    )
    cells = ("open('log', 'w').write('one ')", nap, "final_answer(open('log').read() + open('made').read())")
    first = begin(*cells)
    for event in first.run():
        if event.kind == "ToolFinished":
            break
    first.close()
    flag.touch()
    result, told = finish(begin(*cells, folder=first.folder))
    assert result.answer == "one two by a tool!" and any("put back for step 2" in line for line in told)


def test_finished_cells_run_again_from_the_beginning(begin: Begin) -> None:
    cells = (
        "write_file('setting', 'first')",
        "import os\nseen = open('setting').read()\nfresh = not os.path.exists('mark')\nopen('mark', 'w')",
        "write_file('setting', 'second')",
        "final_answer(f'{seen} {fresh} {open(\"setting\").read()} {os.listdir()}')",
    )
    first = begin(*cells, max_steps=3)
    finish(first)
    result, told = finish(begin(*cells, folder=first.folder))
    assert result.answer.startswith("first True second") and "mark" in result.answer
    assert not any("another result" in line for line in told)
