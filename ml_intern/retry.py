"""Which errors of the network pass by themselves, and how long to wait for that."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt

from ml_intern.errors import Interrupted

T = TypeVar("T")

LONGEST_WAIT_S = 60.0
_EPOCH = 1e9
"""A larger number of seconds is a moment, not a wait."""


def is_transient(error: BaseException) -> bool:
    """True for dropped connections, timeouts, rate limits and server errors; not for a caller's mistake."""
    status = status_of(error)
    if status is not None:
        return status in (408, 425, 429) or 500 <= status < 600 or (status == 403 and limits_rate(error))
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"TransportError", "ConnectionError", "APIConnectionError", "Timeout"})


def status_of(error: BaseException) -> int | None:
    """The HTTP status that an error carries, if any."""
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    return status if isinstance(status, int) else None


def limits_rate(error: BaseException) -> bool:
    """Whether an answer is a rate limit: 429, or 403 with a wait beside it, as GitHub says it."""
    headers: Any = getattr(getattr(error, "response", None), "headers", None) or {}
    status = status_of(error)
    waits = bool(headers.get("retry-after")) or used_up(headers) is not None
    return status == 429 or (status == 403 and waits)


def used_up(headers: Any) -> float | None:
    """Seconds until an allowance of requests begins anew, where the headers say that nothing is left of it.

    ``x-ratelimit-reset`` is a moment with some servers and a number of seconds with others. A second at
    least, since moments are told in whole ones.
    """
    reset = _number(headers.get("x-ratelimit-reset"))
    if reset is None or (headers.get("x-ratelimit-remaining") or "").strip() != "0":
        return None
    now = _seconds(headers.get("date") or "") or time.time()
    return max(1.0, reset - now if reset > _EPOCH else reset)


def retry_after(error: BaseException) -> float | None:
    """Seconds that the server asks to wait: from its headers (a number or a date), else from its words."""
    headers: Any = getattr(getattr(error, "response", None), "headers", None)
    # LiteLLM puts an empty response in the place of the one that came.
    headers = headers or getattr(error, "litellm_response_headers", None) or {}
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    asked = headers.get("retry-after")
    if asked:
        return seconds if (seconds := _number(asked)) is not None else _until(asked, headers.get("date"))
    if (wait := used_up(headers)) is not None:
        return wait
    found = re.search(r"(?:try again|retry) in (\d+(?:\.\d+)?)\s*(ms|s|m)\b", str(error).lower())
    return float(found[1]) * {"ms": 0.001, "s": 1.0, "m": 60.0}[found[2]] if found else None


def _number(text: str | None) -> float | None:
    try:
        return max(0.0, float(text)) if text else None
    except ValueError:
        return None


def _until(date: str, sent: str | None) -> float | None:
    """Seconds by the server's own clock, where it tells it: ours may be wrong."""
    until = _seconds(date)
    now = (_seconds(sent) if sent else None) or time.time()
    return None if until is None else max(0.0, until - now)


def _seconds(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None


def run_with_retry(
    work: Callable[[], T],
    *,
    tries: int,
    report: Callable[[str], None],
    stop: Callable[[], bool] = lambda: False,
    base_s: float = 1.0,
) -> T:
    """Run `work`, again after transient errors, with full jitter and the server's own wait honoured.

    Args:
        work: What to do.
        tries: Further tries after the first.
        report: Told of each wait.
        stop: True ends the waiting.
        base_s: Scale of the waits where the server names none.

    Raises:
        Interrupted: `stop` said so during a wait.
    """

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = retry_after(error) if error else None
        jittered = random.uniform(0, min(LONGEST_WAIT_S, base_s * 2.0**state.attempt_number))
        return min(asked, LONGEST_WAIT_S) if asked is not None else jittered

    def before_sleep(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        told = str(error).partition("\n")[0] or type(error).__name__
        report(f"{told}; trying again in {state.upcoming_sleep:.1f} s")

    def sleep(seconds: float) -> None:
        for pause in _slices(seconds):
            if stop():
                raise Interrupted("Stopped while waiting to try again.")
            time.sleep(pause)

    policy = Retrying(
        retry=retry_if_exception(is_transient),
        stop=stop_after_attempt(tries + 1),
        wait=wait,
        before_sleep=before_sleep,
        sleep=sleep,
        reraise=True,
    )
    return policy(work)


def _slices(seconds: float, slice_s: float = 0.2) -> Iterator[float]:
    while seconds > 0:
        yield min(slice_s, seconds)
        seconds -= slice_s
