"""Everything that can stop a run, each with the exit code that scripts rely on."""

from __future__ import annotations


class InternError(Exception):
    """A failure that is told in one line: what is wrong, and what to do.

    Args:
        message: What is wrong.
        hint: What to do next; empty when there is nothing to add.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()

    def _render_traceback_(self) -> list[str]:
        """In a notebook: the line, without the frames that led to it."""
        return [f"{type(self).__name__}: {self}"]


class UsageError(InternError):
    """What was asked cannot be understood: wrong option, unknown sentence, missing file."""

    exit_code = 2


class LimitReached(InternError):
    """A ceiling was met (steps, money, time, context); the session can be resumed."""

    exit_code = 3


class Denied(InternError):
    """Something that the run needed was not permitted."""

    exit_code = 4


class NoBrain(InternError):
    """No language model answered."""

    exit_code = 5


class Interrupted(InternError):
    """The user stopped the run; the session can be resumed."""

    exit_code = 130


class ToolError(InternError):
    """A tool cannot do what it was asked; the brain reads the message and the hint."""
