"""What is shown of an earlier session, and what a long one costs."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any

import pytest
from hosted_kit import cell, settings
from support.openai_server import ScriptedServer

from ml_intern.errors import UsageError
from ml_intern.events import (
    BudgetChanged,
    CellFinished,
    CellOutput,
    CellStarted,
    Event,
    JobChanged,
    Notice,
    SessionStarted,
    ToolProgress,
)
from ml_intern.hosting import Hosted, past_events
from ml_intern.hosting.story import PASSING_CHARS, Story
from ml_intern.session.session import Session
from ml_intern.settings import Settings

PASSING = (CellOutput, ToolProgress, JobChanged, BudgetChanged)
ASK = "found = research_many(['what is <a>?'], steps=3)\nfinal_answer(found[0].answer)"
CELLS = ["plan(['one', 'two'])\nprint('x')", "1 / 0", ASK]
READ = ["print(list_files())", "final_answer('it is one')"]


def plain(events: Sequence[Event]) -> list[Event]:
    """Without what passes, and without times."""
    timeless = [replace(event, at=0.0) for event in events if not isinstance(event, PASSING)]
    return [replace(e, seconds=0.0) if hasattr(e, "seconds") else e for e in timeless]  # type: ignore[call-arg]


def played(state: Path) -> tuple[Path, list[Event]]:
    """A session with a sub-agent, a cell that fails, and a plan."""
    with ScriptedServer([cell(code) for code in [*CELLS, *READ]]) as server:
        session = Session.create(Settings.load(**settings(server, state)), "find out")
        try:
            return session.folder, list(session.run())
        finally:
            session.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Event]]:
    return played(tmp_path_factory.mktemp("state"))


def test_they_are_what_was_seen_sub_agents_too(run: tuple[Path, list[Event]]) -> None:
    folder, seen = run
    past = past_events(folder)
    assert {"ResearchStarted", "ResearchFinished", "ToolStarted", "ToolFinished"} <= {e.kind for e in past}
    assert any(e.source == "research:1" and e.kind == "ToolFinished" for e in past)
    assert plain(past) == plain(seen)
    assert all(
        abs(a.at - b.at) < 60
        for a, b in zip(past, [e for e in seen if not isinstance(e, PASSING)], strict=True)
    )


DAMAGE = [
    "not json",
    "[]",
    '{"event": "Notice", "level": 5, "text": []}',
    '{"event": "NoSuchEvent"}',
    '{"event": "Event"}',
    '{"event": ["Notice"]}',
    '{"step": 1e999, "text": "x", "code": 3}',
    '{"step": "x", "text": null, "ids": 7}',
    '{"step": -1, "ids": ["a"], "text": {}}',
    '{"call": [], "tool": 1, "source": "research:1", "effect": 2, "arguments": 3}',
]


@pytest.mark.parametrize(
    "kind",
    ["event", "brain", "cell", "cell_done", "turn", "undo", "intent", "result", "finished", "nonsense"],
)
def test_lines_that_make_no_sense_are_left_out(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "session"
    folder.mkdir()
    with sqlite3.connect(folder / "journal.sqlite") as db:
        db.execute("create table journal (seq integer primary key, at real, kind text, payload text)")
        started = SessionStarted("s", "p", "m", "none", "", "/w").to_json()
        rows: list[tuple[float, str, str]] = [(1.0, "event", json.dumps(started))]
        rows += [(2.0, kind, text) for text in DAMAGE]
        rows += [(3.0, "event", json.dumps(Notice("info", "the last").to_json()))]
        db.executemany("insert into journal (at, kind, payload) values (?, ?, ?)", rows)
    found = past_events(folder)
    assert found[0].kind == "SessionStarted" or kind == "undo"
    assert found[-1] == replace(Notice("info", "the last"), at=found[-1].at)
    for event in found:
        assert isinstance(event.at, float) and json.dumps(event.to_json())


@pytest.mark.parametrize("cut", [0.2, 0.5, 0.9])
def test_half_of_a_journal_is_shown_as_far_as_it_goes(
    run: tuple[Path, list[Event]], tmp_path: Path, cut: float
) -> None:
    folder = tmp_path / "session"
    copytree(run[0], folder, ignore=ignore_patterns("workspace"))
    with sqlite3.connect(folder / "journal.sqlite") as db:
        db.execute("pragma wal_checkpoint(truncate)")
    data = (folder / "journal.sqlite").read_bytes()
    (folder / "journal.sqlite").write_bytes(data[: int(len(data) * cut)])
    try:
        found = Hosted({}, folder).events()
        assert all(isinstance(event, Event) for event in found)
    except UsageError as error:
        assert "\n" not in str(error)


# Long sessions


def test_numbers_stay_and_what_passes_is_let_go() -> None:
    story = Story([SessionStarted("s", "p", "m", "none", "", "/w")])
    notices = {}
    for n in range(20_000):
        story.add(CellOutput(n // 100, "x" * 80))
        story.add(ToolProgress(f"call-{n // 500}", "y" * 50, n / 20_000))
        story.add(JobChanged("job-1", "train", "running", n, 20_000, {"loss": 1.0 / (n + 1), "lr": 1e-4}))
        if n % 100 == 99:
            story.add(CellFinished(n // 100, True, f"seen {n}", 0.1))
        if n % 1000 == 0:
            notices[len(story)] = f"notice {n}"
            story.add(Notice("info", f"notice {n}"))
    events = story.since(0)
    assert len(events) == len(story) == 1 + 60_000 + 200 + 20
    assert all(
        isinstance(events[number], Notice) and events[number].text == text for number, text in notices.items()
    )
    texts = sum(
        len(e.text) if isinstance(e, CellOutput) else len(e.message)
        for e in events
        if isinstance(e, CellOutput | ToolProgress)
    )
    assert texts <= PASSING_CHARS
    distinct = {id(event) for event in events}
    assert (
        sum(sys.getsizeof(e) for e in {id(e): e for e in events}.values()) < 4 << 20 and len(distinct) < 5_000
    )
    assert isinstance(events[-2], JobChanged | CellFinished) and events[-3:] != []
    assert [e.step for e in events if isinstance(e, CellOutput)] == [n // 100 for n in range(20_000)]


def test_of_one_cell_so_much_is_kept_and_the_next_begins_anew() -> None:
    story = Story()
    assert story.add(CellStarted(1, "code"))
    assert all(story.add(CellOutput(1, "x" * 1000)) for _ in range(200)) and not story.add(CellOutput(1, "x"))
    assert story.add(CellOutput(1, "x", source="research:1")), "each has its own"
    story.add(CellFinished(1, True, "", 1.0))
    assert story.add(CellOutput(2, "x"))


def test_one_session_started_is_enough() -> None:
    story = Story()
    start: Any = SessionStarted("s", "p", "m", "none", "", "/w")
    assert story.add(start) and not story.add(start) and len(story) == 1
