"""Every call takes the same way: validate, gate, reserve, journal, run, journal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.gated import CALLS, build

from ml_intern.events import ApprovalNeeded
from ml_intern.prices import Price
from ml_intern.router.approval import Answer
from ml_intern.router.router import Router

Make = Callable[..., Router]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return lambda *given, **more: build(tmp_path, *given, **more)


def kinds(router: Router) -> list[str]:
    return [entry.kind for entry in router.journal.entries()]


def test_a_call_is_validated_run_and_journaled(make: Make) -> None:
    router = make()
    assert router.call("echo", {"text": "a", "times": 2}).value == {"said": "aa"}
    assert kinds(router) == ["decision", "intent", "result"]
    assert [e.kind for e in router.services.events] == ["ToolStarted", "ToolFinished"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("ehco", {"text": "a"}, "did you mean 'echo'"),
        ("echo", {"txt": "a"}, "did you mean 'text'"),
        ("echo", {"text": "a", "kind": "lod"}, "did you mean 'loud'"),
        ("echo", {"text": "a", "times": "many"}, "times"),
        ("echo", {}, "missing argument 'text'"),
    ],
)
def test_wrong_calls_are_told_and_never_run(make: Make, name: str, given: dict[str, Any], told: str) -> None:
    router = make()
    outcome = router.call(name, given)
    assert not outcome.ok and told in outcome.message
    assert kinds(router) == ["refusal"] and CALLS == []


def test_headless_what_would_ask_is_denied_and_the_reason_told(make: Make) -> None:
    router = make()
    outcome = router.call("shout", {"text": "hi"})
    assert outcome.denied and "--yes publish" in outcome.message and CALLS == []
    assert router.denied


def test_private_publishing_needs_no_question(make: Make) -> None:
    assert make().call("shout", {"text": "hi", "private": True}).ok


def test_a_person_may_say_no_with_a_reason_edit_or_allow_always(make: Make) -> None:
    asked: list[ApprovalNeeded] = []
    answers = iter(
        [
            Answer(False, "wrong name"),
            Answer(True, arguments={"text": "edited"}),
            Answer(True),
            Answer(True, always=True),
        ]
    )

    def approver(question: ApprovalNeeded) -> Answer:
        asked.append(question)
        return next(answers)

    router = make(approver=approver)
    assert "wrong name" in router.call("shout", {"text": "a"}).message
    assert router.call("shout", {"text": "b"}).value == "edited"
    assert router.call("shout", {"text": "c"}).ok
    assert router.call("shout", {"text": "c"}).ok
    assert [q.arguments["text"] for q in asked] == ["a", "b", "edited", "c"]


def test_an_approval_does_not_lift_the_ceiling(make: Make) -> None:
    router = make(budget="5 usd", approver=lambda question: Answer(True))
    assert router.call("spend", {"usd": 4.5}).ok
    outcome = router.call("spend", {"usd": 1.25})
    assert outcome.denied and "0.5 of 5 left" in outcome.message
    assert router.budget.used("usd") == 4.5
    assert router.call("spend", {"usd": 0.5}).ok


def test_jobs_are_counted(make: Make) -> None:
    router = make(budget="1 jobs")
    assert router.call("spend", {"usd": 0}).ok
    assert router.call("spend", {"usd": 0}).denied


@pytest.mark.parametrize(("how", "tries"), [("flaky", 3), ("limited", 2)])
def test_what_passes_by_itself_is_tried_again(
    make: Make, how: str, tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml_intern.retry.random.uniform", lambda low, high: 0.0)
    assert make().call("fail", {"how": how}).value == "fine"
    assert CALLS.count(how) == tries


@pytest.mark.parametrize("how", ["tool", "client", "bug"])
def test_what_is_final_is_tried_once(make: Make, how: str) -> None:
    outcome = make().call("fail", {"how": how})
    assert not outcome.ok and CALLS.count(how) == 1


def test_a_tools_error_keeps_its_hint(make: Make) -> None:
    outcome = make().call("fail", {"how": "tool"})
    assert (outcome.message, outcome.hint) == ("The file is empty.", "Name another.")


def test_the_key_is_the_same_when_a_cell_runs_again(make: Make) -> None:
    first = make()
    first.call("echo", {"text": "a"}, source="cell-1")
    first.call("echo", {"text": "a"}, source="cell-1")
    keys = list(CALLS)
    CALLS.clear()
    again = make()
    again.call("echo", {"text": "a"}, source="cell-1")
    again.call("echo", {"text": "a"}, source="cell-1")
    assert keys == CALLS and len(set(keys)) == 2


def test_a_failed_call_costs_nothing(make: Make) -> None:
    router = make(budget="5 usd", policy=[{"tool": "spend", "action": "deny"}])
    assert router.call("spend", {"usd": 1}).denied
    assert router.budget.used("usd") == 0


def test_what_stays_away_is_told_with_what_to_do(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_intern.retry.random.uniform", lambda low, high: 0.0)
    outcome = make(tool_retries=1).call("fail", {"how": "flaky"})
    assert "no answer in 2 tries: refused" in outcome.message and "kept" in outcome.hint


def test_who_loses_a_race_for_the_rest_is_asked(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[ApprovalNeeded] = []

    def approver(question: ApprovalNeeded) -> Answer:
        asked.append(question)
        return Answer(True, arguments={"usd": 1.5})

    router = make(budget="5 usd", approver=approver)
    decide = router.gate.decide

    def decide_then_lose(*given: Any) -> Any:
        decision = decide(*given)
        router.budget.reserve("another call", Price(usd=3))
        return decision

    monkeypatch.setattr(router.gate, "decide", decide_then_lose)
    assert router.call("spend", {"usd": 3}).ok
    assert "2 of 5 left" in asked[0].reason and router.budget.used("usd") == 4.5


def test_nothing_starts_once_the_run_is_being_stopped(make: Make) -> None:
    router = make()
    router.interrupted.set()
    assert "did not start" in router.call("echo", {"text": "a"}).message and CALLS == []


def test_a_refused_call_does_not_fill_the_journal(make: Make) -> None:
    router = make()
    assert not router.call("echo", {"txt": "x" * 1_000_000}).ok
    assert "longer than" in router.call("echo", {"text": "x" * 5_000_000}).message
    assert (router.journal.path.stat().st_size) < 500_000
