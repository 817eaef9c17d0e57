"""Ends a kernel whose folders grow by more than they may."""

from __future__ import annotations

import threading

from ml_intern.sandbox.base import Limits, Mounts
from ml_intern.sandbox.growth import PAUSE_S, Growth
from ml_intern.sandbox.link import Link

TOO_MUCH = (
    "the workspace grew by more than {} (setting sandbox_growth_mb). Its files are still there: delete "
    "what is not needed."
)


class Watcher:
    """Measures from the first start of a kernel on, whatever becomes of that kernel.

    Args:
        mounts: The folders.
        limits: What they may grow by; where nothing is said, nothing is watched.
    """

    def __init__(self, mounts: Mounts, limits: Limits) -> None:
        self._mounts, self._limit_mb = mounts, limits.growth_mb
        self._growth: Growth | None = None
        self._link: Link | None = None
        self._verdict = ""

    def begin(self) -> None:
        """Before a kernel and before a cell: what lies there may stay, also where it is over the limit."""
        if self._growth:
            self._growth.renew()
        elif self._limit_mb is not None:
            folders = [self._mounts.workspace, *self._mounts.writable]
            self._growth = Growth(folders, self._limit_mb, self._processes)

    def follow(self, link: Link) -> None:
        """Watch as long as this kernel lives, also between cells: processes of earlier ones may write."""
        self._link = link
        if self._growth:
            threading.Thread(
                target=self._watch, args=(link, self._growth), name="growth", daemon=True
            ).start()

    def verdict(self) -> str:
        """Why the last kernel was ended, if it was; told once."""
        told, self._verdict = self._verdict, ""
        return told

    def _watch(self, link: Link, growth: Growth) -> None:
        while not link.ended.wait(PAUSE_S):
            if growth.over():
                self._verdict = TOO_MUCH.format(growth.told)
                link.end()

    def _processes(self) -> set[int]:
        return self._link.process.pids() if self._link else set()
