"""Questions of the gate: what they show, what an answer does, what it does not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.gated import CALLS, build, lines, push

from ml_intern.errors import ToolError
from ml_intern.events import ApprovalAnswered, ApprovalNeeded
from ml_intern.prices import Price
from ml_intern.router.approval import Answer, Answers, pending, within
from ml_intern.router.gate import Standing
from ml_intern.router.router import Router
from ml_intern.tooling import ToolSpec, tool

Make = Callable[..., Router]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return lambda *given, **more: build(tmp_path, *given, **more)


class Person:
    """Answers in order; remembers what was asked, and how many questions were open at one time."""

    def __init__(self, *answers: Any) -> None:
        self.answers: Iterator[Any] = iter(answers)
        self.asked: list[ApprovalNeeded] = []
        self.open = self.most = 0

    def __call__(self, question: ApprovalNeeded) -> Answer:
        self.open += 1
        self.most = max(self.most, self.open)
        self.asked.append(question)
        answer = next(self.answers)
        if callable(answer):
            answer = answer()
        self.open -= 1
        assert isinstance(answer, Answer)
        return answer


YES, NO = Answer(True), Answer(False, "not now")


def edit(**changed: Any) -> Answer:
    return Answer(True, arguments=changed)


def test_a_question_shows_what_runs_its_price_and_where_it_comes_from(make: Make) -> None:
    person = Person(NO)
    make(budget="1 usd", approver=person).call("spend", {"usd": 3, "hours": 2}, source="cell-4")
    [asked] = person.asked
    assert asked.arguments == {"usd": 3, "hours": 2}
    assert (asked.price, asked.source, asked.effect) == ("3.00 usd, 2 gpu-hours", "cell-4", "compute")
    assert "needs 3 usd, 1 of 1 left" in asked.reason


def test_a_script_that_wants_the_network_says_what_it_can_reach(make: Make) -> None:
    person = Person(NO)
    router = make(approver=person)
    assert router.call("script", {"code": "import os\nos.getcwd()"}).ok
    assert router.call("script", {"code": "import os\nos.getcwd()", "network": True}).denied
    [asked] = person.asked
    assert "internet" in asked.reach and "loopback" in asked.reach and asked.yes == "network"
    assert asked.arguments["code"] == "import os\nos.getcwd()"


@pytest.mark.parametrize(("private", "seen"), [(True, "private"), (False, "public: everybody can read it")])
def test_a_publication_says_which_hub_which_account_and_who_sees_it(
    make: Make, private: bool, seen: str
) -> None:
    @tool(effect="publish", needs=["hub:write"])
    def to_hub(ctx: Any, repo: str, private: bool = True) -> str:
        """Publish."""
        return repo

    person = Person(NO)
    router = make(approver=person, tools=[to_hub], policy=[{"tool": "to_hub", "action": "ask"}])
    hub: Any = SimpleNamespace(embedded=False, user="ann", label="https://hub.example")
    router.services.hub = hub
    router.call("to_hub", {"repo": "ann/x", "private": private})
    assert person.asked[0].reach == f"ann/x on https://hub.example, {seen}, as ann"

    class Away(SimpleNamespace):
        @property
        def user(self) -> str:
            raise ToolError("The Hub is away.")

    away: Any = Away(embedded=False, label="https://hub.example")
    router.services.hub = away
    router.desk.approver = person = Person(NO)
    assert router.call("to_hub", {"repo": "ann/x"}).denied
    assert "could not be asked" in person.asked[0].reach


def test_credentials_are_hidden_from_the_question_and_reach_no_tool(make: Make) -> None:
    secret = "hf_" + "a" * 34
    person = Person(edit(text="say [hidden]", private=False), YES)
    router = make(approver=person)
    assert router.call("shout", {"text": f"say {secret}"}).ok
    assert person.asked[0].arguments["text"] == "say [hidden]" and secret not in str(person.asked)
    assert CALLS == ["say [hidden]"]
    assert secret.encode() not in router.journal.path.read_bytes()


# Edits


def test_an_edit_is_validated_and_a_slip_is_asked_about_again(make: Make) -> None:
    person = Person(edit(txt="x"), edit(text="right"), YES)
    router = make(approver=person)
    assert router.call("shout", {"text": "wrong"}).value == "right"
    assert "did you mean 'text'" in person.asked[1].reason and person.asked[1].arguments["text"] == "wrong"


def test_an_edit_without_end_ends(make: Make) -> None:
    router = make(approver=lambda question: edit(txt="x"))
    outcome = router.call("shout", {"text": "a"})
    assert outcome.denied and "did you mean 'text'" in outcome.message and CALLS == []


def test_an_edit_to_something_smaller_runs_without_a_further_question(make: Make) -> None:
    person = Person(edit(usd=0.5))
    router = make(budget="1 usd", approver=person)
    assert router.call("spend", {"usd": 3}).ok
    assert CALLS == [0.5] and router.budget.used("usd") == 0.5


def test_an_edit_that_costs_more_is_asked_about_again(make: Make) -> None:
    rule = {"tool": "spend", "above_usd": 1, "action": "ask"}
    person = Person(edit(usd=3), NO)
    router = make(budget="9 usd", approver=person, policy=[rule])
    assert "not now" in router.call("spend", {"usd": 2}).message
    assert [q.price for q in person.asked] == ["2.00 usd", "3.00 usd"] and CALLS == []
    assert router.budget.used("usd") == 0


def test_an_edit_to_public_is_asked_about_again(make: Make) -> None:
    """A rule that asks about every publication: a yes to a private one is none to a public one."""
    rule = {"tool": "push", "action": "ask"}
    person = Person(edit(private=False), NO)
    router = make(approver=person, policy=[rule])
    assert router.call("push", {"repo": "me/x"}).denied and CALLS == []
    assert [q.arguments["private"] for q in person.asked] == [True, False]
    again = Person(edit(repo="you/x"), YES)
    router.desk.approver = again
    assert router.call("push", {"repo": "me/x"}).ok
    assert [q.arguments["repo"] for q in again.asked] == ["me/x", "you/x"]


def test_an_edit_that_opens_the_network_is_asked_about(make: Make) -> None:
    rule = {"tool": "script", "action": "ask"}
    person = Person(edit(network=True), NO)
    router = make(approver=person, policy=[rule, {"action": "deny"}])
    assert router.call("script", {"code": "x"}).denied and CALLS == []
    assert "internet" in person.asked[1].reach


def test_an_edit_into_what_is_denied_is_denied(make: Make) -> None:
    policy = [{"tool": "push", "where": {"repo": "evil/*"}, "action": "deny", "reason": "not there"}]
    router = make(approver=lambda question: edit(repo="evil/x"), policy=policy)
    outcome = router.call("push", {"repo": "me/x", "private": False})
    assert "not there" in outcome.message and CALLS == []


def test_a_yes_lifts_no_ceiling_and_the_call_can_be_asked_again(make: Make) -> None:
    router = make(budget="5 usd", approver=lambda question: YES)
    assert router.call("spend", {"usd": 4.5}).ok
    for _ in range(2):
        outcome = router.call("spend", {"usd": 1.25})
        assert outcome.denied and "0.5 of 5 left" in outcome.message
        assert router.budget.used("usd") == 4.5
    assert router.call("spend", {"usd": 0.5}).ok


# Always


def always_of(router: Router, name: str, given: dict[str, Any]) -> tuple[str, str]:
    """What a question says about "always"."""
    seen = Person(NO)
    router.desk.approver = seen
    router.call(name, given)
    return seen.asked[0].always, seen.asked[0].once


def asks(router: Router, name: str, given: dict[str, Any]) -> bool:
    seen: list[ApprovalNeeded] = []

    def look(question: ApprovalNeeded) -> Answer:
        seen.append(question)
        return NO

    router.desk.approver = look
    return not router.call(name, given).ok and bool(seen)


def test_always_is_for_one_repository_as_it_was_seen(make: Make) -> None:
    router = make(approver=Person(Answer(True, always=True)))
    given = {"repo": "me/x", "private": False}
    assert router.call("push", given).ok
    assert not asks(router, "push", given)
    assert not asks(router, "push", {**given, "files": ["other"]})
    assert asks(router, "push", {"repo": "me/y", "private": False})
    assert asks(router, "shout", {"text": "x"})
    assert always_of(router, "push", {"repo": "me/z", "private": False}) == (
        "push with private = False, repo = me/z",
        "",
    )


def test_always_for_a_tool_that_names_no_target_is_for_the_same_words(make: Make) -> None:
    router = make(approver=Person(Answer(True, always=True)))
    assert router.call("shout", {"text": "hi"}).ok
    assert not asks(router, "shout", {"text": "hi"})
    assert asks(router, "shout", {"text": "ho"})


def test_always_says_its_scope_in_a_line(make: Make) -> None:
    said, _ = always_of(make(), "shout", {"text": "long\n" * 10_000})
    assert len(said) < 200 and "\n" not in said


def test_an_always_never_opens_the_network_to_another_script(make: Make) -> None:
    router = make(approver=Person(Answer(True, always=True)))
    assert router.call("script", {"code": "a", "network": True}).ok
    assert asks(router, "script", {"code": "b", "network": True})
    assert asks(router, "wipe", {"what": "x"})
    other = make(approver=Person(Answer(True, always=True)))
    other.call("push", {"repo": "me/x", "private": False})
    assert asks(other, "script", {"code": "b", "network": True})


def test_an_always_is_kept_and_holds_again_in_a_session_that_goes_on(make: Make, tmp_path: Path) -> None:
    router = make(approver=Person(Answer(True, always=True)))
    assert router.call("push", {"repo": "me/x", "private": False}).ok
    [kept] = lines(router, "standing")
    (tmp_path / "again").mkdir()
    again = build(tmp_path / "again", policy=[{"tool": "other", "action": "deny"}])
    assert again.call("push", {"repo": "me/x", "private": False}).denied
    again.gate.allow_always(Standing.from_json(kept))
    assert again.call("push", {"repo": "me/x", "private": False}).ok
    assert again.call("push", {"repo": "me/y", "private": False}).denied


def test_always_has_the_price_that_was_seen(make: Make) -> None:
    rule = {"tool": "spend", "above_usd": 1, "action": "ask"}
    router = make(policy=[rule], approver=Person(Answer(True, always=True)))
    assert router.call("spend", {"usd": 2}).ok
    assert not asks(router, "spend", {"usd": 1.5})
    assert asks(router, "spend", {"usd": 2.5})
    assert always_of(router, "spend", {"usd": 4})[0] == "spend, up to 4 usd a call"


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("wipe", {"what": "x"}, "cannot be undone"),
        ("spend", {"usd": 9}, "above the budget"),
        ("spend", {"usd": None}, "not known"),
    ],
)
def test_always_never_covers_what_is_grave(make: Make, name: str, given: dict[str, Any], told: str) -> None:
    router = make(budget="5 usd", approver=lambda question: Answer(True, always=True))
    router.call(name, given)
    if router.budget.used("usd"):  # what was not known took all that was left
        router.budget.spent["usd"] = 0
    assert asks(router, name, given)
    always, once = always_of(router, name, given)
    assert not always and told in once


# Nobody, nonsense, delay


@pytest.mark.parametrize(
    ("approver", "told"),
    [
        (lambda question: 1 / 0, "the approver failed: ZeroDivisionError: division by zero"),
        (lambda question: "yes", "answered with str, not with an Answer"),
        (lambda question: None, "answered with NoneType"),
        (lambda question: exec("raise SystemExit(3)"), "the approver failed: SystemExit"),
        (within(lambda question: time.sleep(5), 0.2), "nobody answered within 0.2 s"),  # type: ignore[arg-type,return-value]
        (Answers(timeout_s=0.2), "nobody answered within 0.2 s"),
    ],
)
def test_an_approver_that_fails_has_said_no(make: Make, approver: Any, told: str) -> None:
    router = make(approver=approver)
    outcome = router.call("shout", {"text": "hi"})
    assert outcome.denied and told in outcome.message and CALLS == []
    assert lines(router, "answer")[0]["by"] == "nobody"
    assert router.call("echo", {"text": "on"}).ok


def test_a_bool_is_an_answer(make: Make) -> None:
    assert make(approver=lambda question: True).call("shout", {"text": "hi"}).ok
    assert make(approver=lambda question: False).call("shout", {"text": "hi"}).denied


def test_headless_says_which_word_would_have_allowed_it(make: Make) -> None:
    router = make(budget="1 usd")
    assert "--yes destroy would allow it" in router.call("wipe", {"what": "x"}).message
    assert "--yes network would allow it" in router.call("script", {"code": "x", "network": True}).message
    over = router.call("spend", {"usd": 3}).message
    assert "needs 3 usd, 1 of 1 left" in over and "--yes" not in over


def test_questions_come_one_after_the_other_each_once(make: Make) -> None:
    slow = [lambda: time.sleep(0.05) or YES] * 8
    person = Person(*slow)
    router = make(approver=person)
    calls = [threading.Thread(target=router.call, args=("shout", {"text": f"t{n}"})) for n in range(8)]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    assert person.most == 1 and len(person.asked) == 8
    assert {q.call for q in person.asked} == {f"call-{n}" for n in range(1, 9)}
    assert sorted(CALLS) == [f"t{n}" for n in range(8)]
    shown = [e.kind for e in router.services.events if "Approval" in e.kind]  # type: ignore[attr-defined]
    assert shown == ["ApprovalNeeded", "ApprovalAnswered"] * 8


def test_an_always_answers_those_who_wait_behind_it(make: Make) -> None:
    person = Person(lambda: time.sleep(0.3) or Answer(True, always=True))
    router = make(approver=person)
    given = {"repo": "me/x", "private": False}
    calls = [threading.Thread(target=router.call, args=("push", given)) for _ in range(5)]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    assert len(person.asked) == 1 and len(CALLS) == 5


def test_an_interrupt_ends_an_open_question_and_those_behind_it(make: Make) -> None:
    router = make(approver=Answers())
    outcomes: list[Any] = []
    calls = [
        threading.Thread(target=lambda: outcomes.append(router.call("shout", {"text": "x"})))
        for _ in range(3)
    ]
    for call in calls:
        call.start()
    while not lines(router, "question"):
        time.sleep(0.01)
    began = time.monotonic()
    router.interrupted.set()
    for call in calls:
        call.join(100)
    assert time.monotonic() - began < 100 and len(outcomes) == 3 and CALLS == []
    assert not any(o.ok or o.denied for o in outcomes), "stopped is not denied"


def test_a_cell_that_asks_in_a_loop_does_not_wear_a_person_down(make: Make) -> None:
    person = Person(*[NO] * 4)
    router = make(approver=person)
    for n in range(200):
        assert router.call("wipe", {"what": str(n)}, source="cell-1").denied
    assert len(person.asked) == 3
    assert router.call("wipe", {"what": "later"}, source="cell-2").denied and len(person.asked) == 4


# What is kept


def test_questions_and_answers_are_kept_with_who_answered(make: Make) -> None:
    router = make(approver=Person(Answer(True, always=True), NO))
    router.call("push", {"repo": "me/x", "private": False})
    router.call("shout", {"text": "x"})
    router.desk.approver = None
    router.call("wipe", {"what": "x"})
    first, second, third = lines(router, "answer")
    assert (first["allowed"], first["by"], first["always"]) == (
        True,
        "person",
        "push with private = False, repo = me/x",
    )
    assert (second["allowed"], second["by"], second["reason"]) == (False, "person", "not now")
    assert third["by"] == "nobody"
    told = [e for e in router.services.events if isinstance(e, ApprovalAnswered)]  # type: ignore[attr-defined]
    assert [e.by for e in told] == ["person", "person", "nobody"]
    assert pending(router.journal) == []


def test_a_question_without_an_answer_is_found_again(make: Make) -> None:
    answers = Answers()
    router = make(approver=answers)
    call = threading.Thread(target=router.call, args=("shout", {"text": "hi"}, "cell-2"))
    call.start()
    while not answers.open:
        time.sleep(0.01)
    [waiting] = pending(router.journal)
    assert (waiting["tool"], waiting["arguments"]["text"], waiting["source"]) == ("shout", "hi", "cell-2")
    assert waiting["key"].startswith("s1:")
    answers.give(waiting["call"], YES)
    call.join(100)
    assert CALLS == ["hi"] and pending(router.journal) == []


def test_a_late_answer_changes_nothing(make: Make) -> None:
    answers = Answers(timeout_s=0.1)
    router = make(approver=answers)
    assert router.call("shout", {"text": "a"}).denied
    answers.give("call-1", YES)
    assert router.call("shout", {"text": "b"}).denied and CALLS == []


def test_a_price_that_becomes_unknown_by_an_edit_is_asked_about_again(make: Make) -> None:
    rule = {"tool": "spend", "action": "ask"}
    person = Person(edit(usd=None), NO)
    router = make(approver=person, policy=[rule])
    assert router.call("spend", {"usd": 2}).denied
    assert "not known" in person.asked[1].price and CALLS == []


def test_the_declaration_is_what_is_asked_about(make: Make) -> None:
    """A spec made by hand passes the same gate as a decorated function."""
    ran: list[str] = []
    spec = ToolSpec("mine", lambda ctx: ran.append("x"), "destroy", price=lambda ctx, given: Price())
    made = make(tools=[push])
    router = Router([spec], made.services, made.gate, made.budget, made.journal)
    assert router.call("mine", {}).denied and ran == []
