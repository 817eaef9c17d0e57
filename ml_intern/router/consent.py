"""Whether a call may run: what the gate says, what a person says, whether the budget has room for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from ml_intern.errors import Denied, Interrupted, ToolError
from ml_intern.events import ApprovalNeeded
from ml_intern.journal.journal import Journal
from ml_intern.prices import Price
from ml_intern.router.approval import Desk, reach_of
from ml_intern.router.budget import Budget
from ml_intern.router.calls import Call, show_price
from ml_intern.router.gate import Decision, Gate, Standing
from ml_intern.router.metering import JobMeter
from ml_intern.router.policy import NETWORK, source_parts

if TYPE_CHECKING:
    from ml_intern.context import Services

MOST_ROUNDS = 10
"""Questions about one call: each edit of its arguments may lead to another."""
MOST_NOS = 3
"""A person who has said no to a tool so often within one cell is not asked about it again by that cell."""


@dataclass(frozen=True)
class Approved:
    """What a person has seen and said yes to."""

    call: Call
    reach: str
    footprint: Standing | None

    def covers(self, other: Approved) -> bool:
        """Whether the yes holds for the call as the person has changed it since: no dearer, no further."""
        if other.call is self.call:
            return True
        if self.footprint is None or other.footprint is None:
            return False
        return self.reach == other.reach and self.footprint.covers(other.footprint)


class Consent:
    """Asks the gate about each call, and a person where the gate says so.

    Args:
        gate: Applies the policy.
        desk: Where questions are put.
        budget: Where the price of a call that may run is set aside.
        meter: Counts jobs that have ended before the budget is looked at.
        journal: Keeps one line for each decision.
        services: Say what a call can reach.
        defect: Takes what is wrong with a tool's own code.
        nos: How often in a row a person has said no before, by source and tool.
    """

    def __init__(
        self,
        gate: Gate,
        desk: Desk,
        budget: Budget,
        meter: JobMeter,
        journal: Journal,
        services: Services,
        defect: Callable[[str, Exception], None],
        nos: Mapping[tuple[str, str], int],
    ) -> None:
        self._gate = gate
        self._desk = desk
        self._budget = budget
        self._meter = meter
        self._journal = journal
        self._services = services
        self._defect = defect
        self._nos = Counter(nos)

    def given(self, call: Call) -> Call:
        """The call as it may run, with its price set aside; a person may have changed its arguments.

        Raises:
            Denied: The policy, a person or the ceiling says no.
        """
        decision = self._decide(call)
        if decision.action == "allow" and self._reserve(call, decision):
            return call
        with self._desk.turn():
            return self._asked(call)

    def again(self, call: Call) -> Call:
        """A call that was allowed before a crash and has not happened: the yes of a person still holds.

        Raises:
            Denied: The policy or the budget of today says no.
        """
        if not self._reserve(call, self._decide(call)):
            raise Denied(f"{call.spec.name} is over the budget: it {self._budget.shortfall(call.price)}.")
        return call

    def _asked(self, call: Call) -> Call:
        approved: Approved | None = None
        problem = ""
        for _ in range(MOST_ROUNDS):
            decision = self._decide(call)
            shown = self._shown(call, decision)
            said_yes = approved is not None and approved.covers(shown)
            if decision.action == "allow" or said_yes:
                if self._reserve(call, decision):
                    return call
                if said_yes:
                    short = self._budget.shortfall(call.price)
                    raise Denied(
                        f"{call.spec.name} is over the budget: it {short}.", "Ask for less, or stop here."
                    )
                continue  # Another call has taken the rest since the gate looked: ask about that.
            try:
                call, approved, problem = self._ask(call, decision, shown.reach, problem), shown, ""
            except ToolError as error:  # a slip in the person's edit is the person's to mend
                approved, problem = None, str(error)
        told = f"was edited {MOST_ROUNDS} times and is still asked about"
        raise Denied(f"{call.spec.name} was not allowed: it {told}. {problem}".strip())

    def _decide(self, call: Call) -> Decision:
        """What the gate says now.

        Raises:
            Denied: No.
        """
        if call.price != Price():
            self._meter.settle()
        decision = self._gate.decide(call.spec, call.shown, call.price, call.source)
        if decision.action == "deny":
            self._note(call, decision)
            raise Denied(f"{call.spec.name} is denied: {decision.reason}.")
        return decision

    def _reserve(self, call: Call, decision: Decision) -> bool:
        if self._budget.reserve(call.id, call.price):
            return False
        self._note(call, decision)
        return True

    def _note(self, call: Call, decision: Decision) -> None:
        """One line of the audit: what was decided on which call, by which rule, at what price."""
        left = {unit: amount for unit, amount in self._budget.left().items() if amount is not None}
        words = {"decision": decision.action, "rule": decision.rule, "reason": decision.reason}
        self._journal.append(
            "decision", {**call.record(), **words, "price": asdict(call.price), "left": left}
        )

    def _shown(self, call: Call, decision: Decision) -> Approved:
        """What a person would see of a call, and say yes to."""
        # Nobody reads it where nobody is asked, and it may take a request to know the account.
        reach = reach_of(call.spec, call.shown, self._services) if self._desk.heard(call.key) else ""
        return Approved(call, reach, self._gate.footprint(call.spec, call.shown, call.price, decision.rule))

    def _ask(self, call: Call, decision: Decision, reach: str, problem: str) -> Call:
        """Put the question; the call with the arguments that the person has left or given it.

        Raises:
            Denied: The person, or the rule that stands in for one, says no.
            ToolError: The arguments that the person gave it are wrong.
        """
        self._note(call, decision)
        self._check_nos(call)
        standing = self._gate.standing(call.spec, call.shown, call.price, decision)
        question = self._question(call, decision, reach, standing)
        if problem:
            question = replace(question, reason=f"{question.reason}. The edit was not taken: {problem}")
        answer = self._desk.ask(question, call.key, call.price)
        if self._desk.stopped():
            raise Interrupted(f"{call.spec.name} did not start: the run is being stopped.")
        who = (call.source, call.spec.name)
        self._nos[who] = 0 if answer.allowed else self._nos[who] + 1
        if not answer.allowed:
            told = f"{call.spec.name} was not allowed: {answer.reason or 'the person said no'}."
            raise Denied(told, self._way_on(call))
        if answer.always and isinstance(standing, Standing):
            self._gate.allow_always(standing)
            self._journal.append("standing", standing.to_json(), durable=True)
        if not answer.arguments:
            return call
        changed = {**call.arguments.model_dump(), **answer.arguments}
        return Call.of(call.spec, call.ctx, call.source, changed, self._defect)

    def _way_on(self, call: Call) -> str:
        """What is open after a no, so that the brain neither asks again nor looks for a way round."""
        private = {**call.shown, "private": True}
        public = call.spec.effect == "publish" and call.shown.get("private") is False
        if public and self._gate.decide(call.spec, private, call.price, call.source).action == "allow":
            return "Nothing was published. private=True needs no question: the person can open it later."
        if call.shown.get(NETWORK) is True:
            done = "opened" if call.spec.effect == "read" else "started"
            return f"Nothing was {done}. Go on without the network, and say in the answer what is missing."
        return "Nothing was done. Go on without it, and say so in the answer."

    def _check_nos(self, call: Call) -> None:
        """A cell that asks in a loop does not wear a person down."""
        numbered = bool(source_parts(call.source)[1])
        if self._desk.approver and numbered and self._nos[call.source, call.spec.name] >= MOST_NOS:
            raise Denied(
                f"{call.spec.name} was not allowed: the person has said no {MOST_NOS} times in this cell.",
                "Do without it, or explain in your next reply why it is needed.",
            )

    def _question(
        self, call: Call, decision: Decision, reach: str, standing: Standing | str
    ) -> ApprovalNeeded:
        always = str(standing) if isinstance(standing, Standing) else ""
        return ApprovalNeeded(
            call=call.id,
            tool=call.spec.name,
            effect=call.spec.effect,
            arguments=call.shown,
            price=show_price(call.price),
            reason=decision.reason,
            source=call.source,
            reach=reach,
            always=always,
            once="" if always else str(standing),
            yes=decision.yes,
        )
