"""The model that judges answers against rubrics: in the budget and in the journal.

What it said stands with the sealed evaluations and not in the journal, as it tells of held-out answers; so
an evaluation that is asked again after a crash reads it there, and pays only for what was not asked yet.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from ml_intern.agent.consulting import answered
from ml_intern.brains.base import Brain
from ml_intern.brains.borrowed import Borrowed
from ml_intern.evals.judging import Said
from ml_intern.router.router import Router


class Judging:
    """The judge as evaluations may ask it; see `ml_intern.evals.judging.Judge`.

    Args:
        router: The session's; its budget and journal are used.
        brain: Who judges.
    """

    def __init__(self, router: Router, brain: Brain) -> None:
        self._router, self._brain = router, brain
        used = router.earlier.recorded.judged
        self.tokens = {"input": used[0], "output": used[1]}
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """Who judges, ``scheme:name``."""
        return self._brain.label

    def ask(self, messages: Sequence[dict[str, str]], cancelled: Callable[[], bool]) -> Said:
        """Its reply at temperature 0.

        Raises:
            BudgetSpent: A ceiling was met before it was asked.
            Interrupted: The person stopped it.
        """
        self._router.budget.check()
        brain = Borrowed(self._brain)
        text, _, used = answered(brain, messages, cancelled, **brain.greedy)
        usd, budget = brain.price(*used), self._router.budget
        with budget.books:
            budget.charge(sum(used), usd or 0.0)
            line = {"judge": self.name, "tokens": used, "budget": budget.snapshot()}
            self._router.journal.append("judged", line)
        with self._lock:
            self.tokens["input"] += used[0]
            self.tokens["output"] += used[1]
        return Said(text, usd)
