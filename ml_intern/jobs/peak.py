"""How much main memory a job holds at the most. Standard library only: a job's supervisor uses it."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

PAUSE_S = 0.25
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Peak:
    """The most that the processes of a job held at one time.

    Their resident memory is added up several times a second; what they share counts for each. Between two
    looks a short peak is missed, but for that of the largest single process, which the kernel remembers.

    Args:
        pids: The job's processes now.
    """

    def __init__(self, pids: Callable[[], Iterable[int]]) -> None:
        self._pids = pids
        self._bytes = 0
        self._next = 0.0

    def look(self) -> None:
        """Ask again and again: most calls do nothing."""
        now = time.monotonic()
        if now >= self._next:
            self._bytes = max(self._bytes, sum(map(_resident, self._pids())))
            # What a look takes counts as well: on a machine of many processes it is no longer cheap.
            self._next = time.monotonic() + max(PAUSE_S, 10 * (time.monotonic() - now))

    def mb(self) -> float:
        """The peak so far in MB (2**20 bytes); of processes that have ended the kernel knows it exactly."""
        ended = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        return round(max(self._bytes, ended) / 2**20, 1)


def _resident(pid: int) -> int:
    with suppress(OSError, ValueError, IndexError):  # it is gone
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    return 0
