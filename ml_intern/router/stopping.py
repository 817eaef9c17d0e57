"""Stopping what runs: a cell, a step, or the whole run.

One switch says that something shall stop; tools that wait and requests that are under way look at it. Whether
the run ends with it is decided where the stopped thing ends: after a cell or a step that alone was meant, the
switch goes back and the run goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

Doing = Literal["", "cell", "step"]


class Stop:
    """The switch of one session.

    Attributes:
        asked: Set while something shall stop.
    """

    def __init__(self, asked: threading.Event) -> None:
        self.asked = asked
        self._lock = threading.Lock()
        self._doing: Doing = ""
        self._only = False

    @contextmanager
    def doing(self, what: Doing) -> Iterator[None]:
        """A cell runs, or (``step``) the brain writes its answer: what can be stopped without the run."""
        with self._lock:
            self._doing = what
        try:
            yield
        finally:
            with self._lock:
                self._doing = ""

    def this(self, kinds: tuple[Doing, ...]) -> Doing:
        """Stop what is done now if it is one of these and nothing stops already; answers what that is."""
        with self._lock:
            if self._doing not in kinds or not self._doing or self.asked.is_set():
                return ""
            self._only = True
            self.asked.set()
            return self._doing

    @property
    def only(self) -> bool:
        """Whether what stops now is a cell or a step alone."""
        return self._only

    def run(self) -> None:
        """Stop everything."""
        with self._lock:
            self._only = False
            self.asked.set()

    def was_only_this(self) -> bool:
        """After the end of what was stopped: whether the run goes on. Takes the switch back; says so once."""
        with self._lock:
            only, self._only = self._only, False
            if only:
                self.asked.clear()
            return only
