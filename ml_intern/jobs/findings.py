"""What is wrong with a training, gathered over all checks and told at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ml_intern.errors import ToolError


class Unfit(ToolError):
    """What does not fit: one thing in one line, or several, each in a line of its own.

    Args:
        head: What it does not fit, without a full stop.
        problems: What is wrong, each with the field and what would be right.
        hint: What to do about all of them.
    """

    def __init__(self, head: str, problems: Sequence[str], hint: str = "") -> None:
        self.problems = [" ".join(problem.split()).removesuffix(".") for problem in problems]
        if len(self.problems) == 1:
            told = f"{head}: {self.problems[0]}."
        else:
            lines = "\n".join(f"- {problem}" for problem in self.problems)
            told = f"{head}, {len(self.problems)} things are wrong:\n{lines}\n"
        super().__init__(told, hint)


class Findings:
    """Checks that go on after the first that fails.

    Attributes:
        errors: What they found, in order.
    """

    def __init__(self) -> None:
        self.errors: list[ToolError] = []

    @contextmanager
    def gather(self) -> Iterator[None]:
        """Keep what a check raises; what follows it in the block is left out."""
        try:
            yield
        except ToolError as error:
            self.errors.append(error)

    def demand_none(self, head: str) -> None:
        """Go on where nothing is wrong.

        Raises:
            ToolError: What was found; of several errors one that has all their lines.
        """
        if len(self.errors) == 1:
            raise self.errors[0]
        if self.errors:
            hints = dict.fromkeys(e.hint for e in self.errors if isinstance(e, Unfit) and e.hint)
            raise Unfit(head, [line for e in self.errors for line in _lines(e)], " ".join(hints))


def _lines(error: ToolError) -> list[str]:
    """The lines of an error; the hint of a single one goes with it."""
    return error.problems if isinstance(error, Unfit) else [str(error)]
