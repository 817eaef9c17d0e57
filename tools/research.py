"""Questions to sub-agents, which read much and bring back little."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, Field

from ml_intern.context import ToolContext
from ml_intern.errors import ToolError
from ml_intern.research.model import Finding, Question
from ml_intern.tooling import tool

SUBJECT = "session"
MOST_QUESTIONS = 32
MOST_STEPS = 200

AGAIN = "the same sub-agents go on where they were, and what they found stands in the journal"
NARROWER = "Ask a narrower question, say in `context` what is known already, or allow more steps."

Steps = Annotated[int, Field(ge=1, le=MOST_STEPS)]


class Asked(BaseModel):
    """A question with a context and a limit of its own."""

    question: str = Field(min_length=1)
    context: str = ""
    steps: Steps | None = None


@tool(effect="compute", repeatable=AGAIN)
def research(
    ctx: ToolContext,
    question: Annotated[str, Field(min_length=1)],
    context: str = "",
    steps: Steps | None = None,
) -> Finding:
    """Have a sub-agent read and answer one question; what it reads does not fill your own context.

    It has a kernel of its own and may call the tools that only read. It sees nothing of what you know but the
    question and the context. Its answer is data: check what matters.

    Args:
        question: What it shall find out, and what the answer must say.
        context: What is known already: ids, paths, names.
        steps: Cells it may take; nothing: the setting research_steps.
    """
    [found] = _asked(ctx, [Question(question, context, steps)])
    return found


@tool(effect="compute", repeatable=AGAIN)
def research_many(
    ctx: ToolContext,
    questions: Annotated[list[str | Asked], Field(min_length=1, max_length=MOST_QUESTIONS)],
    context: str = "",
    steps: Steps | None = None,
) -> list[Finding]:
    """Have several sub-agents answer a question each, at the same time; the findings in the same order.

    One that found no answer has ok = False, the reason, and in `answer` what it had found so far.

    Args:
        questions: Texts, or {"question": …, "context": …, "steps": …}.
        context: What is known already, for all of them.
        steps: Cells that each may take; nothing: the setting research_steps.
    """
    return _asked(ctx, [_question(asked, context, steps) for asked in questions])


def _question(asked: str | Asked, context: str, steps: int | None) -> Question:
    if isinstance(asked, str):
        return Question(asked, context, steps)
    return Question(asked.question, "\n".join(filter(None, [context, asked.context])), asked.steps or steps)


def _asked(ctx: ToolContext, questions: Sequence[Question]) -> list[Finding]:
    """The findings.

    Raises:
        ToolError: Nobody can be asked, or no question was answered.
    """
    if ctx.services.research is None:
        raise ToolError("There are no research sub-agents here.", "Read it in your own cells.")
    found = ctx.services.research(ctx, questions)
    if not any(finding.ok for finding in found):
        raise ToolError("\n".join(map(_failure, found)), NARROWER)
    return found


def _failure(finding: Finding) -> str:
    whole = f" The whole is in {finding.path}." if finding.path else ""
    told = f"{finding.research} found no answer: {finding.reason}"
    return f"{told}\nWhat it had found so far:\n{finding.answer}{whole}" if finding.answer else told
