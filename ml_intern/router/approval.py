"""Questions of the gate and their answers: asked one after the other, each once, and written down."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from ml_intern.errors import InternError, Interrupted
from ml_intern.events import ApprovalAnswered, ApprovalNeeded, Event
from ml_intern.journal.journal import Journal
from ml_intern.prices import Price
from ml_intern.router.gate import no_dearer
from ml_intern.router.policy import NETWORK, OPENING
from ml_intern.router.recorded import Said
from ml_intern.secrets.masking import mask, mask_all
from ml_intern.tooling import ToolSpec

if TYPE_CHECKING:
    from ml_intern.context import Services

_POLL_S = 0.1
_LEAVE_S = 1.0
"""How long an approver has to leave its question after an interrupt: it gives the terminal back."""


@dataclass(frozen=True)
class Answer:
    """What a person says to a question of the gate.

    Attributes:
        allowed: Yes or no.
        reason: Of a no; the brain reads it.
        arguments: Changed arguments; those that are not named stay. They are checked and priced again, and
            asked about again where they cost more or reach further than what was shown.
        always: Ask no more about what the question's `always` says.
    """

    allowed: bool
    reason: str = ""
    arguments: Mapping[str, Any] | None = None
    always: bool = False


Approver = Callable[[ApprovalNeeded], Answer]
"""Answers a question, in a thread of its own. One that raises has said no."""


class Desk:
    """Where questions are put to a person.

    Args:
        approver: Answers them; None answers no to each.
        journal: Keeps questions and answers, so that a question that nobody answered is found again.
        emit: Takes the events for the faces.
        stopped: True once the run is being stopped.
        said: What a person has answered in an earlier process, by the key of the call.
    """

    def __init__(
        self,
        approver: Approver | None,
        journal: Journal,
        emit: Callable[[Event], None],
        stopped: Callable[[], bool],
        said: Mapping[str, deque[Said]] | None = None,
    ) -> None:
        self.approver = approver
        self._said = said or {}
        self._journal = journal
        self._emit = emit
        self.stopped = stopped
        self._turn = threading.Lock()

    def heard(self, key: str) -> bool:
        """Whether a person reads what is asked about this call, or has read it before a crash."""
        return self.approver is not None or bool(self._said.get(key))

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One call after the other: what the one before was told may answer this one, too.

        Raises:
            Interrupted: The run was stopped while the call waited.
        """
        while not self._turn.acquire(timeout=_POLL_S):
            if self.stopped():
                raise Interrupted("Stopped while another question was open.")
        try:
            yield
        finally:
            self._turn.release()

    def ask(self, question: ApprovalNeeded, key: str, price: Price) -> Answer:
        """Put a question and wait; in every case there is an answer.

        Args:
            question: With its arguments as they are; what is shown has no credentials in it.
            key: Idempotency key of the call, by which a restarted session knows the question again.
            price: Of the call; an answer that was given before a crash holds unless it costs more now.
        """
        shown = replace(
            question,
            arguments=mask_all(question.arguments),
            reason=mask(question.reason),
            reach=mask(question.reach),
            always=mask(question.always),
        )
        if (known := self._known(shown, key, price)) is not None:
            return known
        line = {**shown.to_json(), "key": key, "cost": asdict(price)}
        self._journal.append("question", line, durable=self.approver is not None)
        self._emit(shown)
        answer, by = self._answer(shown)
        record = {
            "call": shown.call,
            "allowed": answer.allowed,
            "reason": answer.reason,
            "by": by,
            "always": shown.always if answer.always else "",
            "arguments": answer.arguments,
        }
        self._journal.append("answer", record, durable=self.approver is not None)
        told = answer.reason or (f"always: {shown.always}" if answer.always and shown.always else "")
        self._emit(ApprovalAnswered(shown.call, answer.allowed, told, by))
        kept = _changed(answer.arguments, shown.arguments)
        return replace(answer, arguments=kept)

    def _known(self, question: ApprovalNeeded, key: str, price: Price) -> Answer | None:
        """What a person has answered to this very question before a crash."""
        talk = self._said.get(key)
        if not talk:
            return None
        said = talk.popleft()
        was, answer = said.question, said.answer
        then = Price(**was.get("cost", {}))
        same = (was["arguments"], was["reach"]) == (question.arguments, question.reach)
        if not same or (answer["allowed"] and price != then and not no_dearer(price, then)):
            talk.clear()  # another question than it was: what was said after it speaks of something else, too
            return None
        changed = _changed(answer["arguments"], question.arguments)
        return Answer(bool(answer["allowed"]), str(answer["reason"]), changed, bool(answer["always"]))

    def _answer(self, question: ApprovalNeeded) -> tuple[Answer, str]:
        if self.approver is None:
            return headless(question), "nobody"
        try:
            return call_aside(self.approver, question, None, self.stopped), "person"
        except (NoAnswer, Interrupted) as error:
            return Answer(False, error.message), "nobody"


class NoAnswer(InternError):
    """An approver gave no answer that can be understood."""


def headless(question: ApprovalNeeded) -> Answer:
    """The answer where nobody is there: no, with the word that would have allowed it."""
    way = f"; --yes {question.yes} would allow it" if question.yes else ""
    return Answer(False, f"nobody is there to ask ({question.reason}){way}")


def within(approver: Approver, seconds: float) -> Approver:
    """The same approver, with a no when it takes longer than this."""
    return lambda question: call_aside(approver, question, seconds, lambda: False)


def call_aside(
    approver: Approver, question: ApprovalNeeded, seconds: float | None, stopped: Callable[[], bool]
) -> Answer:
    """Ask in another thread, so that an approver that is stuck holds up neither an interrupt nor the exit.

    Raises:
        NoAnswer: It raised, took too long, or answered with something else than an `Answer`.
        Interrupted: The run was stopped; what is said later counts no more.
    """
    said: list[Answer | bool | BaseException] = []
    over = threading.Event()

    def work() -> None:
        try:
            said.append(approver(question))
        except BaseException as error:  # noqa: BLE001 - the top of a thread: a person's own code, whatever it does
            said.append(error)
        finally:
            over.set()

    threading.Thread(target=work, name="approver", daemon=True).start()
    deadline = None if seconds is None else time.monotonic() + seconds
    while not over.wait(_POLL_S):
        if stopped():
            over.wait(_LEAVE_S)
            raise Interrupted("the run was interrupted")
        if deadline is not None and time.monotonic() >= deadline:
            raise NoAnswer(f"nobody answered within {seconds:g} s")
    return _understood(said[0])


def _understood(said: Any) -> Answer:
    if isinstance(said, NoAnswer):
        raise said
    if isinstance(said, BaseException):
        raise NoAnswer(f"the approver failed: {type(said).__name__}: {said}".rstrip(": "))
    if isinstance(said, bool):
        return Answer(said)
    if not isinstance(said, Answer):
        raise NoAnswer(f"the approver answered with {type(said).__name__}, not with an Answer")
    return said


class Answers:
    """An approver whose answers come from elsewhere: `give` them, from any thread.

    Args:
        timeout_s: How long a question waits; None waits until `close`.
    """

    def __init__(self, timeout_s: float | None = None) -> None:
        self._timeout_s = timeout_s
        self._given: dict[str, Answer] = {}
        self._open: dict[str, ApprovalNeeded] = {}
        self._changed = threading.Condition()
        self._closed = False

    def __call__(self, question: ApprovalNeeded) -> Answer:
        """Wait for the answer to a question."""
        with self._changed:
            self._open[question.call] = question
            there = self._changed.wait_for(
                lambda: self._closed or question.call in self._given, self._timeout_s
            )
            self._open.pop(question.call, None)
            if question.call in self._given:
                return self._given.pop(question.call)
        raise NoAnswer("nobody answered" if there else f"nobody answered within {self._timeout_s:g} s")

    @property
    def open(self) -> list[ApprovalNeeded]:
        """The questions that wait."""
        with self._changed:
            return list(self._open.values())

    def give(self, call: str, answer: Answer) -> None:
        """Answer the question of a call; an answer may be there before its question waits."""
        with self._changed:
            self._given[call] = answer
            self._changed.notify_all()

    def close(self) -> None:
        """Wait no more: what is open is a no."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def pending(journal: Journal) -> list[dict[str, Any]]:
    """Questions that were put and never answered: what a restarted session has to ask again."""
    waiting: dict[str, dict[str, Any]] = {}
    for entry in journal.entries():
        if entry.kind == "question":
            waiting[entry.payload["call"]] = entry.payload
        elif entry.kind == "answer":
            waiting.pop(entry.payload["call"], None)
    return list(waiting.values())


def reach_of(spec: ToolSpec, arguments: Mapping[str, Any], services: Services) -> str:
    """What a call can reach beyond the sandbox, in words."""
    if spec.effect == "read" and arguments.get(NETWORK) is True:
        return "the host of that address"
    if spec.effect in OPENING and arguments.get(NETWORK) is True:
        return "the internet, and what this machine and its network serve, loopback included"
    if spec.effect == "compute" and (place := _rented_reach(arguments, services)):
        return place
    if any(need.startswith("hub:") for need in spec.needs):
        return _hub_reach(arguments, services)
    if spec.origin.startswith("mcp:"):
        return f"whatever the MCP server {spec.origin.removeprefix('mcp:')} reaches"
    if spec.effect in ("publish", "destroy"):
        return f"whatever {spec.name} reaches: it does not say"
    return "the workspace" if spec.effect == "write" else "the session's own jobs, without network"


def _rented_reach(arguments: Mapping[str, Any], services: Services) -> str:
    """Of a job that leaves this machine: where to, who pays, and what goes along."""
    base = arguments.get("base")
    asked = arguments.get("hardware") or (base.get("hardware") if isinstance(base, Mapping) else "")
    kind, _, machine = str(asked).partition(":")
    if kind == "slurm":
        return f"the cluster's partition {machine}, in the session's folder on the shared disk"
    if kind != "hf-jobs":
        return ""
    try:
        payer = services.settings.hf_namespace or services.hub.user
    except InternError:
        payer = "an account that could not be asked for"
    sent = f"code and inputs go into the private repository {payer}/ml-intern-jobs on {services.hub.label}"
    return f"HF Jobs, a {machine}, paid by {payer}; {sent}"


def _hub_reach(arguments: Mapping[str, Any], services: Services) -> str:
    """Which Hub, which repository, who sees it, whose account."""
    hub = services.hub
    try:
        account = "the embedded Hub's own user" if hub.embedded else hub.user
    except InternError:
        account = "an account that could not be asked for"
    repo = arguments.get("repo") or arguments.get("repo_id") or "a repository"
    private = arguments.get("private")
    seen = "" if private is None else ", private" if private else ", public: everybody can read it"
    return f"{repo} on {hub.label}{seen}, as {account}"


def _changed(given: Mapping[str, Any] | None, shown: Mapping[str, Any]) -> dict[str, Any] | None:
    """What an answer changes: a credential that was hidden when it was shown stays what it is."""
    if given is None:
        return None
    return {name: value for name, value in given.items() if name not in shown or value != shown[name]}
