"""A test split that other sessions of the state folder have scored: told, and the same weights count nothing."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from support.answering_jobs import AnsweringJobs, make_model

from ml_intern.evals.opened import earlier
from ml_intern.evals.store import Evals
from ml_intern.hub.card import CardFacts, model_card
from ml_intern.hub.claims import unresolved
from ml_intern.ledger import Ledger
from ml_intern.reports import read_story, report_markdown
from ml_intern.settings import Settings

ROWS = [{"prompt": f"{i}+{i}=", "answer": str(2 * i), "split": "dev" if i % 2 else "test"} for i in range(80)]


def session(state: Path, name: str, eval: str = "sums", rows: Any = ROWS) -> Evals:
    folder = state / "sessions" / name
    folder.mkdir(parents=True)
    jobs: Any = AnsweringJobs(folder / "evals" / "jobs")
    found = Evals(folder / "evals", jobs, Ledger(folder / "ledger.sqlite"), Settings(state=state))
    found.register(eval, rows, ["exact_match"])
    return found


def opened(evals: Evals, model: Path) -> list[str]:
    row = evals.ledger.start("it helps", "a change")
    (scores,) = evals.score_test(row.id, model)
    return [w for w in scores.warnings if "test split" in w]


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    return [make_model(tmp_path / f"m{i}", 0.5 + i / 10, i) for i in range(3)]


def told(eval: str, often: str) -> list[str]:
    return [
        f"The test split of {eval} was scored {often} before in other sessions of this state folder, so its "
        "number may be a little too good."
    ]


def test_each_further_session_is_told_how_many_there_were(own_state: Path, models: list[Path]) -> None:
    assert opened(session(own_state, "one"), models[0]) == []
    assert opened(session(own_state, "two", "renamed"), models[1]) == told("renamed", "once")
    three = session(own_state, "three")
    assert opened(three, models[2]) == told("sums", "2 times")
    # What comes later says nothing of what was before.
    assert earlier(own_state, "one", three.list()) == {}
    assert [*earlier(own_state, "three", three.list()).values()] == told("sums", "2 times")


def test_the_same_weights_again_count_nothing(own_state: Path, models: list[Path]) -> None:
    for name in ("one", "two", "three"):
        assert opened(session(own_state, name), models[0]) == []


def test_asked_again_a_session_tells_the_same(own_state: Path, models: list[Path]) -> None:
    opened(session(own_state, "one"), models[0])
    two = session(own_state, "two")
    assert opened(two, models[1]) == told("sums", "once")
    (again,) = two.score_test("exp-1", models[1])
    assert told("sums", "once")[0] in again.warnings
    assert len((own_state / "opened.jsonl").read_text().splitlines()) == 2


def test_other_items_are_another_evaluation(own_state: Path, models: list[Path]) -> None:
    opened(session(own_state, "one"), models[0])
    assert opened(session(own_state, "two", rows=ROWS[:60]), models[1]) == []


def test_a_line_that_a_crash_has_cut_off_spoils_no_other(own_state: Path, models: list[Path]) -> None:
    opened(session(own_state, "one"), models[0])
    with (own_state / "opened.jsonl").open("a") as file:
        file.write('{"items": "ab')
    assert opened(session(own_state, "two"), models[1]) == told("sums", "once")
    assert opened(session(own_state, "three"), models[2]) == told("sums", "2 times")


def test_sessions_that_open_at_one_time_lose_no_line(own_state: Path, models: list[Path]) -> None:
    sessions = [session(own_state, str(i)) for i in range(6)]
    threads = [threading.Thread(target=opened, args=(s, models[i % 3])) for i, s in enumerate(sessions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len((own_state / "opened.jsonl").read_text().splitlines()) == len(sessions)


def test_no_score_stands_there(own_state: Path, models: list[Path]) -> None:
    opened(session(own_state, "one"), models[0])
    assert set(json.loads((own_state / "opened.jsonl").read_text())) == {
        "items",
        "session",
        "weights",
        "at",
    }


def test_the_report_and_the_card_say_so(own_state: Path, models: list[Path]) -> None:
    for name, model in zip(("one", "two"), models, strict=False):
        opened(session(own_state, name), model)
    three = session(own_state, "three")
    (sentence,) = opened(three, models[2])
    assert f"- {sentence}" in report_markdown(read_story(own_state / "sessions" / "three"))
    assert "of this state folder" not in report_markdown(read_story(own_state / "sessions" / "one"))
    facts = CardFacts(repo="a/b", session="three", parameters=1, opened=[sentence])
    card = model_card(three.ledger.get("exp-1"), three.ledger, facts)
    assert f"- {sentence}" in card and not unresolved(card, three.ledger, facts.numbers())
