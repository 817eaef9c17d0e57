"""A session plays again without its brain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from resumed_child import Scripted
from support.own_tools import write_tools

from ml_intern.replaying import Replay
from ml_intern.sandbox.bare import BareSandbox
from ml_intern.session import Session
from ml_intern.settings import Settings

CELLS = (
    "import time\nsaid = announce('me/x', 'hello')\nprint(said)",
    "print(time.time_ns())",
    "final_answer(said)",
)


class Plays(Scripted):
    """Three cells, one of them with another result each time."""

    cells = CELLS


@pytest.fixture
def recorded(own_state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The folder of a finished session, and the file in which its tool writes down that it ran."""
    monkeypatch.chdir(tmp_path)
    tools, ran = write_tools(tmp_path)
    settings = Settings.load(state=own_state, tools=[tools], yes=["publish"], sandbox="none")
    session = Session(settings, "do it", Plays(), BareSandbox("test"), None)
    assert play(session)[0].status == "done"
    return session.folder, ran


def play(session: Session) -> tuple[Any, list[str]]:
    told = [getattr(event, "text", "") for event in session.run() if event.kind == "Notice"]
    result = session.result()
    session.close()
    return result, told


def test_recorded_results_do_nothing_a_second_time(recorded: tuple[Path, Path]) -> None:
    folder, ran = recorded
    before = (folder / "session.json").read_bytes()
    result, told = play(Replay.of(folder, False, None))
    assert (result.status, result.answer) == ("done", "announce me/x hello True")
    assert len(ran.read_text().splitlines()) == 1 and "The replay differs in steps 2." in told
    assert result.folder != folder and (folder / "session.json").read_bytes() == before


def test_live_tools_run_again(recorded: tuple[Path, Path]) -> None:
    folder, ran = recorded
    result, _ = play(Replay.of(folder, True, None))
    assert result.answer == "announce me/x hello True" and len(ran.read_text().splitlines()) == 2
