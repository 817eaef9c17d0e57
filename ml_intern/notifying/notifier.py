"""Sends notifications beside the session: nothing here holds a run up, and nothing here ends one."""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from ml_intern.clock import now
from ml_intern.events import ApprovalNeeded, Event, Notice, SessionFinished, TurnFinished
from ml_intern.notifying.messages import About, Message
from ml_intern.notifying.targets import Target
from ml_intern.retry import is_transient, retry_after, status_of
from ml_intern.secrets.masking import mask

if TYPE_CHECKING:
    import httpx

TRIES = 5
BASE_S, PATIENCE_S = 1.0, 60.0
"""The scale of the waits where the server names none; the longest wait for one message."""
CONNECT_S, ANSWER_S = 5.0, 10.0
LEAVE_S = 5.0
"""How long the end of a session waits for what is on its way."""
MOST_WAITING = 100
MOST_MESSAGES = 50
"""Of the brain's own words: a cell that tells in a loop does not fill a channel."""
GONE = (401, 403, 404, 410)
"""With these a webhook says that it is none, or none any more."""


class Notifier:
    """Makes notifications of events and sends them, each target in a thread of its own.

    Args:
        targets: Where to; none: nothing is done at all.
        kinds: Of `messages.KINDS`, those that are sent.
        about: The session.
        tell: Takes a line for the person, where a target does not take what is sent.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        kinds: Collection[str],
        about: About,
        tell: Callable[[str], None],
    ) -> None:
        self._lines = [Line(target, tell) for target in targets]
        self._kinds = frozenset(kinds)
        self._about = about
        self._tell = tell
        self._error = self._answer = ""
        self._said = 0
        self.asks: Callable[[], bool] = lambda: True
        """Whether a person answers questions; else there is nothing to come and answer."""

    def take(self, event: Event) -> None:
        """See an event of the session; what of it is told, is sent."""
        if not self._lines:
            return
        match event:
            case ApprovalNeeded() if self.asks():
                self._send(Message.asking(self._about, event))
            case Notice(level="error", source=""):
                self._error = event.text
            case TurnFinished():
                self._answer = event.answer
                self._send(Message.answering(self._about, event.at, event.answer))
            case SessionFinished():
                told = event.status in ("done", "denied") and event.answer == self._answer != ""
                if not told:  # when it was given
                    self._send(Message.ending(self._about, event, self._error))

    def message(self, text: str) -> None:
        """Send words of the brain's to the person."""
        if self._lines and "message" in self._kinds:
            self._said += 1
            if self._said <= MOST_MESSAGES:
                self._send(Message("message", self._about, now(), "A word from the intern", text))
            elif self._said == MOST_MESSAGES + 1:
                self._tell(f"{MOST_MESSAGES} messages were sent; further ones of this run stay here.")

    def _send(self, message: Message) -> None:
        if message.kind in self._kinds:
            for line in self._lines:
                line.put(message)

    def flush(self, seconds: float | None = None) -> None:
        """Wait until all is sent or given up; a few seconds at most where nothing is said."""
        deadline = time.monotonic() + (LEAVE_S if seconds is None else seconds)
        for line in self._lines:
            line.wait(deadline)

    def close(self) -> None:
        """Send what is on its way, for a few seconds, and no more."""
        self.flush()
        for line in self._lines:
            line.close()


class Line:
    """The way to one target: a queue, and a thread while there is something in it."""

    def __init__(self, target: Target, tell: Callable[[str], None]) -> None:
        self._target = target
        self._tell = tell
        self._queue: queue.Queue[Message | None] = queue.Queue(MOST_WAITING + 1)
        self._open = 0
        self._idle = threading.Condition()
        self._leave = threading.Event()
        self._not_before = 0.0
        self._gone = False
        self._told: set[str] = set()
        self._thread: threading.Thread | None = None

    def put(self, message: Message) -> None:
        """Queue a message; where far too many wait it is dropped, and the person is told."""
        with self._idle:
            if self._gone or self._leave.is_set():
                return
            dropped = self._open >= MOST_WAITING
            if not dropped:
                self._open += 1
                self._queue.put_nowait(message)
                self._start()
        if dropped:
            self._complain("too many messages wait; the newest are dropped")

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="ml-intern-notify", daemon=True)
            self._thread.start()

    def wait(self, deadline: float) -> None:
        """Wait until nothing is on its way."""
        with self._idle:
            self._idle.wait_for(lambda: not self._open, max(0.0, deadline - time.monotonic()))

    def close(self) -> None:
        """Begin nothing more; the thread ends."""
        with self._idle:
            self._leave.set()
            if self._thread is not None:
                with suppress(queue.Full):
                    self._queue.put_nowait(None)

    def _work(self) -> None:
        import httpx

        limits = httpx.Timeout(ANSWER_S, connect=CONNECT_S)
        with httpx.Client(timeout=limits, follow_redirects=False) as client:
            while not self._leave.is_set() and (message := self._queue.get()) is not None:
                problem = "" if self._gone else self._deliver(client, message)
                if problem:
                    self._complain(problem)
                with self._idle:
                    self._open -= 1
                    self._idle.notify_all()

    def _deliver(self, client: httpx.Client, message: Message) -> str:
        """Send one message; why that could not be, or nothing."""
        import httpx

        problem = ""
        for attempt in range(TRIES):
            wait = self._not_before - time.monotonic()
            if wait > PATIENCE_S:
                return problem or "it asked to be left alone for long"
            if wait > 0 and self._leave.wait(wait):
                return problem or "the session ended before it could be sent"
            try:
                self._target.post(client, message)
                return ""
            except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
                problem = mask(str(error).partition("\n")[0]) or type(error).__name__
                if not is_transient(error):
                    self._gone = status_of(error) in GONE
                    return problem
                asked = retry_after(error)
                pause = random.uniform(0, BASE_S * 2.0**attempt) if asked is None else asked
                self._not_before = time.monotonic() + pause
        return f"{problem}, {TRIES} times"

    def _complain(self, problem: str) -> None:
        """Once for each kind of trouble: a webhook that is gone is no reason for a line a message."""
        if problem not in self._told and len(self._told) < TRIES:
            self._told.add(problem)
            rest = " Nothing more is sent there." if self._gone else ""
            self._tell(f"{self._target.label} did not take a notification: {problem}.{rest}")
