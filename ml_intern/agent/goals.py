"""A run that nobody watches, with budget left and its plan open, is told once to go on before it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ml_intern.agent.notes import plan_of
from ml_intern.journal.journal import NOT_TAKEN

if TYPE_CHECKING:
    from ml_intern.context import Services
    from ml_intern.router.budget import Budget

OPEN = ("todo", "doing")
LEAST_LEFT = 0.1
"""Share of every ceiling that must be left: a run at its end is not asked to begin something."""

LEAST_OF_TASK = 0.2
"""The same share of a time that the task's sentence names, which nothing holds the run to."""

SHOWN = 10
"""Items of the plan that the reminder names."""


class Goals:
    """Holds a final answer back where the plan has open items: once in a run, so never in a loop.

    Args:
        services: Whose notes have the plan.
        budget: What is left.
        wanted: Somebody has to say it: nobody is there, the brain reads, the setting allows it.
    """

    def __init__(self, services: Services, budget: Budget, wanted: bool) -> None:
        self._services = services
        self._budget = budget
        self._wanted = wanted

    def reminder(self) -> str:
        """What is open, in words, the first time that this is asked and it matters; else nothing."""
        if not self._wanted or not (left := self._open()) or not self._budget_left():
            return ""
        self._wanted = False
        more = f" and {len(left) - SHOWN} more" if len(left) > SHOWN else ""
        return f"The plan has open items, and {self._room()}: {'; '.join(left[:SHOWN])}{more}."

    def hold(self) -> str:
        """Why a final answer is held back, or nothing."""
        told = self.reminder()
        return told and (
            f"{NOT_TAKEN}. {told} Go on with them. Where nothing more can or should be done, set them to "
            "done or dropped with plan(…) and say in the answer what is missing; "
            "the next final answer is taken."
        )

    def _open(self) -> list[str]:
        return [text for text, status in plan_of(self._services.notes) if status in OPEN]

    def _budget_left(self) -> bool:
        named = self._services.task_time()
        return enough_left(self._budget) and (named is None or named.left >= LEAST_OF_TASK * named.whole)

    def _room(self) -> str:
        """What there is to go on with: nothing is said to be left where no ceiling was set."""
        if "seconds" in self._budget.caps:
            return "there is budget left"
        named = self._services.task_time()
        return named.told if named else "no ceiling of time is set"


def enough_left(budget: Budget) -> bool:
    """Whether so much of every ceiling is left that a run may be asked to go on."""
    left, caps = budget.left(), budget.caps
    return all((left[unit] or 0.0) >= LEAST_LEFT * cap for unit, cap in caps.items())
