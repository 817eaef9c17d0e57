"""One fetch under way, and all who wait for it.

A fetch runs in a thread of its own. Who waits looks at its own stop switch, so a stopped run does not wait
for a slow server; a fetch that nobody waits for any more ends by itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from contextlib import suppress

from ml_intern.errors import Interrupted
from ml_intern.web.errors import Unreachable
from ml_intern.web.page import Page

LOOK_S = 0.1
Tell = Callable[[str], None]
Work = Callable[["Flight"], Page]


class Flight:
    """One fetch. `abandoned` is true once nobody waits for it."""

    def __init__(self) -> None:
        self.waiting: list[Tell] = []
        self._done = threading.Event()
        self._page: Page | None = None
        self._error: Exception | None = None

    def abandoned(self) -> bool:
        """Whether nobody waits."""
        return not self.waiting

    def tell(self, text: str) -> None:
        """Say something to all who wait."""
        for tell in tuple(self.waiting):
            tell(text)

    def run(self, work: Work) -> None:
        """Do it."""
        try:
            self._page = work(self)
        except Exception as error:  # noqa: BLE001 - the top of a thread: raised where somebody waits
            self._error = error
        finally:
            self._done.set()

    def result(self, stop: Callable[[], bool], patience_s: float) -> Page:
        """The page.

        Raises:
            Interrupted: `stop` said so.
            Unreachable: The patience is over.
        """
        until = time.monotonic() + patience_s
        while not self._done.wait(LOOK_S):
            if stop():
                raise Interrupted("Stopped while waiting for a page.")
            if time.monotonic() > until:
                raise Unreachable(f"No answer came within {patience_s:.0f} s.", "Try again later.")
        if self._error is not None:
            raise self._error
        assert self._page is not None
        return self._page


class Flights:
    """The fetches of a process: of two for the same page at one time, one is made."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[Hashable, Flight] = {}

    def fetch(
        self, same: Hashable, work: Work, stop: Callable[[], bool], tell: Tell, patience_s: float
    ) -> Page:
        """The page that `work` fetches, or another caller's fetch of the same."""
        flight = self._board(same, work, tell)
        try:
            return flight.result(stop, patience_s)
        finally:
            with self._lock, suppress(ValueError):
                flight.waiting.remove(tell)

    def _board(self, same: Hashable, work: Work, tell: Tell) -> Flight:
        with self._lock:
            flight = self._open.get(same)
            if flight is not None and not flight.abandoned():
                flight.waiting.append(tell)
                return flight
            flight = self._open[same] = Flight()
            flight.waiting.append(tell)
        threading.Thread(
            target=self._fly, args=(same, flight, work), name="ml-intern-page", daemon=True
        ).start()
        return flight

    def _fly(self, same: Hashable, flight: Flight, work: Work) -> None:
        flight.run(work)
        with self._lock:
            if self._open.get(same) is flight:
                del self._open[same]
