"""What the host has to say into a sandbox: numbered, and gathered so that what waits shares a request."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

SEND_BYTES = 1 << 20
"""Of what waits, so much goes in one request."""

PIECE = 256 << 10
ACK_BYTES = 1 << 20
"""So much is heard before it is acknowledged in a request of its own; every request does so anyway."""

LAZY_S = 0.02
LOOK_S = 5.0


class Outgoing:
    """Messages on their way in.

    Args:
        over: Whether nothing is to be sent any more.
    """

    def __init__(self, over: Callable[[], bool]) -> None:
        self.changed = threading.Condition()
        self.number = 0
        self.sent = 0
        self.held = False
        self._over = over
        self._host = secrets.token_hex(4).encode()
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._controls: list[bytes] = []
        self._hurry = 0.0
        self._heard = 0
        self._owed = 0

    def add(self, kind: str, payload: bytes, lazy: bool = False) -> None:
        """Put a message behind what waits; a lazy one lets others join it for a moment."""
        with self.changed:
            self.number += 1
            self._waiting.append((self.number, self._packet(self.number, kind, payload)))
            self._hurry = time.monotonic() + LAZY_S if lazy else 0.0
            self.changed.notify_all()

    def add_input(self, data: bytes) -> None:
        """Input for the command, in pieces."""
        with self.changed:
            for at in range(0, len(data), PIECE):
                self.add("i", data[at : at + PIECE])

    def control(self, **order: Any) -> None:
        """Say something that has no number, before all else."""
        with self.changed:
            self._controls.append(json.dumps(order).encode())
            self.changed.notify_all()

    def heard(self, number: int, size: int) -> None:
        """A message of the other end was taken."""
        with self.changed:
            self._heard = number
            self._owed += size
            if self._owed >= ACK_BYTES:
                self.changed.notify_all()

    def renumber(self, number: int, heard: int) -> None:
        """Go on where another host stopped."""
        with self.changed:
            self.number = self.sent = number
            self._heard = heard

    def next(self) -> bytes:
        """Wait for what goes in the next request; nothing: it is time to look around."""
        with self.changed:
            self.changed.wait_for(lambda: self._over() or (self._work() and not self.held), LOOK_S)
            while self._work() and (left := self._hurry - time.monotonic()) > 0:
                self.changed.wait(left)
            if self._over() or self.held or not self._work():
                return b""
            return self._gather()

    def wait_empty(self, seconds: float) -> None:
        """Wait until all is on its way."""
        with self.changed:
            self.changed.wait_for(lambda: self._over() or not self._waiting, seconds)

    def _work(self) -> bool:
        return bool(self._waiting or self._controls) or self._owed >= ACK_BYTES

    def _gather(self) -> bytes:
        data = b"".join(self._packet(0, "c", order) for order in self._controls)
        self._controls.clear()
        while self._waiting and len(data) < SEND_BYTES:
            self.sent, packet = self._waiting.popleft()
            data += packet
        self._owed = 0
        return data or self._packet(0, "c", b"{}")

    def _packet(self, number: int, kind: str, payload: bytes) -> bytes:
        head = (number, self._heard, kind.encode(), len(payload), self._host)
        return b"%d %d %s %d %s\n%s\n" % (*head, payload)
