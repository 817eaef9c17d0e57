"""Asks a brain again after errors that pass by themselves, and tells the person about each wait."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt

from ml_intern.brains.errors import classify, is_unreachable, one_line
from ml_intern.errors import Interrupted
from ml_intern.events import Event, Notice
from ml_intern.retry import retry_after

T = TypeVar("T")

FIRST_BACKOFF_S = 1.0
"""Before the second try; each further wait is twice as long."""
LONGEST_BACKOFF_S = 60.0
SIGNS_OF_LIFE = 4.0
"""A request that sends something again and again but comes to no end has so many times its timeout."""


class Patience:
    """Retries with jittered exponential backoff; a wait that the provider asks for is kept in full.

    Args:
        label: The brain, for the notices.
        tries: Further tries after the first.
        emit: Where notices go.
        longest_s: A provider that asks to wait longer than this has, for this run, said no.
        stop: Set, it ends a wait and a request at once.
        sleep: Waits; tests give their own.

    Attributes:
        answered: Somebody was there at least once, so that nobody there is an outage and no wrong address.
    """

    def __init__(
        self,
        label: str,
        tries: int,
        emit: Callable[[Event], None],
        longest_s: float,
        stop: threading.Event,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self.label = label
        self.emit = emit
        self.longest_s = longest_s
        self.limit_s = SIGNS_OF_LIFE * longest_s
        self.stop = stop
        self.answered = False
        self._policy = Retrying(
            retry=retry_if_exception(self._passes),
            stop=stop_after_attempt(tries + 1),
            wait=self._wait,
            before_sleep=self._tell,
            sleep=sleep or self._rest,
            reraise=True,
        )

    def __call__(self, ask: Callable[[], T]) -> T:
        """Call `ask`, again after errors that pass; its last error is raised as it is.

        Raises:
            Interrupted: The person stopped the run; what the request still brings is dropped.
        """
        answer = self._policy.copy()(lambda: apart(ask, stop=self.stop, limit_s=self.limit_s))
        self.answered = True
        return answer

    def _rest(self, seconds: float) -> None:
        if self.stop.wait(seconds):
            raise Interrupted("Stopped while waiting for the brain.")

    def _passes(self, error: BaseException) -> bool:
        if not isinstance(error, Exception) or (retry_after(error) or 0) > self.longest_s:
            return False
        # Where nobody ever answered, the address is wrong or the network is off: waiting would not help.
        if is_unreachable(error) and not self.answered:
            return False
        return classify(error) in ("rate_limit", "transient")

    def _wait(self, state: RetryCallState) -> float:
        error = _error_of(state)
        grown = FIRST_BACKOFF_S * 2.0 ** (state.attempt_number - 1)
        backoff = min(LONGEST_BACKOFF_S, grown) * random.uniform(0.5, 1.0)
        asked = retry_after(error) if error else None
        # A little more than asked, so that waiting clients do not all come back in the same instant.
        return backoff if asked is None else asked + random.uniform(0.0, 0.5)

    def _tell(self, state: RetryCallState) -> None:
        error = _error_of(state)
        reason = one_line(error, 160).rstrip(".") if error else "no answer"
        self.emit(Notice("warning", f"{self.label}: {reason}. Asking again in {state.upcoming_sleep:.1f} s."))


def apart(work: Callable[[], T], *, stop: threading.Event | None = None, limit_s: float | None = None) -> T:
    """Run `work` in a thread of its own, so that nothing it hangs in can hold the caller.

    The thread is a daemon: one that hangs does not keep the process from ending either.

    Raises:
        Interrupted: `stop` was set.
        TimeoutError: `limit_s` seconds went by.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - carried over to the thread that waits
            future.set_exception(error)

    threading.Thread(target=run, name="ml-intern-brain", daemon=True).start()
    step_s = 0.1 if limit_s is None else min(0.1, limit_s)
    began = time.monotonic()
    while not wait([future], step_s).done:
        if stop is not None and stop.is_set():
            raise Interrupted("Stopped while the brain was answering.")
        if limit_s is not None and time.monotonic() - began >= limit_s:
            raise TimeoutError(f"no answer in {limit_s:g} s")
    return future.result()


def _error_of(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
