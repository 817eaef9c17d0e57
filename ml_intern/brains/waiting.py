"""Asks a brain again after errors that pass by themselves, and tells the person about each wait."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt

from ml_intern.brains.errors import classify, one_line, retry_after
from ml_intern.events import Event, Notice

T = TypeVar("T")

LONGEST_BACKOFF_S = 60.0


class Patience:
    """Retries with jittered exponential backoff; a wait that the provider asks for is kept in full.

    Args:
        label: The brain, for the notices.
        tries: Further tries after the first.
        emit: Where notices go.
        longest_s: A provider that asks to wait longer than this has, for this run, said no.
        sleep: Waits; tests give their own.
    """

    def __init__(
        self,
        label: str,
        tries: int,
        emit: Callable[[Event], None],
        longest_s: float,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.label = label
        self.emit = emit
        self.longest_s = longest_s
        self._policy = Retrying(
            retry=retry_if_exception(self._passes),
            stop=stop_after_attempt(tries + 1),
            wait=self._wait,
            before_sleep=self._tell,
            sleep=sleep,
            reraise=True,
        )

    def __call__(self, ask: Callable[[], T]) -> T:
        """Call `ask`, again after errors that pass; its last error is raised as it is."""
        return self._policy.copy()(ask)

    def _passes(self, error: BaseException) -> bool:
        if not isinstance(error, Exception) or (retry_after(error) or 0) > self.longest_s:
            return False
        return classify(error) in ("rate_limit", "transient")

    def _wait(self, state: RetryCallState) -> float:
        error = _error_of(state)
        backoff = min(LONGEST_BACKOFF_S, 2.0 ** (state.attempt_number - 1)) * random.uniform(0.5, 1.0)
        asked = retry_after(error) if error else None
        # A little more than asked, so that waiting clients do not all come back in the same instant.
        return backoff if asked is None else asked + random.uniform(0.0, 0.5)

    def _tell(self, state: RetryCallState) -> None:
        error = _error_of(state)
        reason = one_line(error, 160).rstrip(".") if error else "no answer"
        self.emit(Notice("warning", f"{self.label}: {reason}. Asking again in {state.upcoming_sleep:.1f} s."))


def _error_of(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
