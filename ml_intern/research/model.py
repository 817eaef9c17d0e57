"""What a sub-agent is asked and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

if TYPE_CHECKING:
    from ml_intern.context import ToolContext


@dataclass(frozen=True)
class Question:
    """One question to a sub-agent.

    Attributes:
        question: What it shall find out.
        context: What is known already.
        steps: Cells it may take; None: the setting `research_steps`.
    """

    question: str
    context: str = ""
    steps: int | None = None


@dataclass(frozen=True)
class SourceRead:
    """A call that a sub-agent made and that went well. `call` is its id in the journal."""

    call: str
    tool: str
    arguments: str


@dataclass(frozen=True)
class Finding:
    """What a sub-agent answered.

    Attributes:
        research: Which one it was, such as ``research:2``.
        question: What it was asked.
        answer: Its answer; where `ok` is False, what it had found so far.
        path: A file with the whole answer, where `answer` is head and tail; else empty.
        steps: Cells that it ran.
        tokens: Input and output together, as the provider counted them.
        sources: What it read, the newest last.
        calls: How many calls went well; `sources` shows the newest of them.
        ok: Whether it came to an answer.
        reason: Why not.
    """

    research: str
    question: str
    answer: str
    path: str = ""
    steps: int = 0
    tokens: int = 0
    sources: list[SourceRead] = field(default_factory=list)
    calls: int = 0
    ok: bool = True
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """What the journal keeps of it."""
        return asdict(self)

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Finding:
        """What the journal has kept.

        Raises:
            ValueError: It is no finding.
        """
        return _adapter().validate_python(given)


@cache
def _adapter() -> TypeAdapter[Finding]:
    return TypeAdapter(Finding)


Ask = Callable[["ToolContext", Sequence[Question]], list[Finding]]
"""Has questions answered, several at a time; in the order of the questions."""
