"""What the sandbox's end of the link has to say, kept until the host has it.

Standard library only: uploaded, and run inside beside `e2b_inside`.
"""

from __future__ import annotations

import json
import os
import threading
from collections import deque
from itertools import islice
from typing import Any

KEPT = 64 << 20
"""Bytes that wait for the host; a command that says more waits itself."""

BATCH = 1 << 20


class Outbox:
    """Numbered messages on their way out, kept until the host has them."""

    def __init__(self, fd: int) -> None:
        self.changed = threading.Condition()
        self.number = 0
        self._fd = fd
        self._kept: deque[bytes] = deque()
        self._first = 1
        self._bytes = 0
        self._sent = 0
        self._controls: deque[bytes] = deque()
        self._nonce = ""

    def add(self, kind: str, payload: bytes, patient: bool = False) -> int:
        """Put a message on its way; a patient one waits while too much is not acknowledged."""
        with self.changed:
            if patient:
                self.changed.wait_for(lambda: self._bytes < KEPT)
            self.number += 1
            packet = b"%d %s %d\n%s\n" % (self.number, kind.encode(), len(payload), payload)
            self._kept.append(packet)
            self._bytes += len(packet)
            self.changed.notify_all()
            return self.number

    def control(self, line: bytes) -> None:
        """Say something once, before all that waits."""
        with self.changed:
            self._controls.append(line)
            self.changed.notify_all()

    def acknowledge(self, number: int) -> None:
        """The host has everything up to this one."""
        with self.changed:
            while self._kept and self._first <= number:
                self._bytes -= len(self._kept.popleft())
                self._first += 1
            self.changed.notify_all()

    def resume(self, nonce: str, after: int | None, skip: int, mark: dict[str, Any]) -> None:
        """Begin anew behind a mark that the host knows.

        Args:
            nonce: The mark; one that was used already is an order that came twice.
            after: The last message that the host has whole; None: a new host, which wants nothing old.
            skip: Bytes that it has of the next one: also a link that breaks often gets on.
            mark: What else the host is told.
        """
        with self.changed:
            if nonce == self._nonce:
                return
            self._nonce = nonce
            self._sent = self.number if after is None else max(self._first - 1, after)
            told = json.dumps({**mark, "next": self._sent + 1, "skip": skip})
            data = f"\n#{nonce} {told}\n".encode()
            if skip and self._sent < self.number:
                data += self._kept[self._sent + 1 - self._first][skip:]
                self._sent += 1
            self._controls.append(data)
            self.changed.notify_all()

    def serve(self) -> None:
        """Write, for ever."""
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self._controls or self.number > self._sent)
                data = b"".join(self._controls)
                self._controls.clear()
                for packet in islice(self._kept, max(0, self._sent + 1 - self._first), None):
                    data += packet
                    self._sent += 1
                    if len(data) > BATCH:
                        break
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._fd, rest) :]
