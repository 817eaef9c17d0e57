"""A queue of file locks: at most so many jobs run on this machine at once, whoever started them.

A lock dies with its process, so nothing has to be cleaned up after a kill -9. Whoever waits holds a lock on
a ticket; tickets sort by priority and then by the time since the machine started, which nobody can set, and
only the first living one may take free slots. Jobs on a GPU and jobs on the CPU have slots and queues of
their own: neither waits for what it does not need. Standard library only, because the supervisor starts with
it.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

GPU_HERE = "@gpu@"
"""Stands in a launch plan for the number of the GPU, which is known once the job has its slot."""


def try_lock(path: Path) -> int | None:
    """Lock a file without waiting: its descriptor, or None where somebody else holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def is_locked(path: Path) -> bool:
    """Does somebody hold the lock? The look itself shares the lock for a moment with other looks."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


class Queue:
    """One waiting place for a slot.

    Args:
        folder: Where the locks are; the same for all jobs of a machine's user.
        slots: How many may run at once.
        priority: From -9 to 9; the higher goes first.
        kind: Of the slot: ``cpu`` or ``gpu``.
        takes: How many slots it needs at once; all of them where there are fewer.
    """

    def __init__(
        self, folder: Path, slots: int, priority: int = 0, kind: str = "cpu", takes: int = 1
    ) -> None:
        self.folder = folder
        self.slots = max(1, slots)
        self.takes = max(1, min(takes, self.slots))
        self._kind = "" if kind == "cpu" else f"{kind}-"
        self._locks: dict[int, int] = {}
        self._tickets = folder / f"{self._kind}queue"
        self._tickets.mkdir(parents=True, exist_ok=True)
        rank = 9 - max(-9, min(9, priority))
        self._ticket = self._tickets / f"{rank:02d}-{time.monotonic_ns():020d}-{os.getpid()}"
        # Locked before it has its name: whoever finds a ticket without a lock takes its owner for dead.
        fresh = folder / f"ticket-{self._ticket.name}"
        self._place: int | None = try_lock(fresh)
        fresh.rename(self._ticket)

    @property
    def held(self) -> list[int]:
        """The numbers of the slots that it holds."""
        return sorted(self._locks)

    def try_enter(self) -> bool:
        """Take the slots if enough are free and nobody has waited longer; whether it holds them."""
        if not self._locks and self._is_first():
            for number in range(self.slots):
                lock = try_lock(self.folder / f"{self._kind}slot-{number}")
                self._locks |= {number: lock} if lock is not None else {}
                if len(self._locks) == self.takes:
                    self._give_up_place()
                    return True
            self._give_back()
        return bool(self._locks)

    def leave(self) -> None:
        """Give the slots, or the place in the queue, back."""
        self._give_up_place()
        self._give_back()

    def _give_back(self) -> None:
        for lock in self._locks.values():
            os.close(lock)
        self._locks = {}

    def _is_first(self) -> bool:
        for ticket in sorted(self._tickets.iterdir()):
            if ticket.name >= self._ticket.name:
                return True
            lock = try_lock(ticket) if ticket.exists() else None
            if lock is None:
                if ticket.exists():
                    return False  # Somebody alive is ahead.
                continue
            ticket.unlink(missing_ok=True)  # Its owner died waiting.
            os.close(lock)
        return True

    def _give_up_place(self) -> None:
        if self._place is not None:
            self._ticket.unlink(missing_ok=True)
            os.close(self._place)
            self._place = None
