"""What is printed above the line that the person writes on: from any thread, in order, in whole lines."""

from __future__ import annotations

import asyncio
import io
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from prompt_toolkit.application import in_terminal

from ml_intern.secrets.masking import mask

Item = str | Callable[[], None]

BUNDLE_S = 0.05
"""The line below is drawn again at most this often."""


class Screen(io.TextIOBase):
    """A stream for everything that is shown; before and after the chat it writes straight to the terminal.

    Args:
        terminal: Where it is shown.
    """

    encoding = "utf-8"

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal
        self._items: deque[Item] = deque()
        self._begun = ""
        self._mute = False
        self._lock = threading.RLock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = asyncio.Event()

    def isatty(self) -> bool:
        """It stands for a terminal."""
        return True

    def fileno(self) -> int:
        """The terminal's."""
        return self._terminal.fileno()

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, text: str) -> int:
        """Show the lines that are complete; the rest waits for its end."""
        with self._lock:
            whole, end, rest = (self._begun + text).rpartition("\n")
            self._begun = rest
            if end and not self._mute:
                self.put(mask(whole + end))
        return len(text)

    def put(self, item: Item) -> None:
        """Show a text, or call something when all that came before is shown."""
        with self._lock:
            self._items.append(item)
            if self._loop is None:
                self._drain()
                return
            with suppress(RuntimeError):  # the chat has ended at this moment: `leave` shows the rest
                self._loop.call_soon_threadsafe(self._news.set)

    @contextmanager
    def muted(self) -> Iterator[None]:
        """What is written meanwhile is not shown."""
        self._mute = True
        try:
            yield
        finally:
            self._mute, self._begun = False, ""

    def enter(self) -> None:
        """The line below is about to be drawn: what comes waits for `pump`, or it would stand on it."""
        with self._lock:
            self._loop, self._news = asyncio.get_running_loop(), asyncio.Event()
            self._news.set()

    async def pump(self) -> None:
        """Show what comes, as long as the line below is there."""
        while True:
            await self._news.wait()
            self._news.clear()
            if self._items:
                async with in_terminal():
                    self._drain()
                await asyncio.sleep(BUNDLE_S)

    def leave(self) -> None:
        """The line below is gone: show what is left, and from now on everything at once."""
        with self._lock:
            self._loop = None
            self._drain()

    def _drain(self) -> None:
        while self._items:
            item = self._items.popleft()
            if callable(item):
                item()
            else:
                self._terminal.write(item)
        self._terminal.flush()
