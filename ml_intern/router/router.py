"""The one way from a cell to a tool.

Every call, whatever its source, goes: validate, price, gate, reserve, journal the intent, run with retry,
journal the result, reconcile the budget. Refusals are journaled as well, since a replay meets them again.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from ml_intern.context import Services, ToolContext
from ml_intern.errors import Denied, InternError, Interrupted, ToolError
from ml_intern.events import ToolFinished, ToolStarted
from ml_intern.journal.journal import Journal
from ml_intern.prices import Measured, Price
from ml_intern.retry import is_transient, run_with_retry
from ml_intern.router.approval import Answer, Approver, Desk
from ml_intern.router.budget import Budget
from ml_intern.router.calls import Call, Outcome, body_of, bounded, summarise
from ml_intern.router.consent import Consent
from ml_intern.router.earlier import Earlier
from ml_intern.router.gate import Gate
from ml_intern.router.metering import JobMeter
from ml_intern.router.policy import check_reading
from ml_intern.router.recorded import Recorded
from ml_intern.router.stopping import Stop
from ml_intern.secrets.masking import mask_all
from ml_intern.tooling import ToolSpec, did_you_mean
from ml_intern.workspace.disk import DiskTrouble
from ml_intern.workspace.snapshots import Snapshots

__all__ = ["Answer", "Approver", "Outcome", "Router"]

FREE_DISK = "Delete what is not needed in the workspace, or write less; the host's own disk is the person's."
GO_ON = "What was done before the failure is kept; call it again later, or go on without it."
MOST_DENIED = 100
"""Different refusals that the end of the run can tell of."""


class Switch(Protocol):
    """Something that says whether a call is to stop."""

    def is_set(self) -> bool:
        """Whether it is."""


class Caller(Protocol):
    """Whose call it is, where it is not the session's own: a sub-agent, a client over MCP."""

    @property
    def services(self) -> Services:
        """The session's, with whatever is the caller's own."""

    @property
    def interrupted(self) -> Switch:
        """Its calls are to stop."""

    @property
    def earlier(self) -> Earlier:
        """The calls that the journal knows."""


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
        self.stop = Stop(self.interrupted)
        self.earlier = Earlier(recorded)
        known = self.earlier.recorded
        self.snapshots = Snapshots.off()
        self.desk = Desk(approver, journal, services.emit, self.interrupted.is_set, known.said)
        self.meter = JobMeter(lambda: (services.jobs, services.evals.jobs), budget, journal)
        self._seen: dict[str, int] = {}
        self.consent = Consent(
            gate, self.desk, budget, self.meter, journal, services, self._defect, known.nos
        )
        self._count = known.count
        self.denied.extend(known.denied)
        self.meter.restore(known.settled)
        self._lock = threading.Lock()

    def call(
        self,
        name: str,
        given: Mapping[str, object],
        source: str = "cell",
        reader: Caller | None = None,
        place: str = "",
        key: str = "",
    ) -> Outcome:
        """Carry out one call. Never raises for what the caller did wrong.

        Args:
            name: The tool.
            given: Arguments by name, not yet validated.
            source: Where the call comes from, part of its idempotency key: ``cell-3``, ``research:1``,
                ``mcp:NAME``, ``web``, ``replay``.
            reader: Who calls, where it is not the session's own brain.
            place: Stands for the source in the key, where that does not say which cell it was.
            key: The whole key, where the caller makes it.
        """
        given = mask_all(given)  # whoever calls: no tool is handed a credential
        who = reader or self
        key = key or self._key(name, given, place or source, who.earlier)
        if (known := who.earlier.answer(key, name)) is not None:
            self.snapshots.call_again(key)
            return known
        ctx = self._context(name, key, who)
        begun = self.earlier.begun(key)
        try:
            if ctx.cancelled():
                raise Interrupted(f"{name} did not start: the run is being stopped.")
            spec = self._find(name)
            check_reading(spec, source)
            if begun and spec.effect != "read":
                call = Call.of(spec, ctx, source, begun["arguments"], self._defect)
                if (ended := self._taken_up(call)) is not None:
                    return ended
                call = self.consent.again(call)
            else:
                call = self.consent.given(Call.of(spec, ctx, source, given, self._defect))
        except InternError as error:
            if begun and isinstance(error, Interrupted):
                self.earlier.put_off(key, begun)
            return self._refuse(ctx, name, given, source, error)
        return self._run(call)

    def origin_of(self, name: str) -> str | None:
        """Who made a tool; None where there is none of that name."""
        return self.specs[name].origin if name in self.specs else None

    def spent(self, call: str, measured: Measured) -> None:
        """A running call reports what it has really cost; without a report its estimate stands."""
        self.meter.report(call, measured)

    def left(self) -> dict[str, float | None]:
        """What is left of the budget now, with jobs that have ended counted as they were."""
        self.meter.settle()
        return self.budget.left()

    def begin_rebuilding(self, reader: Caller | None = None) -> None:
        """From here on finished cells run again: each call has the result that it had, and none is made."""
        earlier = (reader or self).earlier
        earlier.rebuilding = True
        with self._lock:
            self._seen = {digest: n for digest, n in self._seen.items() if digest not in earlier.rebuilt}
            earlier.rebuilt.clear()
            earlier.unknown.clear()

    # Who asks for what

    def _key(self, name: str, given: Mapping[str, object], source: str, earlier: Earlier) -> str:
        """The key of a call: the same when its cell runs again."""
        digest = hashlib.sha256(body_of(source, name, given).encode()).hexdigest()[:16]
        with self._lock:
            nth = self._seen[digest] = self._seen.get(digest, 0) + 1
            if earlier.rebuilding:
                earlier.rebuilt.add(digest)
        return f"{self.earlier.recorded.session or self.services.session}:{digest}:{nth}"

    def _context(self, name: str, key: str, who: Caller) -> ToolContext:
        """The context of a call, with an id for people: that of an earlier process, or the next."""
        with self._lock:
            if not (call := self.earlier.id_of(key)):
                self._count += 1
                call = f"call-{self._count}"
        needs = self.specs[name].needs if name in self.specs else ()
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

    # The run

    def _taken_up(self, call: Call) -> Outcome | None:
        """What became of a call that an earlier process began; None where it has not happened."""
        call.ctx.emit(ToolStarted(call.id, call.spec.name, call.spec.effect, call.shown))
        began = time.monotonic()
        with self.snapshots.around(call.key, call.spec.effect):
            found = self.earlier.became_of(call, self._attempt)
            if found is not None and found.ok:
                self.snapshots.call_again(call.key)
        if found is None:
            return None
        self.budget.hold(call.id, call.price)
        # What may have been spent counts as spent; a call that is stopped is asked about again.
        return self._ended(call, found, began, spent=not found.stopped)

    def _run(self, call: Call) -> Outcome:
        shown, spec = call.shown, call.spec
        intent = {**call.record(), "key": call.key, "arguments": shown}
        self.journal.append("intent", intent, durable=spec.effect != "read")
        call.ctx.emit(ToolStarted(call.id, spec.name, spec.effect, shown))
        began = time.monotonic()
        try:
            with self.snapshots.around(call.key, spec.effect):
                outcome = self._attempt(call, lambda: call.spec.call(call.ctx, call.arguments))
            return self._ended(call, outcome, began)
        finally:
            self.budget.release(call.id)  # nothing, unless a defect of ours has left it behind

    def _ended(self, call: Call, outcome: Outcome, began: float, spent: bool = False) -> Outcome:
        """Count what a call cost and write down what came of it, in one line: no crash comes between.

        Args:
            call: That has ended.
            outcome: What came of it.
            began: When.
            spent: Its price is spent even if it failed.
        """
        seconds = time.monotonic() - began
        record = {"call": call.id, "ok": outcome.ok, "value": outcome.value, "message": outcome.message}
        record |= {"hint": outcome.hint, "seconds": seconds, "denied": outcome.denied}
        if outcome.stopped:
            record["stopped"] = True
        with self.budget.books:
            self.meter.close(call.id, call.key, outcome.ok or spent)
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
            # A wait that gave up because it was stopped: who goes on asks again.
            cut = call.spec.effect == "read" and call.ctx.cancelled()
            return Outcome(True, value, stopped=cut)
        except InternError as error:
            denied, stopped = isinstance(error, Denied), isinstance(error, Interrupted)
            return Outcome(False, None, error.message, error.hint, denied, stopped)
        except Exception as error:  # noqa: BLE001 - a tool's bug must not end the run; the brain is told
            if (trouble := DiskTrouble.of(error)) and trouble.full:
                return Outcome(False, message=f"{name}: {trouble.message}", hint=FREE_DISK)
            self._defect(call.id, error)
            if is_transient(error):
                told = str(error).partition("\n")[0].rstrip(".")
                return Outcome(
                    False, message=f"{name} got no answer in {tries + 1} tries: {told}.", hint=GO_ON
                )
            return Outcome(False, message=f"{name} failed inside: {type(error).__name__}: {error}")
