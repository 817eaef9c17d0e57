"""The threads that answer a cell's calls. They are daemons: a tool that is stuck must not hold the exit."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable

Work = Callable[[bool], None]
"""Told whether it may begin; where it may not, it says so to who waits for it."""


class Calls:
    """Runs work on at most `at_once` threads, made when they are needed.

    Not a `ThreadPoolExecutor`: Python joins the threads of one at exit, however long they take.
    """

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._waiting: deque[Work] = deque()
        self._changed = threading.Condition()
        self._threads = 0
        self._busy = 0
        self._closed = False

    @property
    def running(self) -> int:
        """How many threads are at work."""
        return self._busy

    def submit(self, work: Work) -> None:
        """Have work done, now or when a thread is free."""
        with self._changed:
            self._closed = False
            self._waiting.append(work)
            idle = self._threads - self._busy
            if idle < len(self._waiting) and self._threads < self._at_once:
                self._threads += 1
                threading.Thread(target=self._serve, name="tool", daemon=True).start()
            self._changed.notify_all()

    def refuse_waiting(self) -> None:
        """Refuse what no thread has begun."""
        with self._changed:
            refused = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        for work in refused:
            work(False)

    def wait(self, seconds: float) -> bool:
        """Wait until nothing runs and nothing waits; whether that came about in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._busy and not self._waiting, seconds)

    def close(self) -> None:
        """Let the idle threads go, and the others when their work ends."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _serve(self) -> None:
        while (work := self._next()) is not None:
            try:
                work(True)
            except Exception:  # noqa: BLE001 - told as any thread's is, but the next call needs this thread
                threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))
            finally:
                with self._changed:
                    self._busy -= 1
                    self._changed.notify_all()

    def _next(self) -> Work | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if self._waiting:
                self._busy += 1
                return self._waiting.popleft()
            self._threads -= 1
            return None
