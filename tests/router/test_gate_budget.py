"""The ceiling with real threads, and what a budget never does."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.gated import GO_ON, build, lines

from ml_intern.errors import LimitReached
from ml_intern.events import ApprovalNeeded
from ml_intern.prices import Measured, Price
from ml_intern.router.approval import Answer
from ml_intern.router.budget import PRICED, Budget
from ml_intern.router.router import Router

Make = Callable[..., Router]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return lambda *given, **more: build(tmp_path, *given, **more)


def test_two_jobs_submitted_together_share_the_ceiling(make: Make) -> None:
    """Two of 3 under 5, in threads: one runs, the other is asked about with 2 left, and does not run."""
    asked: list[ApprovalNeeded] = []

    def approver(question: ApprovalNeeded) -> Answer:
        asked.append(question)
        return Answer(False, "wait")

    router = make(budget="5 usd", approver=approver)
    outcomes: list[Any] = []
    gate = threading.Barrier(2)

    def submit() -> None:
        gate.wait()
        outcomes.append(router.call("hold", {"usd": 3}))

    threads = [threading.Thread(target=submit) for _ in range(2)]
    for thread in threads:
        thread.start()
    while not outcomes:
        time.sleep(0.01)
    assert outcomes[0].denied and len(asked) == 1 and "2 of 5 left" in asked[0].reason
    assert router.budget.reserved("usd") == 3 and router.budget.spent["usd"] == 0
    GO_ON.set()
    for thread in threads:
        thread.join(10)
    assert [o.ok for o in outcomes] == [False, True]
    assert router.budget.spent["usd"] == 3 and router.budget.reserved("usd") == 0


def test_what_is_given_back_can_be_asked_for_again(make: Make) -> None:
    router = make(budget="5 usd, 3 gpu-hours, 2 jobs")
    assert router.call("spend", {"usd": 6}).denied
    assert router.call("spend", {"hours": 4}).denied
    assert router.call("spend", {"usd": 5, "hours": 3}).ok
    assert router.call("spend", {}).ok
    third = router.call("spend", {})
    assert third.denied and "needs 1 jobs, 0 of 2 left" in third.message


def test_a_call_says_what_it_has_really_cost(make: Make) -> None:
    router = make(budget="5 usd")
    assert router.call("metered", {"usd": 4, "really": [0.25, 0.25]}).ok
    assert router.budget.used("usd") == 0.5
    assert router.call("metered", {"usd": 4, "really": []}).ok
    assert router.budget.used("usd") == 4.5, "where nothing was measured the estimate stands"


@pytest.mark.parametrize(
    ("measured", "left"),
    [
        (None, 3.0),
        (Measured(), 3.0),
        (Measured(gpu_hours=0.0), 3.0),
        (Measured(usd=0.0), 5.0),
        (Measured(usd=0.5), 4.5),
    ],
)
def test_a_zero_clears_a_reservation_only_where_it_was_measured(
    measured: Measured | None, left: float
) -> None:
    budget = Budget({"usd": 5})
    budget.reserve("a", Price(usd=2))
    budget.reconcile("a", measured)
    assert budget.left()["usd"] == left


def test_a_reservation_moves_and_is_never_counted_twice() -> None:
    budget = Budget({"usd": 5})
    budget.reserve("call-1", Price(usd=2, jobs=1))
    budget.move("call-1", "job:a")
    budget.release("call-1")
    budget.move("call-1", "job:b")
    assert budget.used("usd") == 2 and budget.held("job:a") == Price(usd=2, jobs=1)
    budget.reconcile("job:a", Measured(usd=1.0))
    budget.reconcile("job:a", None)
    assert budget.used("usd") == 1 and budget.used("jobs") == 1


def test_an_unknown_price_has_nothing_left_to_take() -> None:
    budget = Budget({"usd": 5, "gpu_hours": 1})
    assert budget.reserve("a", Price(usd=None)) == ""
    assert "no known price in usd, and nothing of 5 is left" in budget.reserve("b", Price(usd=None))
    assert budget.reserve("c", Price(gpu_hours=None)) == ""
    assert "gpu-hours" in budget.reserve("d", Price(gpu_hours=None))


def test_money_that_is_set_aside_stops_only_a_brain_that_costs_money() -> None:
    budget = Budget({"usd": 5})
    budget.reserve("job", Price(usd=5))
    budget.check()
    budget.charge(tokens=10)
    budget.check()
    budget.charge(tokens=10, usd=0.01)
    with pytest.raises(LimitReached, match="5 usd"):
        budget.check()


def test_the_summary_tells_what_is_spent_and_what_is_promised() -> None:
    budget = Budget({"usd": 5})
    budget.reserve("a", Price(usd=2))
    budget.charge(usd=1)
    assert budget.summary()["usd"] == {"spent": 1.0, "reserved": 2.0, "cap": 5}
    assert budget.left()["usd"] == 2


def test_a_session_that_goes_on_knows_what_was_spent_and_what_jobs_hold() -> None:
    budget = Budget({"usd": 5, "seconds": 100}, started=time.monotonic() - 30)
    budget.reserve("call-1", Price(usd=1))
    budget.reserve("job:a", Price(usd=2, jobs=1))
    budget.charge(usd=0.5, tokens=7)
    again = Budget({"usd": 5, "seconds": 100})
    again.restore(json.loads(json.dumps(budget.snapshot())))
    assert again.spent["usd"] == 0.5 and again.spent["tokens"] == 7
    assert again.reserved("usd") == 2 and again.held("job:a").jobs == 1
    assert again.left()["seconds"] == pytest.approx(70, abs=5)


def test_many_threads_never_go_over(make: Make) -> None:
    budget = Budget({"usd": 10, "jobs": 30})
    over: list[float] = []

    def work(n: int) -> None:
        for k in range(100):
            holder = f"{n}-{k}"
            if not budget.reserve(holder, Price(usd=0.7, jobs=1)):
                if budget.used("usd") > 10 + 1e-9:
                    over.append(budget.used("usd"))
                if k % 3:
                    budget.release(holder)
                else:
                    budget.reconcile(holder, Measured(usd=0.1, jobs=0))
            budget.summary()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not over and budget.reserved("usd") == 0 == budget.reserved("jobs")
    assert budget.spent["usd"] <= 10


AMOUNT = st.floats(0, 4, allow_nan=False)
KNOWN = st.one_of(st.none(), AMOUNT)


class BudgetMachine(RuleBasedStateMachine):
    """Any order of what calls, jobs and brains do: the ceiling holds, and every reservation ends."""

    def __init__(self) -> None:
        super().__init__()
        self.budget = Budget({"usd": 10.0, "gpu_hours": 6.0, "jobs": 5.0})
        self.open: list[str] = []
        self.beyond = 0.0
        """Dollars that a brain used although there was no more: they were used before anybody could ask."""
        self.count = 0

    @rule(usd=KNOWN, hours=KNOWN, jobs=st.integers(0, 2))
    def reserve(self, usd: float | None, hours: float | None, jobs: int) -> None:
        self.count += 1
        before = {unit: self.budget.used(unit) for unit in PRICED}
        if not self.budget.reserve(f"call-{self.count}", Price(usd, hours, jobs)):
            self.open.append(f"call-{self.count}")
        else:
            assert before == {unit: self.budget.used(unit) for unit in PRICED}, "a no takes nothing"

    @precondition(lambda self: self.open)
    @rule(data=st.data(), share=st.floats(0, 1), parts=st.tuples(*[st.booleans()] * 3))
    def reconcile(self, data: Any, share: float, parts: tuple[bool, bool, bool]) -> None:
        holder = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        held = self.budget.held(holder)
        usd, hours, jobs = parts
        measured = Measured(
            (held.usd or 0) * share if usd else None,
            (held.gpu_hours or 0) * share if hours else None,
            int(held.jobs * share) if jobs else None,
        )
        self.budget.reconcile(holder, measured)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def release(self, data: Any) -> None:
        self.budget.release(self.open.pop(data.draw(st.integers(0, len(self.open) - 1))))

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def move(self, data: Any) -> None:
        at = data.draw(st.integers(0, len(self.open) - 1))
        self.count += 1
        self.budget.move(self.open[at], f"job:{self.count}")
        self.open[at] = f"job:{self.count}"

    @rule(tokens=st.integers(0, 1000), usd=AMOUNT)
    def charge(self, tokens: int, usd: float) -> None:
        self.beyond += max(0.0, self.budget.used("usd") + usd - max(10.0, self.budget.used("usd")))
        self.budget.charge(tokens, usd)

    @rule()
    def end_twice(self) -> None:
        before = self.budget.summary()["usd"]
        self.budget.release("nobody")
        self.budget.reconcile("nobody", None)
        assert self.budget.summary()["usd"] == before

    @invariant()
    def holds(self) -> None:
        for unit in PRICED:
            allowance = self.beyond if unit == "usd" else 0.0
            assert self.budget.used(unit) <= self.budget.caps[unit] + allowance + 1e-6
            assert self.budget.spent[unit] >= 0 and self.budget.reserved(unit) >= 0
            left = self.budget.left()[unit]
            assert left is not None and left >= 0

    def teardown(self) -> None:
        for holder in self.open:
            self.budget.reconcile(holder, None)
        assert all(self.budget.reserved(unit) == 0 for unit in PRICED)


TestBudgetMachine = BudgetMachine.TestCase
TestBudgetMachine.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


# Jobs keep what their calls have reserved


@pytest.fixture
def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_intern.jobs.hardware.gpu_name", lambda: "A GPU, 80 GB")


def launched(router: Router, state: str, took: float | None, **more: Any) -> Any:
    """Call the tool that starts a job; the jobs, so that the test can move it."""
    outcome = router.call("launch", {"state": state, "took": took, **more})
    assert outcome.ok != more.get("fails", False)
    return router.services.jobs


def test_a_job_keeps_the_reservation_until_it_was_measured(make: Make, on_a_gpu: None) -> None:
    router = make(budget="3 gpu-hours, 2 jobs")
    jobs = launched(router, "running", took=60)
    assert router.budget.held("job:job-1") == Price(0.0, 2.0, 1)
    assert router.left()["gpu_hours"] == 1.0
    jobs.add("job-1", key=jobs.specs["job-1"].key, state="succeeded", took=1800)
    assert router.left()["gpu_hours"] == pytest.approx(2.5)
    assert router.budget.spent["jobs"] == 1 and router.budget.reserved("gpu_hours") == 0
    [settled] = lines(router, "settled")
    assert settled["holder"] == "job:job-1" and settled["cost"]["gpu_hours"] == pytest.approx(0.5)
    assert router.left() == router.left() and len(lines(router, "settled")) == 1


def test_the_next_decision_knows_that_a_job_has_ended(make: Make, on_a_gpu: None) -> None:
    router = make(budget="3 gpu-hours")
    jobs = launched(router, "running", took=60)
    assert router.call("spend", {"hours": 2}).denied
    jobs.add("job-1", key=jobs.specs["job-1"].key, state="failed", took=360)
    assert router.call("spend", {"hours": 2}).ok


def test_a_job_that_never_ran_gives_everything_back(make: Make, on_a_gpu: None) -> None:
    router = make(budget="3 gpu-hours, 1 jobs")
    launched(router, "cancelled", took=None)
    assert router.left()["gpu_hours"] == 3.0 and router.left()["jobs"] == 1


def test_a_job_that_ends_before_its_call_is_counted_once(make: Make, on_a_gpu: None) -> None:
    router = make(budget="3 gpu-hours")
    launched(router, "succeeded", took=36, look=True)
    assert router.left()["gpu_hours"] == pytest.approx(2.99) and router.budget.reserved("gpu_hours") == 0


def test_a_failed_call_whose_job_ran_pays_for_the_job(make: Make, on_a_gpu: None) -> None:
    router = make(budget="3 gpu-hours")
    launched(router, "failed", took=720, fails=True)
    assert router.left()["gpu_hours"] == pytest.approx(2.8)


def test_the_hosts_own_evaluations_are_measured_and_are_no_jobs(make: Make, on_a_gpu: None) -> None:
    router = make(budget="3 gpu-hours, 1 jobs")
    hidden: Any = router.services.evals.jobs
    hidden.add("evaluate-1", key="x/dev/1", state="succeeded", took=3600)
    assert router.left()["gpu_hours"] == pytest.approx(2.0) and router.left()["jobs"] == 1
    hidden.add("evaluate-1", key="x/dev/1", state="succeeded", took=1800)  # resumed: it started again
    assert router.left()["gpu_hours"] == pytest.approx(1.5)


def test_a_machine_without_a_gpu_uses_no_gpu_hours(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_intern.jobs.hardware.gpu_name", lambda: "")
    router = make(budget="3 gpu-hours")
    launched(router, "succeeded", took=3600)
    assert router.left()["gpu_hours"] == 3.0
