"""The ceiling and the questions that come before it."""

from __future__ import annotations

import pytest

from ml_intern.durations import parse_duration
from ml_intern.errors import LimitReached, UsageError
from ml_intern.prices import Measured, Price
from ml_intern.router.budget import Budget, parse_budget
from ml_intern.router.gate import Gate
from ml_intern.tooling import Effect, ToolSpec


def spec(effect: Effect = "compute") -> ToolSpec:
    def work(ctx: object, private: bool = True) -> None:
        """Work."""

    return ToolSpec("work", work, effect)


def decide(cap: float, spent: float, price: Price) -> tuple[str, str]:
    budget = Budget({"usd": cap})
    budget.spent["usd"] = spent
    decision = Gate([], budget).decide(spec(), {}, price)
    return decision.action, decision.reason


@pytest.mark.parametrize(
    ("text", "caps"),
    [
        (
            "5 usd, 2 gpu-hours, 1h, 500k tokens, 20 jobs",
            {"usd": 5, "gpu_hours": 2, "seconds": 3600, "tokens": 5e5, "jobs": 20},
        ),
        ("$2.50", {"usd": 2.5}),
        ("1h 30m", {"seconds": 5400}),
        ("1m tokens", {"tokens": 1e6}),
        ("", {}),
    ],
)
def test_a_budget_is_read_from_words(text: str, caps: dict[str, float]) -> None:
    assert parse_budget(text) == caps


@pytest.mark.parametrize("text", ["5", "five usd", "5 usd, 6 usd", "1 fortnight", "-3 usd"])
def test_a_budget_that_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_budget(text)


@pytest.mark.parametrize(
    ("text", "hours"), [("30m", 0.5), ("3h", 3), (3600, 1), ("3600", 1), ("1h 30m", 1.5)]
)
def test_durations(text: str | int, hours: float) -> None:
    assert parse_duration(text) == hours * 3600


@pytest.mark.parametrize("text", ["soon", "", "3 parsecs", "-5m", "0", 0, float("inf")])
def test_junk_is_not_a_duration(text: str | float) -> None:
    with pytest.raises(UsageError):
        parse_duration(text)


def test_what_fits_is_allowed() -> None:
    assert decide(5, 1, Price(usd=2))[0] == "allow"


def test_what_does_not_fit_asks_and_says_what_is_left() -> None:
    action, reason = decide(5, 4, Price(usd=2))
    assert action == "ask" and "1 of 5 left" in reason


def test_an_unknown_price_asks() -> None:
    assert decide(5, 0, Price(usd=None))[0] == "ask"


def test_two_jobs_submitted_together_share_the_ceiling() -> None:
    budget = Budget({"usd": 5})
    gate = Gate([], budget)
    assert gate.decide(spec(), {}, Price(usd=3)).action == "allow"
    assert budget.reserve("first", Price(usd=3)) == ""
    second = gate.decide(spec(), {}, Price(usd=3))
    assert second.action == "ask" and "2 of 5 left" in second.reason


def test_a_yes_does_not_lift_the_ceiling() -> None:
    budget = Budget({"usd": 5})
    budget.spent["usd"] = 4.5
    assert "0.5 of 5 left" in budget.reserve("call", Price(usd=1.25))
    assert budget.used("usd") == 4.5
    assert budget.reserve("cheaper", Price(usd=0.25)) == ""


def test_an_estimate_stands_until_something_was_measured() -> None:
    budget = Budget({"usd": 5})
    budget.reserve("a", Price(usd=2))
    budget.reconcile("a", None)
    budget.reserve("b", Price(usd=2))
    budget.reconcile("b", Measured(usd=0.5))
    assert budget.used("usd") == 2.5


def test_a_call_that_did_not_happen_costs_nothing() -> None:
    budget = Budget({"usd": 5})
    budget.reserve("a", Price(usd=2))
    budget.release("a")
    assert budget.used("usd") == 0


def test_time_and_tokens_end_a_run() -> None:
    budget = Budget({"tokens": 10})
    budget.check()
    budget.charge(tokens=10)
    with pytest.raises(LimitReached, match="10 tokens"):
        budget.check()


def test_a_ceiling_of_nothing_allows_what_is_free() -> None:
    budget = Budget({"usd": 0})
    budget.check()
    assert Gate([], budget).decide(spec(), {}, Price()).action == "allow"
    assert Gate([], budget).decide(spec(), {}, Price(usd=0.01)).action == "ask"


@pytest.mark.parametrize(
    ("effect", "private", "action"),
    [
        ("read", True, "allow"),
        ("write", True, "allow"),
        ("publish", True, "allow"),
        ("publish", False, "ask"),
        ("destroy", True, "ask"),
    ],
)
def test_the_default_policy(effect: Effect, private: bool, action: str) -> None:
    assert Gate([], Budget()).decide(spec(effect), {"private": private}, Price()).action == action


def test_the_first_rule_that_matches_decides() -> None:
    policy = [{"tool": "wo*", "action": "deny", "reason": "not today"}, {"action": "allow"}]
    decision = Gate(policy, Budget()).decide(spec("read"), {}, Price())
    assert (decision.action, decision.reason) == ("deny", "not today")


def test_yes_answers_for_the_effects_that_it_names() -> None:
    gate = Gate([], Budget(), ["publish"])
    assert gate.decide(spec("publish"), {"private": False}, Price()).action == "allow"
    assert gate.decide(spec("destroy"), {}, Price()).action == "ask"


def test_yes_with_an_unknown_effect_is_refused() -> None:
    with pytest.raises(UsageError, match="did you mean 'publish'"):
        Gate([], Budget(), ["publsh"])


def test_a_wrong_rule_is_named() -> None:
    with pytest.raises(UsageError, match="Policy rule 1"):
        Gate([{"action": "perhaps"}], Budget())


def test_an_unknown_price_that_was_allowed_takes_what_is_left() -> None:
    budget = Budget({"usd": 5})
    budget.spent["usd"] = 1
    assert budget.reserve("a", Price(usd=None)) == ""
    assert budget.left()["usd"] == 0
