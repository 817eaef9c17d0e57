"""The wall time of a session: it rings at its end, and stands still while nothing is done."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ml_intern.router.budget import Budget


class WallTime:
    """Counts the budget's seconds while work is done, and stops the work when they are used up.

    Attributes:
        late: It has rung.
    """

    def __init__(self, budget: Budget, ring: Callable[[], None]) -> None:
        self.late = False
        self._budget = budget
        self._ring = ring
        self._timer: threading.Timer | None = None

    def start(self) -> None:
        """Count from now on, and ring at the end, also in the middle of a cell or of a call that waits."""
        self._budget.go_on()
        left = self._budget.left()["seconds"]
        if left is None:
            return
        self._timer = threading.Timer(left, self._end)
        self._timer.daemon = True
        self._timer.start()

    def stop(self) -> None:
        """Nothing is done until the person says more: wall time stands still."""
        self._budget.rest()
        self.cancel()

    def cancel(self) -> None:
        """Do not ring any more."""
        if self._timer:
            self._timer.cancel()

    def start_anew(self) -> None:
        """The ceiling is another one; nothing is counted while the session waits."""
        if self._budget.started is not None:
            self.stop()
            self.start()

    def _end(self) -> None:
        if self._budget.started is None:
            return  # the answer came at the same moment: nothing is done that could be late
        self.late = True
        self._ring()
