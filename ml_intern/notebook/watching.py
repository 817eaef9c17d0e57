"""A turn of a hosted session, watched from the person's words to the answer; in a notebook below the cell."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import TYPE_CHECKING, Any

from ml_intern.errors import UsageError
from ml_intern.events import ApprovalNeeded
from ml_intern.notebook import kernel
from ml_intern.notebook.asking import ask
from ml_intern.notebook.outcome import outcome
from ml_intern.notebook.progress import Turn, progress
from ml_intern.router.approval import Answer, Approver, NoAnswer, call_aside, headless

if TYPE_CHECKING:
    from ml_intern.hosting import Hosted
    from ml_intern.result import RunResult

TICK_S = 0.4
"""Between two pictures of what goes on."""


def watch(hosted: Hosted, words: str | None, approver: Approver | None, seen: bool) -> RunResult | None:
    """Say something to a session, wait for what comes of it, and ask meanwhile what its gate asks.

    Args:
        hosted: The session.
        words: What the person says; nothing: it goes on.
        approver: Answers the gate; nothing: the person at the notebook, where there is one.
        seen: It is shown below the cell, and an interrupt of the cell ends the run in order.

    Returns:
        What has come of the session; None where it cannot be told.
    """
    if seen:
        kernel.hush()
    watching = _Watch(hosted, words, approver, seen)
    with watching.interrupts() if seen else nullcontext():
        try:
            if words is None:
                hosted.go_on()
            else:
                hosted.tell(words)
            while watching.step():
                pass
        except KeyboardInterrupt:
            hosted.stop("run")
            raise
    result = hosted.result()
    if seen and result is not None:
        watching.end(result)
    return result


class _Watch:
    def __init__(self, hosted: Hosted, words: str | None, approver: Approver | None, seen: bool) -> None:
        self._hosted = hosted
        self._seen = len(hosted.events())
        further = words is not None and self._seen > 0
        self._turn = Turn(words or "The session goes on", further=further)
        self._place = kernel.Place() if seen else None
        self._approver = approver
        self._budget: dict[str, dict[str, float | None]] = {}
        self._heard: list[ApprovalNeeded] = []
        """Questions that are being answered; after a change of its arguments a call is asked about again."""
        self._stopping = False

    def end(self, result: RunResult) -> None:
        """The result stands where the progress was."""
        if self._place is not None:
            self._place.show(outcome(result, self._turn), str(result))
            kernel.is_shown(result)

    def step(self) -> bool:
        """Take what is new; whether there is more to come."""
        fresh = self._hosted.wait(self._seen, TICK_S)
        for event in fresh:
            self._turn.take(event)
        self._seen += len(fresh)
        if not fresh and self._hosted.state != "working":
            return False
        self._draw()
        for question in self._hosted.questions:
            if not any(question is heard for heard in self._heard) and self._turn.shows(question):
                self._heard.append(question)
                self._answer(question)
        return True

    def _draw(self) -> None:
        if self._place is None:
            return
        session = self._hosted.session
        if session is not None:
            self._budget = session.budget.summary()
        page = progress(self._turn, self._budget, self._stopping)
        self._place.show(page, f"{self._turn.prompt}: {self._turn.board.what_goes_on()}")

    def _answer(self, question: ApprovalNeeded) -> None:
        if (approver := self._approver) is not None:
            work = threading.Thread(
                target=lambda: self._give(question, _asked(approver, question)), daemon=True
            )
            work.start()
        elif self._place is not None and kernel.person_is_there():
            self._give(question, self._person(question))
        else:
            self._give(question, headless(question))

    def _give(self, question: ApprovalNeeded, answer: Answer) -> None:
        try:
            self._hosted.answer(question.call, answer)
        except UsageError:  # the run ended meanwhile: there is nothing to answer any more
            pass

    def _person(self, question: ApprovalNeeded) -> Answer:
        """The person's answer; an interrupt of the question stops the run."""
        try:
            with _usual_interrupts():
                return ask(question)
        except (KeyboardInterrupt, EOFError):
            self._stop()
            return Answer(False, "the run was interrupted")

    def _stop(self) -> None:
        self._stopping = True
        # In a thread: the one that was interrupted may hold a lock that stopping needs.
        threading.Thread(target=self._hosted.stop, args=("run",), name="stop", daemon=True).start()

    @contextmanager
    def interrupts(self) -> Iterator[None]:
        """An interrupt of the cell stops the run in order; a second one leaves it at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(number: int, frame: FrameType | None) -> None:
            if self._stopping:
                raise KeyboardInterrupt
            self._stop()

        before = signal.signal(signal.SIGINT, handle)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def _asked(approver: Approver, question: ApprovalNeeded) -> Answer:
    try:
        return call_aside(approver, question, None, lambda: False)
    except NoAnswer as error:
        return Answer(False, error.message)


@contextmanager
def _usual_interrupts() -> Iterator[None]:
    """While `input` waits, an interrupt has to reach it."""
    before: Any = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
