"""One running kernel process: threads that read its frames and write the host's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from ml_intern.sandbox.base import Process
from ml_intern.sandbox.frames import encode, read_frames

BACKLOG = 256 << 20
"""Bytes that wait for a kernel that does not read; one that lets more pile up is ended."""


class Link:
    """Carries frames to and from one kernel.

    Sending never blocks: a kernel that is stuck in C code reads nothing, and whoever wants to interrupt it
    must not wait behind a full pipe.

    Args:
        process: The kernel.
        on_frame: Called on the reader thread for each well-formed frame.
        on_end: Called once, on the reader thread, when the kernel's stream ended.
    """

    def __init__(
        self,
        process: Process,
        on_frame: Callable[[Link, dict[str, Any]], None],
        on_end: Callable[[Link], None],
    ) -> None:
        self.process = process
        self.dropped = 0
        self.ready = threading.Event()
        self.ended = threading.Event()
        self._on_frame = on_frame
        self._on_end = on_end
        self._outbox: SimpleQueue[bytes | None] = SimpleQueue()
        self._waiting = 0
        self._counting = threading.Lock()

    def open(self) -> None:
        """Start the threads."""
        for target in (self._read, self._write, self._watch):
            threading.Thread(target=target, name="kernel frames", daemon=True).start()

    def send(self, frame: dict[str, Any]) -> None:
        """Put a frame on its way. A kernel that asks and asks and reads no answer is ended."""
        data = encode(frame)
        if self._count(len(data)) > BACKLOG:
            self.process.kill()
        else:
            self._outbox.put(data)

    def _count(self, size: int) -> int:
        with self._counting:
            self._waiting += size
            return self._waiting

    def end(self) -> None:
        """Kill the kernel and wait until its stream ended."""
        self.process.kill()
        self.process.wait()
        self.ended.wait(5.0)

    def _drop(self) -> None:
        self.dropped += 1

    def _read(self) -> None:
        try:
            for frame in read_frames(self.process.stdout, self._drop):
                if frame["type"] == "ready":
                    self.ready.set()
                else:
                    self._on_frame(self, frame)
        except (OSError, ValueError):  # closed under our hands
            pass
        finally:
            self._ended()

    def _ended(self) -> None:
        """A cell can close the descriptors of the protocol: such a kernel is of no use any more."""
        try:
            self.process.kill()
            self.process.wait()
        finally:
            self._outbox.put(None)
            self.ended.set()
            self.ready.set()
            self._on_end(self)

    def _watch(self) -> None:
        """Where the kernel forked, its child holds the stream open after the kernel itself is gone."""
        self.process.wait()
        self.process.kill()

    def _write(self) -> None:
        try:
            while (data := self._outbox.get()) is not None:
                self.process.stdin.write(data)
                self.process.stdin.flush()
                self._count(-len(data))
            self.process.stdin.close()
        except (OSError, ValueError):  # the kernel is gone; its end is told by the reader
            pass
