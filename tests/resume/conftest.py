from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from chaos import done, start, told
from cut_off import Cell, Cut, cut_off


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What comes of the run that nobody disturbs, how long it takes, and its lines in the journal."""
    state = tmp_path_factory.mktemp("whole")
    began = time.monotonic()
    found = told(start(state))
    assert found is not None and found["status"] == "done", found
    [journal] = state.glob("sessions/*/journal.sqlite")
    lines = sqlite3.connect(journal).execute("select count(*) from journal").fetchone()[0]
    return {**found, "took": time.monotonic() - began, "lines": lines, "works": len(done(state))}


@pytest.fixture
def cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cut]:
    """Plays a cell in a process that is killed; then the session as the next process finds it."""
    opened: list[Cell] = []
    monkeypatch.chdir(tmp_path)
    state = tmp_path / "state"
    state.mkdir()

    def play(name: str, point: str, asked: str = "", **settings: Any) -> Cell:
        cut_off(state, name, point, asked)
        opened.append(Cell(state, **settings))
        return opened[-1]

    yield play
    for cell in opened:
        cell.close()
