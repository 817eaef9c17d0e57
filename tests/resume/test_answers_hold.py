"""What a person was asked and has answered, when the process dies around it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cut_off import ASKED, Cell, Cut, journaled, person, ran

from ml_intern.events import ApprovalNeeded
from ml_intern.prices import Price
from ml_intern.router.approval import Answer


class Person:
    """Answers in order, and keeps what was asked. Nobody may ask more than there are answers."""

    def __init__(self, words: str = "") -> None:
        self._say = person(words) if words else None
        self.asked: list[ApprovalNeeded] = []

    def __call__(self, question: ApprovalNeeded) -> Answer:
        self.asked.append(question)
        assert self._say is not None, f"asked again: {question}"
        return self._say(question)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def calls(cell: Cell, kind: str) -> list[str]:
    return [line["call"] for line in journaled(cell, kind)]


def test_an_open_question_is_asked_again_under_its_name(cut: Cut, state: Path) -> None:
    asked = Person("yes")
    cell = cut("announce", "never", "die", approver=asked, yes=[])
    [before] = journaled(cell, "question")
    assert cell.play("announce").value == "first to me/x" and ran(state) == ["first to me/x"]
    [question] = asked.asked
    assert (question.call, question.arguments) == (before["call"], before["arguments"])
    assert calls(cell, "question") == [question.call] * 2 and calls(cell, "intent") == [question.call]
    assert cell.router.call("look", {"text": "x"}, "cell-2").ok
    assert calls(cell, "intent")[-1] != question.call


@pytest.mark.parametrize(
    "point",
    [
        "intent:after",
        pytest.param("answer:after", marks=pytest.mark.thorough),
        pytest.param("result:before", marks=pytest.mark.thorough),
    ],
)
def test_a_yes_holds(cut: Cut, state: Path, point: str) -> None:
    nobody = Person()
    cell = cut("announce", point, "yes", approver=nobody, yes=[])
    assert cell.play("announce").value == "first to me/x"
    assert nobody.asked == [] and ran(state) == ["first to me/x"] and len(calls(cell, "question")) == 1


def test_a_yes_that_was_not_written_down_is_asked_for_again(cut: Cut, state: Path) -> None:
    asked = Person("no")
    cell = cut("announce", "answer:before", "yes", approver=asked, yes=[])
    assert cell.play("announce").denied and len(asked.asked) == 1 and ran(state) == []


def test_a_yes_holds_where_nobody_is_there_any_more(cut: Cut, state: Path) -> None:
    cell = cut("announce", "answer:after", "yes", yes=[])
    assert cell.play("announce").ok and ran(state) == ["first to me/x"]


EDIT = '{"text": "second", "private": true}'


@pytest.mark.parametrize(
    "point",
    [
        "answer:after",
        pytest.param("intent:after", marks=pytest.mark.thorough),
        pytest.param("result:before", marks=pytest.mark.thorough),
    ],
)
def test_an_edit_of_the_arguments_holds(cut: Cut, state: Path, point: str) -> None:
    nobody = Person()
    cell = cut("announce", point, EDIT, approver=nobody, yes=[])
    assert cell.play("announce").value == "second to me/x" and ran(state) == ["second to me/x"]
    assert nobody.asked == [] and journaled(cell, "intent")[0]["arguments"]["text"] == "second"


def test_a_talk_goes_on_after_its_last_answer(cut: Cut, state: Path) -> None:
    """Dearer than what was shown: the edit led to a second question, which was open when the process died."""
    asked = Person("yes")
    cell = cut("rent", "question#2:after", '{"usd": 3.0}', approver=asked, **ASKED)
    assert cell.play("rent").value == "rent 3.0" and ran(state) == ["rent 3.0"]
    assert [q.arguments["usd"] for q in asked.asked] == [3.0] and len(set(calls(cell, "question"))) == 1


@pytest.mark.parametrize(
    "point",
    [
        "standing:after",
        pytest.param("answer:after", marks=pytest.mark.thorough),
        pytest.param("result:before", marks=pytest.mark.thorough),
    ],
)
def test_always_holds(cut: Cut, state: Path, point: str) -> None:
    nobody = Person()
    cell = cut("announce", point, "always", approver=nobody, yes=[])
    assert cell.play("announce").ok
    again = {"repo": "me/x", "text": "third"}
    assert cell.router.call("announce", again, "cell-2").ok and nobody.asked == []
    assert ran(state) == ["first to me/x", "third to me/x"]


@pytest.mark.parametrize("point", ["refusal:after", pytest.param("answer:after", marks=pytest.mark.thorough)])
def test_a_no_stays_a_no_for_that_call(cut: Cut, state: Path, point: str) -> None:
    asked = Person("yes")
    cell = cut("announce", point, "no", approver=asked, yes=[])
    outcome = cell.play("announce")
    assert outcome.denied and "not today" in outcome.message and asked.asked == []
    assert len(cell.router.denied) == 1
    later = cell.play("announce")  # the same words once more are another call
    assert later.ok and len(asked.asked) == 1 and ran(state) == ["first to me/x"]


def test_who_has_said_no_often_is_not_worn_down_by_a_crash(cut: Cut) -> None:
    asked = Person("yes")
    cell = cut("nagging", "refusal:after", "no|no|no", approver=asked, **ASKED)
    assert cell.play("nagging").denied
    given = {"repo": "me/x", "text": "one more"}
    told = cell.router.call("announce", given, "cell-1").message
    assert "said no 3 times" in told and asked.asked == []
    assert cell.router.call("announce", given, "cell-2").ok, "another cell may ask"


def test_another_price_is_another_question(cut: Cut, state: Path) -> None:
    """The yes spoke of one dollar; the same call costs five now."""
    asked = Person("no")
    cell = cut("rent", "answer:after", "yes", approver=asked, **ASKED)
    dearer = replace(cell.router.specs["rent"], price=lambda ctx, given: Price(usd=5.0))
    cell.router.specs["rent"] = dearer
    assert cell.play("rent").denied and len(asked.asked) == 1 and ran(state) == []


def test_what_was_over_the_budget_may_be_asked_for_later(cut: Cut, state: Path) -> None:
    asked = Person("yes")
    cell = cut("dear", "refusal:after", "yes", approver=asked, **ASKED)
    assert "over the budget" in cell.play("dear").message and asked.asked == []
    cell.budget.caps["usd"] = 100.0
    assert cell.play("dear").ok and ran(state) == ["rent 20.0"] and len(asked.asked) == 1


def test_a_policy_of_today_that_says_no_counts_more_than_a_yes(cut: Cut, state: Path) -> None:
    nobody = Person()
    policy = [{"tool": "announce", "action": "deny", "reason": "not from here"}]
    cell = cut("announce", "answer:after", "yes", approver=nobody, yes=[], policy=policy)
    outcome = cell.play("announce")
    assert outcome.denied and "not from here" in outcome.message and ran(state) == []
