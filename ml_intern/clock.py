"""Seconds since the epoch that run evenly: whatever somebody does to the machine's clock in mid-run.

The time of day is asked once, at the start of the process. From then on a clock that nobody can set is added
to it, so times within a process are in order and their differences are durations. Another process may stand
elsewhere: what one measured is handed on as a duration, never as two times.
"""

from __future__ import annotations

import time


def _steady() -> float:
    # Unlike `monotonic` it goes on while the machine sleeps.
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


_ANCHOR = time.time() - _steady()


def now() -> float:
    """Seconds since the epoch."""
    return _ANCHOR + _steady()
