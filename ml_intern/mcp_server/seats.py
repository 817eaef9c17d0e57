"""Who has which session: one for a program at the other end of our stdin, one for each client over HTTP."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.errors import InternError
from ml_intern.mcp_server.names import Names
from ml_intern.mcp_server.words import RUN_CELL

if TYPE_CHECKING:
    from ml_intern.mcp_server.asking import Asking
    from ml_intern.mcp_server.running import Running
    from ml_intern.mcp_server.session import ToolSession
    from ml_intern.settings import Settings

OPEN_S = 900.0
"""How long a question waits for its answer."""
MOST_WAITING = 64
"""Calls of one client that run or wait for an answer at one time."""
MOST_KEPT = 1024
"""Clients that are remembered, most of them without a process."""


class Seat:
    """The place of one client; its session is made with the first call that needs one.

    Args:
        settings: Of its session.
        folder: Of a session that goes on.
        name: Under which the session is found again; empty for one that is not.
    """

    def __init__(self, settings: Settings, folder: Path | None = None, name: str = "") -> None:
        self.settings, self.name = settings, name
        self._asking: Asking | None = None
        self.used = time.monotonic()
        self._folder = folder
        self._session: ToolSession | None = None
        self._running: dict[str, Running] = {}
        self._waiting: dict[str, float] = {}
        self._making = threading.Lock()

    def session(self) -> ToolSession:
        """The session; made where there is none. Takes a second or two.

        Raises:
            InternError: It cannot be had.
        """
        with self._making:
            if self._session is None:
                from ml_intern.mcp_server.asking import Asking
                from ml_intern.mcp_server.session import ToolSession

                self._asking = self._asking or Asking()
                names = Names(self.settings.state)
                folder = self._folder or (names.folder(self.name) if self.name else None)
                self._session = ToolSession.opened(self.settings, self._asking, folder)
                self._folder = self._session.folder
                if self.name:
                    names.keep(self.name, self._folder)
            return self._session

    def there(self) -> ToolSession | None:
        """The session, where it was made."""
        return self._session

    async def begin(self, name: str, given: Mapping[str, Any], can_ask: bool) -> Running:
        """Begin a call.

        Raises:
            InternError: There is no session, or too many calls run.
        """
        if len(self._running) >= MOST_WAITING:
            raise InternError(f"{MOST_WAITING} calls run already.", "Wait for some of them.")
        session = await asyncio.to_thread(self.session)
        assert self._asking is not None  # it came with the session
        running = _kind(name)(session, self._asking, name, given, can_ask)
        self._running[running.source] = running
        self.used = time.monotonic()
        running.start()
        return running

    def wait_for(self, running: Running, state: str) -> None:
        """The call waits for an answer, which comes with another request."""
        self._running[state] = self._running.pop(running.source)
        self._waiting[state] = time.monotonic() + OPEN_S

    def waiting(self, state: str, name: str, given: Mapping[str, Any]) -> Running | None:
        """The call that waits under this word; None where there is none, or where it was another one."""
        running = self._running.get(state)
        if running is None or state not in self._waiting or (running.name, running.given) != (name, given):
            return None
        self._waiting.pop(state)
        self._running[running.source] = self._running.pop(state)
        return running

    def forget(self, running: Running) -> None:
        """The call has ended, or nobody waits for it any more."""
        self._running.pop(running.source, None)
        self.used = time.monotonic()

    def idle(self, seconds: float) -> bool:
        """Whether nothing was asked for so long."""
        now = time.monotonic()
        for state in [s for s, until in self._waiting.items() if until < now]:
            self._waiting.pop(state)
            self._running.pop(state, None)
        return not self._running and now - self.used > seconds

    def close(self) -> None:
        """End the session; its jobs run on, and the next call goes on with it."""
        for running in list(self._running.values()):
            running.stop.set()
        with self._making:
            session, self._session = self._session, None
            if session is not None:
                session.end()


def _kind(name: str) -> type[Running]:
    if name == RUN_CELL:
        from ml_intern.mcp_server.cells import RunningCell

        return RunningCell
    from ml_intern.mcp_server.running import Running

    return Running


class Seats:
    """The seats of all clients of a server.

    A client that was away for long finds its session again: what is ended is only its process.

    Args:
        settings: Of their sessions.
        most: So many sessions that run at one time.
    """

    def __init__(self, settings: Settings, most: int = 64) -> None:
        self._settings, self._most = settings, most
        self._seats: dict[str, Seat] = {}
        self._lock = threading.Lock()

    def of(self, client: str, name: str = "") -> Seat:
        """The seat of a client; a new one where it has none.

        Args:
            client: By what it is known.
            name: Of the session that it wants to go on with.

        Raises:
            TooMany: All seats are taken.
        """
        with self._lock:
            if client not in self._seats:
                self._make_room()
                self._seats[client] = Seat(self._settings, name=name)
            return self._seats[client]

    def _make_room(self) -> None:
        if sum(seat.there() is not None for seat in self._seats.values()) >= self._most:
            raise TooMany(f"{self._most} clients have a session already.", "Try again when one has left.")
        away = [client for client, seat in self._seats.items() if seat.there() is None and seat.idle(0)]
        for client in sorted(away, key=lambda c: self._seats[c].used)[: len(self._seats) - MOST_KEPT]:
            del self._seats[client]

    def leave(self, client: str) -> None:
        """The client has gone for good."""
        with self._lock:
            seat = self._seats.pop(client, None)
        if seat is not None:
            seat.close()

    def clear(self, idle_s: float) -> None:
        """End the sessions of clients that have asked for nothing in so long."""
        with self._lock:
            idle = [seat for seat in self._seats.values() if seat.there() is not None and seat.idle(idle_s)]
        for seat in idle:
            seat.close()

    def close(self) -> None:
        """End all."""
        with self._lock:
            clients = list(self._seats)
        ending = [threading.Thread(target=self.leave, args=(client,)) for client in clients]
        for thread in ending:
            thread.start()
        for thread in ending:
            thread.join()


class TooMany(InternError):
    """More clients than there are seats."""
