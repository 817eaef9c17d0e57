"""Whose turn it is: the pauses between requests to one host, kept by all processes of this machine.

A small file for each host says from when on it may be asked again; who has a key has an allowance of its
own, so a host that is closed to callers without one stays open to them. A second file is locked for as long
as a request lasts, for hosts that want one connection at a time. The system frees the lock of a process that
dies.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ml_intern.errors import Interrupted
from ml_intern.retry import LONGEST_WAIT_S
from ml_intern.web.errors import Throttled
from ml_intern.web.manners import Manners

LOOK_S = 0.05
LONGEST_QUEUE_S = 900.0
"""A turn further ahead is a clock that was set, not a queue."""
LONGEST_HOLD_S = 24 * 3600.0
TOLD_S = 5.0
"""A wait from here on is told."""


class Pacer:
    """Hands out turns.

    Args:
        folder: Where processes meet; made when it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def turn(
        self,
        manners: Manners,
        keyed: bool = False,
        stop: Callable[[], bool] = lambda: False,
        tell: Callable[[str], None] = lambda text: None,
    ) -> Iterator[None]:
        """Hold while one request lasts; waits until it may begin.

        Raises:
            Interrupted: `stop` said so while waiting.
        """
        line = -1
        try:
            if manners.single:
                line = self._lock(manners, "line", stop)
            _wait(self._reserve(manners, keyed), manners.host.lstrip("."), stop, tell)
            yield
        finally:
            if line >= 0:
                os.close(line)

    def hold(self, manners: Manners, seconds: float, keyed: bool = False) -> None:
        """Nobody asks this host before so many seconds have passed: with a key, or without one."""
        with self._times(manners) as times:
            until = times.now + min(seconds, LONGEST_HOLD_S)
            times.held[keyed] = max(times.held[keyed], until)

    def _reserve(self, manners: Manners, keyed: bool) -> float:
        """Seconds until the turn that is now ours.

        Raises:
            Throttled: The host has asked for more patience than a call has.
        """
        pause = manners.pause(keyed)
        if not pause and not self._path(manners, "next").exists():
            return 0.0  # nothing is known of this host
        with self._times(manners) as times:
            held = times.held[keyed]
            left = held - times.now
            if left > LONGEST_WAIT_S:
                raise Throttled(
                    f"{manners.host.lstrip('.')} asked to be left alone for another {left:.0f} s.",
                    "Do something else meanwhile, or use what the cache holds.",
                )
            begin = max(times.now, times.free, held)
            times.free = begin + pause
            return begin - times.now

    @contextmanager
    def _times(self, manners: Manners) -> Iterator[_Times]:
        """From when on a host may be asked: read, changed and written while nobody else does."""
        handle = self._lock(manners, "next", lambda: False)
        try:
            times = _Times.read(os.pread(handle, 128, 0))
            yield times
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{times.free:.3f} {times.held[0]:.3f} {times.held[1]:.3f}".encode(), 0)
        finally:
            os.close(handle)

    def _path(self, manners: Manners, kind: str) -> Path:
        name = re.sub(r"[^A-Za-z0-9.-]", "_", manners.host.lstrip("."))[:100]
        return self._folder / f"{name}.{kind}"

    def _lock(self, manners: Manners, kind: str, stop: Callable[[], bool]) -> int:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(self._path(manners, kind), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return handle
            except BlockingIOError:
                if stop():
                    os.close(handle)
                    raise Interrupted("Stopped while waiting for another request to end.") from None
                time.sleep(LOOK_S)


def _wait(seconds: float, host: str, stop: Callable[[], bool], tell: Callable[[str], None]) -> None:
    if seconds >= TOLD_S:
        tell(f"waiting {seconds:.0f} s for the next turn at {host}")
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if stop():
            raise Interrupted(f"Stopped while waiting for a turn at {host}.")
        time.sleep(min(LOOK_S, left))


@dataclass
class _Times:
    """Seconds since the epoch: now, when the next turn is free, until when the host wants nobody.

    `held` has two: for callers without a key, and with one.
    """

    now: float
    free: float
    held: list[float]

    @classmethod
    def read(cls, text: bytes) -> _Times:
        now = time.time()
        free, *held = [_number(word) for word in (*text.split(), b"0", b"0", b"0")][:3]
        # Further ahead than anybody ever writes: a clock was set back.
        return cls(
            now,
            free if free < now + LONGEST_QUEUE_S else now,
            [until if until < now + LONGEST_HOLD_S + 1 else now for until in held],
        )


def _number(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
