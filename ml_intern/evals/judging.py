"""Who is asked whether an answer meets a criterion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from ml_intern.errors import ToolError


class Judge(Protocol):
    """A language model that pays its way.

    Attributes:
        name: ``scheme:name``.
    """

    name: str

    def ask(self, messages: Sequence[dict[str, str]], cancelled: Callable[[], bool]) -> str:
        """Its reply, at temperature 0.

        Raises:
            BudgetSpent: A ceiling was met before it was asked.
            Interrupted: The person stopped it.
        """


def judge_of(make: Callable[[], Judge | None] | None) -> Judge:
    """The judge of this session.

    Raises:
        ToolError: None is named.
    """
    judge = make() if make else None
    if judge is None:
        raise ToolError(
            "This evaluation has a rubric that a language model must judge, and no judge is named.",
            'The person names one: ML_INTERN_JUDGE=openai:NAME, or judge = "openai:NAME" in ml-intern.toml.',
        )
    return judge
