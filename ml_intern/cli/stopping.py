"""Ctrl-C: once asks the session to end after the cell's interrupt, twice ends the process at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Protocol

from ml_intern.errors import Interrupted

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
CLOSE_S = 3.0
"""How long a second Ctrl-C waits for the session to put its things away, in seconds."""
THREADS_S = 5.0
"""How long threads may hold the exit after a stop, in seconds."""


class Stoppable(Protocol):
    """What of a session is needed here."""

    def interrupt(self) -> None:
        """Ask the session to end; returns at once."""

    def close(self) -> None:
        """Put everything away."""


class Stopper:
    """Catches Ctrl-C and SIGTERM while a session runs and is put away.

    Args:
        session: The session to stop.
        asked: Set at the first signal.
        say: Tells the person what happens.
        last_words: Called before the process ends at once: gives the terminal back, says what is to be said.
    """

    def __init__(
        self,
        session: Stoppable,
        asked: threading.Event,
        say: Callable[[str], None],
        last_words: Callable[[], None],
    ) -> None:
        self._session = session
        self._asked = asked
        self._say = say
        self._last_words = last_words
        self._before: dict[int, Any] = {}
        self._before_bell = -1
        self._ending = threading.Lock()
        self._over = False
        self._listening, self._bell = os.pipe()
        os.set_blocking(self._bell, False)

    def __enter__(self) -> Stopper:
        threading.Thread(target=self._listen, name="stop", daemon=True).start()
        if threading.current_thread() is threading.main_thread():
            self._before_bell = signal.set_wakeup_fd(self._bell, warn_on_full_buffer=False)
            self._before = {s: signal.signal(s, self._on_signal) for s in STOP_SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._ending:
            self._over = True
        for number, handler in self._before.items():
            # After a stop only the last words are left; one Ctrl-C too many must not cut them off.
            signal.signal(number, signal.SIG_IGN if self._asked.is_set() else handler)
        if self._before:
            signal.set_wakeup_fd(self._before_bell)
        os.close(self._bell)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        # Python runs this in the main thread only, and not while that waits for a lock and the signal came to
        # another thread. What must not be missed is the byte that Python's own handler, in C, puts into the
        # bell in whichever thread: the signal's number.
        pass

    def _listen(self) -> None:
        while rung := os.read(self._listening, 1):
            if rung[0] not in STOP_SIGNALS:
                continue
            work = self._at_once if self._asked.is_set() else self._gently
            self._asked.set()
            threading.Thread(target=work, name="stop-work", daemon=True).start()
        os.close(self._listening)

    def _gently(self) -> None:
        self._say("Interrupted: waiting for the cell to end. Ctrl-C again stops at once.")
        self._session.interrupt()

    def _at_once(self) -> None:
        closing = threading.Thread(target=self._session.close, name="close", daemon=True)
        closing.start()
        closing.join(CLOSE_S)
        with self._ending:
            if not self._over:
                self._last_words()
                os._exit(Interrupted.exit_code)


def end_soon(code: int) -> None:
    """The last word is said after a stop: the process ends now, whatever its threads do.

    Python waits for every thread that is no daemon, and a library's may be stuck in a call. They have
    `THREADS_S`; a further Ctrl-C or SIGTERM ends the process at once.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # the reader has left; there is nobody to tell
            pass

    def end(*_: object) -> None:
        os._exit(code)

    def end_later() -> None:
        time.sleep(THREADS_S)
        end()

    if threading.current_thread() is threading.main_thread():
        for number in STOP_SIGNALS:
            signal.signal(number, end)
    threading.Thread(target=end_later, name="end", daemon=True).start()
