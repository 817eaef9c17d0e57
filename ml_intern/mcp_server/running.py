"""One call of an assistant on its way through the router: in a thread, with news for whoever serves it."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from ml_intern.errors import InternError, Interrupted
from ml_intern.events import ApprovalNeeded, Event, Notice, ToolProgress
from ml_intern.mcp_server.asking import Asking, again, understood
from ml_intern.mcp_server.seats import OPEN_S
from ml_intern.router.approval import Answer, NoAnswer
from ml_intern.router.calls import Outcome, body_of
from ml_intern.router.earlier import Earlier
from ml_intern.router.router import Switch
from ml_intern.secrets.masking import mask_all

if TYPE_CHECKING:
    from ml_intern.context import Services
    from ml_intern.mcp_server.session import ToolSession

POLL_S = 0.1

News = ToolProgress | Notice | ApprovalNeeded | Outcome
"""What a call tells while it runs; an outcome is the last."""


@dataclass(frozen=True)
class Either:
    """Set when one of two switches is."""

    one: Switch
    other: Switch

    def is_set(self) -> bool:
        """Whether one is."""
        return self.one.is_set() or self.other.is_set()


class Running:
    """A call.

    Args:
        session: Where it is made.
        asking: Learns of the call, so that its questions come here.
        name: The tool.
        given: Its arguments, as the client sent them.
        can_ask: The client shows forms.

    Attributes:
        interrupted: The client has cancelled it, or the session is being stopped.
        services: The session's; events of this call come here first.
        earlier: What earlier processes did.
        stop: Set it to stop the call.
        key: Its idempotency key, once it has one.
        repeated: It is a call of an earlier process, whose end nobody has heard of.
        over: It has come to its end.
    """

    def __init__(
        self, session: ToolSession, asking: Asking, name: str, given: Mapping[str, Any], can_ask: bool
    ) -> None:
        self.name, self.given, self.can_ask = name, dict(given), can_ask
        self.session, self._asking = session, asking
        self.source = f"mcp-{session.number()}"
        self.key, self.repeated = "", False
        self.stop, self.over = threading.Event(), threading.Event()
        self.interrupted: Switch = Either(self.stop, session.router.interrupted)
        self.earlier: Earlier = session.known
        self.services: Services = replace(session.services, emit=self.emit)
        self._loop = asyncio.get_running_loop()
        self._news: asyncio.Queue[News] = asyncio.Queue()
        self._said: list[tuple[str, Mapping[str, Any] | None]] = []
        self._spoken = threading.Condition()

    def start(self) -> None:
        """Begin, in a thread of its own."""
        threading.Thread(target=self._work, name=self.source, daemon=True).start()

    async def news(self) -> News:
        """What it tells next."""
        return await self._news.get()

    def emit(self, event: Event) -> None:
        """Take an event of this call: to the session's stream, and to the client."""
        self.session.emit(event)
        if isinstance(event, ToolProgress | Notice):
            self._tell(event)

    def _tell(self, news: News) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(self._news.put_nowait, news)

    def _work(self) -> None:
        self._asking.begin(self.source, self)
        try:
            with self.session.working():
                outcome = self.outcome()
        except InternError as error:
            outcome = Outcome(False, message=error.message, hint=error.hint)
        except Exception as error:  # noqa: BLE001 - the top of a thread: the client is told in any case
            outcome = Outcome(False, message=f"{self.name} failed inside: {type(error).__name__}: {error}")
        finally:
            self._asking.end(self.source)
        self._tell(outcome)

    def outcome(self) -> Outcome:
        """What comes of it."""
        router = self.session.router
        self.key = self._key()
        return router.call(self.name, self.given, source=self.source, reader=self, key=self.key)

    def delivered(self) -> None:
        """The client has the result."""
        spec = self.session.router.specs.get(self.name)
        if self.key and spec is not None and spec.effect != "read":
            self.session.told(self.key)

    def _key(self) -> str:
        """A key of its own; or that of the same call whose end no client has heard of."""
        whose = self.session.recorded.session or self.session.id
        digest = hashlib.sha256(body_of("mcp", self.name, mask_all(self.given)).encode()).hexdigest()[:16]
        if before := self.session.untold(digest):
            self.repeated = True
            return before
        return f"{whose}:{digest}:mcp-{token_hex(6)}"

    def begins(self, source: str) -> None:
        """Its calls have this source, too."""

    # Questions

    def ask(self, question: ApprovalNeeded) -> Answer:
        """Put a question to the client's person and wait.

        Raises:
            NoAnswer: None came in time.
            Interrupted: The call was cancelled.
        """
        shown = question
        while True:
            with self._spoken:
                self._said.clear()
            self._tell(shown)
            try:
                return understood(question, *self._heard())
            except ValueError as problem:
                shown = again(question, problem)

    def _heard(self) -> tuple[str, Mapping[str, Any] | None]:
        late = time.monotonic() + OPEN_S
        with self._spoken:
            while not self._said:
                if self.interrupted.is_set():
                    raise Interrupted("the call was cancelled")
                if time.monotonic() > late:
                    raise NoAnswer(f"nobody answered within {OPEN_S:g} s")
                self._spoken.wait(POLL_S)
            return self._said.pop()

    def answer(self, action: str, content: Mapping[str, Any] | None) -> None:
        """Hand over what the person did with the form."""
        with self._spoken:
            self._said.append((action, content))
            self._spoken.notify_all()
