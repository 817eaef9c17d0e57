"""The one way from a cell to a tool.

Every call, whatever its source, goes: validate, price, gate, reserve, journal the intent, run with retry,
journal the result, reconcile the budget. Refusals are journaled as well, since a replay meets them again.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from ml_intern.approval import Answer, Approver, Desk, reach_of
from ml_intern.budget import Budget, Measured
from ml_intern.calls import Call, Outcome, body_of, bounded, show_price, summarise
from ml_intern.context import Services, ToolContext
from ml_intern.errors import Denied, InternError, Interrupted, ToolError
from ml_intern.events import ApprovalNeeded, ToolFinished, ToolStarted
from ml_intern.gate import Decision, Gate, Standing
from ml_intern.journal import Journal
from ml_intern.masking import mask_all
from ml_intern.metering import JobMeter
from ml_intern.policy import NETWORK, check_reading, source_parts
from ml_intern.recorded import Recorded
from ml_intern.retry import is_transient, run_with_retry
from ml_intern.tooling import Price, ToolSpec, did_you_mean, to_json

if TYPE_CHECKING:
    from ml_intern.research.reader import Reader

__all__ = ["Answer", "Approver", "Outcome", "Router"]

GO_ON = "What was done before the failure is kept; call it again later, or go on without it."
NOBODY_KNOWS = "Nobody knows whether {} was carried out: the process ended while it ran."
LOOK = "Look at what is there before you call it again."
MOST_ROUNDS = 10
"""Questions about one call: each edit of its arguments may lead to another."""
MOST_NOS = 3
"""A person who has said no to a tool so often within one cell is not asked about it again by that cell."""
MOST_DENIED = 100
"""Different refusals that the end of the run can tell of."""


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


class Router:
    """Validates, asks the gate, journals, runs, retries."""

    def __init__(
        self,
        specs: Sequence[ToolSpec],
        services: Services,
        gate: Gate,
        budget: Budget,
        journal: Journal,
        approver: Approver | None = None,
        recorded: Recorded | None = None,
    ) -> None:
        self.specs = {spec.name: spec for spec in specs}
        self.services = services
        self.gate = gate
        self.budget = budget
        self.journal = journal
        self.denied: list[str] = []
        self.interrupted = threading.Event()
        self.desk = Desk(approver, journal, services.emit, self.interrupted.is_set)
        self.meter = JobMeter(lambda: (services.jobs, services.evals.jobs), budget, journal)
        self._seen: dict[str, int] = {}
        self._nos: Counter[tuple[str, str]] = Counter()
        self.recorded = recorded or Recorded()
        self.rebuilding = False
        self.unknown: list[str] = []
        self._count = self.recorded.count
        self.denied.extend(self.recorded.denied)
        self.meter.restore(self.recorded.settled)
        self._lock = threading.Lock()

    def call(
        self,
        name: str,
        given: Mapping[str, object],
        source: str = "cell",
        reader: Reader | None = None,
        place: str = "",
    ) -> Outcome:
        """Carry out one call. Never raises for what the caller did wrong.

        Args:
            name: The tool.
            given: Arguments by name, not yet validated.
            source: Where the call comes from, part of its idempotency key: ``cell-3``, ``research:1``,
                ``mcp:NAME``, ``web``, ``replay``.
            reader: The sub-agent that calls.
            place: Stands for the source in the key, where that does not say which cell it was.
        """
        given = mask_all(given)  # whoever calls: no tool is handed a credential
        key = self._key(name, given, place or source)
        if (known := self.recorded.calls.get(key)) is not None:
            return Outcome(known.ok, known.value, known.message, known.hint, known.denied)
        if (reader or self).rebuilding:
            return self._not_recorded(name, reader)
        begun = self.recorded.open.pop(key, {})
        ctx = self._context(name, key, begun.get("call", ""), reader)
        try:
            if ctx.cancelled():
                raise Interrupted(f"{name} did not start: the run is being stopped.")
            check_reading(self._find(name), source)
            if begun and self._find(name).effect != "read":
                return self._taken_up(begun, ctx, source)
            call = self._allowed(Call.of(self._find(name), ctx, source, given, self._defect))
        except InternError as error:
            if begun and isinstance(error, Interrupted):
                self.recorded.open[key] = begun
            return self._refuse(ctx, name, given, source, error)
        return self._run(call)

    def spent(self, call: str, measured: Measured) -> None:
        """A running call reports what it has really cost; without a report its estimate stands."""
        self.meter.report(call, measured)

    def left(self) -> dict[str, float | None]:
        """What is left of the budget now, with jobs that have ended counted as they were."""
        self.meter.settle()
        return self.budget.left()

    # What an earlier process did

    def _not_recorded(self, name: str, reader: Reader | None) -> Outcome:
        """The answer to a call of a cell that runs again and made no such call when it ran first."""
        with self._lock:
            (reader or self).unknown.append(name[:100])
        told = f"{name[:100]} was not called so when this cell ran first: its work is not repeated."
        return Outcome(False, message=told)

    def _taken_up(self, begun: Mapping[str, Any], ctx: ToolContext, source: str) -> Outcome:
        """A call that was allowed and begun, and whose end nobody has written down.

        Raises:
            Denied: It has not happened, and the policy or the budget of today says no.
        """
        spec = self._find(str(begun["tool"]))
        call = Call.of(spec, ctx, source, begun["arguments"], self._defect)
        ctx.emit(ToolStarted(call.id, spec.name, spec.effect, call.shown))
        began = time.monotonic()
        reconcile = spec.reconcile
        if reconcile is None:
            return self._ended(call, Outcome(False, message=NOBODY_KNOWS.format(spec.name), hint=LOOK), began)
        found = self._attempt(call, lambda: to_json(reconcile(ctx, ctx.key)))
        if not found.ok or found.value is not None:
            self.budget.hold(call.id, call.price)
            return self._ended(call, found, began)
        decision = self._decide(call)  # a person's yes to it still holds, a no of the policy does, too
        if not self._reserve(call, decision):
            raise Denied(f"{spec.name} is over the budget: it {self.budget.shortfall(call.price)}.")
        return self._run(call)

    # Who asks for what

    def _key(self, name: str, given: Mapping[str, object], source: str) -> str:
        """The key of a call: the same when its cell runs again."""
        digest = hashlib.sha256(body_of(source, name, given).encode()).hexdigest()[:16]
        with self._lock:
            nth = self._seen[digest] = self._seen.get(digest, 0) + 1
        return f"{self.recorded.session or self.services.session}:{digest}:{nth}"

    def _context(self, name: str, key: str, call: str, reader: Reader | None) -> ToolContext:
        """The context of a call, with an id for people: that of an earlier process, or the next."""
        with self._lock:
            if not call:
                self._count += 1
                call = f"call-{self._count}"
        needs = self.specs[name].needs if name in self.specs else ()
        who = reader or self
        return ToolContext(who.services, call, key, who.interrupted.is_set, needs)

    def _find(self, name: str) -> ToolSpec:
        if name not in self.specs:
            raise ToolError(
                f"There is no tool {name[:100]!r}{did_you_mean(name[:100], self.specs)}.",
                "help() lists the tools.",
            )
        return self.specs[name]

    def _defect(self, call: str, error: Exception) -> None:
        self.journal.append("tool_bug", {"call": call, "error": repr(error)})

    def _refuse(
        self, ctx: ToolContext, name: str, given: Mapping[str, object], source: str, error: InternError
    ) -> Outcome:
        denied = isinstance(error, Denied)
        told = error.message if error.message.startswith(name) else f"{name[:100]}: {error.message}"
        with self._lock:
            if denied and told not in self.denied and len(self.denied) < MOST_DENIED:
                self.denied.append(told)
        record = {"call": ctx.call, "tool": name[:100], "source": source, "arguments": bounded(given)}
        if not isinstance(error, Interrupted):  # a run that goes on asks again
            record["key"] = ctx.key
        words = {"message": error.message, "hint": error.hint, "denied": denied}
        self.journal.append("refusal", {**record, **words})
        return Outcome(False, message=error.message, hint=error.hint, denied=denied)

    # The gate

    def _allowed(self, call: Call) -> Call:
        """The call as it may run, with its price set aside; a person may have changed its arguments.

        Raises:
            Denied: The policy, a person or the ceiling says no.
        """
        decision = self._decide(call)
        if decision.action == "allow" and self._reserve(call, decision):
            return call
        with self.desk.turn():
            return self._asked(call)

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
                    short = self.budget.shortfall(call.price)
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
            self.meter.settle()
        decision = self.gate.decide(call.spec, call.shown, call.price, call.source)
        if decision.action == "deny":
            self._note(call, decision)
            raise Denied(f"{call.spec.name} is denied: {decision.reason}.")
        return decision

    def _reserve(self, call: Call, decision: Decision) -> bool:
        if self.budget.reserve(call.id, call.price):
            return False
        self._note(call, decision)
        return True

    def _note(self, call: Call, decision: Decision) -> None:
        """One line of the audit: what was decided on which call, by which rule, at what price."""
        left = {unit: amount for unit, amount in self.budget.left().items() if amount is not None}
        words = {"decision": decision.action, "rule": decision.rule, "reason": decision.reason}
        self.journal.append("decision", {**call.record(), **words, "price": asdict(call.price), "left": left})

    def _shown(self, call: Call, decision: Decision) -> Approved:
        """What a person would see of a call, and say yes to."""
        # Nobody reads it where nobody is asked, and it may take a request to know the account.
        reach = reach_of(call.spec, call.shown, self.services) if self.desk.approver else ""
        return Approved(call, reach, self.gate.footprint(call.spec, call.shown, call.price, decision.rule))

    def _ask(self, call: Call, decision: Decision, reach: str, problem: str) -> Call:
        """Put the question; the call with the arguments that the person has left or given it.

        Raises:
            Denied: The person, or the rule that stands in for one, says no.
            ToolError: The arguments that the person gave it are wrong.
        """
        self._note(call, decision)
        self._check_nos(call)
        standing = self.gate.standing(call.spec, call.shown, call.price, decision)
        question = self._question(call, decision, reach, standing)
        if problem:
            question = replace(question, reason=f"{question.reason}. The edit was not taken: {problem}")
        answer = self.desk.ask(question, call.key)
        if self.interrupted.is_set():
            raise Interrupted(f"{call.spec.name} did not start: the run is being stopped.")
        who = (call.source, call.spec.name)
        self._nos[who] = 0 if answer.allowed else self._nos[who] + 1
        if not answer.allowed:
            told = f"{call.spec.name} was not allowed: {answer.reason or 'the person said no'}."
            raise Denied(told, self._way_on(call))
        if answer.always and isinstance(standing, Standing):
            self.gate.allow_always(standing)
            self.journal.append("standing", standing.to_json(), durable=True)
        if not answer.arguments:
            return call
        changed = {**call.arguments.model_dump(), **answer.arguments}
        return Call.of(call.spec, call.ctx, call.source, changed, self._defect)

    def _way_on(self, call: Call) -> str:
        """What is open after a no, so that the brain neither asks again nor looks for a way round."""
        private = {**call.shown, "private": True}
        public = call.spec.effect == "publish" and call.shown.get("private") is False
        if public and self.gate.decide(call.spec, private, call.price, call.source).action == "allow":
            return "Nothing was published. private=True needs no question: the person can open it later."
        if call.shown.get(NETWORK) is True:
            return "Nothing was started. Go on without the network, and say in the answer what is missing."
        return "Nothing was done. Go on without it, and say so in the answer."

    def _check_nos(self, call: Call) -> None:
        """A cell that asks in a loop does not wear a person down."""
        numbered = bool(source_parts(call.source)[1])
        if self.desk.approver and numbered and self._nos[call.source, call.spec.name] >= MOST_NOS:
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

    # The run

    def _run(self, call: Call) -> Outcome:
        shown, spec = call.shown, call.spec
        intent = {**call.record(), "key": call.key, "arguments": shown}
        self.journal.append("intent", intent, durable=spec.effect != "read")
        call.ctx.emit(ToolStarted(call.id, spec.name, spec.effect, shown))
        began = time.monotonic()
        try:
            return self._ended(
                call, self._attempt(call, lambda: call.spec.call(call.ctx, call.arguments)), began
            )
        finally:
            self.budget.release(call.id)  # nothing, unless a defect of ours has left it behind

    def _ended(self, call: Call, outcome: Outcome, began: float) -> Outcome:
        """Count what a call cost and write down what came of it, in one line: no crash comes between."""
        seconds = time.monotonic() - began
        record = {"call": call.id, "ok": outcome.ok, "value": outcome.value, "message": outcome.message}
        record |= {"hint": outcome.hint, "seconds": seconds, "denied": outcome.denied}
        if outcome.stopped:
            record["stopped"] = True
        with self.budget.books:
            self.meter.close(call.id, call.key, outcome.ok)
            if call.price != Price():
                self.meter.settle()
            self.journal.append("result", {**record, "budget": self.budget.snapshot()})
        summary = summarise(outcome.value) if outcome.ok else outcome.message
        call.ctx.emit(ToolFinished(call.id, call.spec.name, outcome.ok, summary, seconds))
        return outcome

    def _attempt(self, call: Call, work: Callable[[], Any]) -> Outcome:
        name, tries = call.spec.name, self.services.settings.tool_retries
        try:
            value = run_with_retry(
                work,
                tries=tries,
                report=lambda text: call.ctx.progress(text),
                stop=call.ctx.cancelled,
            )
            return Outcome(True, value)
        except InternError as error:
            denied, stopped = isinstance(error, Denied), isinstance(error, Interrupted)
            return Outcome(False, None, error.message, error.hint, denied, stopped)
        except Exception as error:  # noqa: BLE001 - a tool's bug must not end the run; the brain is told
            self._defect(call.id, error)
            if is_transient(error):
                told = str(error).partition("\n")[0].rstrip(".")
                return Outcome(
                    False, message=f"{name} got no answer in {tries + 1} tries: {told}.", hint=GO_ON
                )
            return Outcome(False, message=f"{name} failed inside: {type(error).__name__}: {error}")
