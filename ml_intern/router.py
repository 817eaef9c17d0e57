"""The one way from a cell to a tool.

Every call, whatever its source, goes: validate, price, gate, reserve, journal the intent, run with retry,
journal the result, reconcile the budget. Refusals are journaled as well, since a replay meets them again.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from ml_intern.budget import Budget
from ml_intern.context import Services, ToolContext
from ml_intern.errors import Denied, InternError, Interrupted, ToolError
from ml_intern.events import ApprovalAnswered, ApprovalNeeded, ToolFinished, ToolStarted
from ml_intern.gate import Gate
from ml_intern.journal import Journal
from ml_intern.retry import is_transient, run_with_retry
from ml_intern.tooling import Price, ToolSpec, did_you_mean

MOST_ARGUMENT_CHARS = 4 << 20
KEPT_OF_REFUSED = 20_000
"""Characters of a refused call's arguments that the journal keeps."""

GO_ON = "What was done before the failure is kept; call it again later, or go on without it."


@dataclass(frozen=True)
class Answer:
    """What a person says to a question of the gate."""

    allowed: bool
    reason: str = ""
    arguments: dict[str, Any] | None = None
    always: bool = False


Approver = Callable[[ApprovalNeeded], Answer]


@dataclass(frozen=True)
class Outcome:
    """What came of a call: a value, or an error with a hint."""

    ok: bool
    value: Any = None
    message: str = ""
    hint: str = ""
    denied: bool = False


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
    ) -> None:
        self.specs = {spec.name: spec for spec in specs}
        self.services = services
        self.gate = gate
        self.budget = budget
        self.journal = journal
        self.approver = approver
        self.denied: list[str] = []
        self.interrupted = threading.Event()
        self._seen: dict[str, int] = {}
        self._count = 0
        self._lock = threading.Lock()

    def call(self, name: str, given: Mapping[str, Any], source: str = "cell") -> Outcome:
        """Carry out one call. Never raises for what the caller did wrong.

        Args:
            name: The tool.
            given: Arguments by name, not yet validated.
            source: Where the call comes from, part of its idempotency key.
        """
        call, key = self._identify(name, given, source)
        try:
            if self.interrupted.is_set():
                raise Interrupted(f"{name} did not start: the run is being stopped.")
            spec = self._find(name)
            if len(str(given)) > MOST_ARGUMENT_CHARS:
                raise ToolError(
                    f"The arguments of {name} are longer than {MOST_ARGUMENT_CHARS >> 20} MB.",
                    "Write large data to a file in the workspace and pass its path.",
                )
            arguments = spec.validate(given)
            outcome = self._pass_gate_and_run(spec, arguments, call, key)
        except InternError as error:
            outcome = Outcome(False, message=error.message, hint=error.hint, denied=isinstance(error, Denied))
            if isinstance(error, Denied):
                self.denied.append(f"{name}: {error.message}")
            refused = {"call": call, "tool": name[:100], "arguments": _bounded(given), "message": str(error)}
            self.journal.append("refusal", refused)
        return outcome

    def _identify(self, name: str, given: Mapping[str, Any], source: str) -> tuple[str, str]:
        """The id of the call for people, and the key that is the same when a cell runs again."""
        body = json.dumps([source, name, given], sort_keys=True, default=str)
        digest = hashlib.sha256(body.encode()).hexdigest()[:16]
        with self._lock:
            self._count += 1
            nth = self._seen[digest] = self._seen.get(digest, 0) + 1
            return f"call-{self._count}", f"{self.services.session}:{digest}:{nth}"

    def _find(self, name: str) -> ToolSpec:
        if name not in self.specs:
            raise ToolError(
                f"There is no tool {name!r}{did_you_mean(name, self.specs)}.", "help() lists the tools."
            )
        return self.specs[name]

    def _pass_gate_and_run(self, spec: ToolSpec, arguments: BaseModel, call: str, key: str) -> Outcome:
        ctx = ToolContext(self.services, call, key, self.interrupted.is_set)
        price = spec.price(ctx, arguments) if spec.price else Price()
        decision = self.gate.decide(spec, arguments.model_dump(), price)
        if decision.action == "deny":
            raise Denied(f"{spec.name} is denied: {decision.reason}.")
        if decision.action == "ask":
            arguments = self._ask(spec, arguments, price, call, decision.reason)
            price = spec.price(ctx, arguments) if spec.price else Price()
        short = self.budget.reserve(call, price)
        if short and decision.action == "allow":
            # Another call has taken the rest since the gate looked: a person may want a smaller one.
            arguments = self._ask(spec, arguments, price, call, f"it {short}")
            price = spec.price(ctx, arguments) if spec.price else Price()
            short = self.budget.reserve(call, price)
        if short:
            raise Denied(f"{spec.name} is over the budget: it {short}.", "Ask for less, or stop here.")
        return self._run(spec, arguments, ctx, price)

    def _ask(self, spec: ToolSpec, arguments: BaseModel, price: Price, call: str, reason: str) -> BaseModel:
        shown = arguments.model_dump(mode="json")
        question = ApprovalNeeded(call, spec.name, spec.effect, shown, show_price(price), reason)
        self.services.emit(question)
        self.journal.append("question", {**question.to_json(), "call": call}, durable=True)
        headless = Answer(False, f"nobody is there to ask ({reason}); --yes {spec.effect} would allow it")
        answer = self.approver(question) if self.approver else headless
        self.services.emit(ApprovalAnswered(call, answer.allowed, answer.reason))
        self.journal.append(
            "answer", {"call": call, "allowed": answer.allowed, "reason": answer.reason}, durable=True
        )
        if not answer.allowed:
            raise Denied(f"{spec.name} was not allowed: {answer.reason or 'the person said no'}.")
        if answer.always:
            self.gate.always.add(spec.name)
        return spec.validate(answer.arguments) if answer.arguments is not None else arguments

    def _run(self, spec: ToolSpec, arguments: BaseModel, ctx: ToolContext, price: Price) -> Outcome:
        shown = arguments.model_dump(mode="json")
        intent = {
            "call": ctx.call,
            "key": ctx.key,
            "tool": spec.name,
            "effect": spec.effect,
            "arguments": shown,
        }
        self.journal.append("intent", intent, durable=spec.effect != "read")
        self.services.emit(ToolStarted(ctx.call, spec.name, spec.effect, shown))
        began = time.monotonic()
        outcome = self._attempt(spec, arguments, ctx)
        if outcome.ok:
            self.budget.reconcile(ctx.call, None)
        else:
            # A failed call started nothing that costs; jobs that did start are found again by their key.
            self.budget.release(ctx.call)
        seconds = time.monotonic() - began
        record = {"call": ctx.call, "ok": outcome.ok, "value": outcome.value, "message": outcome.message}
        self.journal.append("result", {**record, "hint": outcome.hint, "seconds": seconds, "usd": price.usd})
        summary = summarise(outcome.value) if outcome.ok else outcome.message
        self.services.emit(ToolFinished(ctx.call, spec.name, outcome.ok, summary, seconds))
        return outcome

    def _attempt(self, spec: ToolSpec, arguments: BaseModel, ctx: ToolContext) -> Outcome:
        try:
            value = run_with_retry(
                lambda: spec.call(ctx, arguments),
                tries=self.services.settings.tool_retries,
                report=lambda text: ctx.progress(text),
                stop=self.interrupted.is_set,
            )
            return Outcome(True, value)
        except Interrupted as error:
            return Outcome(False, message=error.message)
        except InternError as error:
            return replace(
                Outcome(False, message=error.message, hint=error.hint), denied=isinstance(error, Denied)
            )
        except Exception as error:  # noqa: BLE001 - a tool's bug must not end the run; the brain is told
            self.journal.append("tool_bug", {"call": ctx.call, "error": repr(error)})
            if is_transient(error):
                tries = self.services.settings.tool_retries + 1
                told = str(error).partition("\n")[0].rstrip(".")
                message = f"{spec.name} got no answer in {tries} tries: {told}."
                return Outcome(False, message=message, hint=GO_ON)
            return Outcome(False, message=f"{spec.name} failed inside: {type(error).__name__}: {error}")


def _bounded(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as they are, or their beginning: a cell may refuse itself as often as it likes."""
    text = json.dumps(dict(given), default=str)
    return dict(given) if len(text) <= KEPT_OF_REFUSED else {"shortened": text[:KEPT_OF_REFUSED]}


def show_price(price: Price) -> str:
    """A price in words."""
    if price.usd is None or price.gpu_hours is None:
        return "unknown"
    parts = [
        f"{price.usd:.2f} usd" if price.usd else "",
        f"{price.gpu_hours:g} gpu-hours" if price.gpu_hours else "",
    ]
    return ", ".join(filter(None, parts)) or "free"


def summarise(value: Any, limit: int = 200) -> str:
    """A result in one line for people."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= limit else text[: limit - 1] + "…"
