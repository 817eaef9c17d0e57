"""The plan, a word to the person, and what is left to spend."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from ml_intern.claims.notes import marked_message
from ml_intern.context import ToolContext
from ml_intern.events import Notice
from ml_intern.tooling import tool


class PlanItem(BaseModel):
    """One line of the plan."""

    text: str
    status: Literal["todo", "doing", "done", "dropped"] = "todo"


@tool(effect="write", repeatable="the same plan is written down")
def plan(ctx: ToolContext, items: list[PlanItem | str]) -> list[PlanItem]:
    """Write down or replace the plan of this session; a line is todo, doing, done or dropped.

    Args:
        items: The lines in order: text alone, or {"text": …, "status": "todo|doing|done|dropped"}.
    """
    written = [PlanItem(text=item) if isinstance(item, str) else item for item in items]
    ctx.services.notes["plan"] = [item.model_dump() for item in written]
    mark = {"todo": "[ ]", "doing": "[>]", "done": "[x]", "dropped": "[-]"}
    ctx.emit(Notice("info", "\n".join(["Plan:", *(f"{mark[i.status]} {i.text}" for i in written)])))
    return written


@tool(effect="read")
def notify(ctx: ToolContext, message: str) -> str:
    """Tell the person something now, without ending the run; also by Slack or webhook, where they are set.

    Args:
        message: One line.
    """
    message, loose = marked_message(ctx, message)
    ctx.emit(Notice("info", message))
    ctx.services.notify(message)
    return f"told, marked as not verified: {', '.join(loose)}" if loose else "told"


@tool(effect="read")
def time_left(ctx: ToolContext) -> float | None:
    """Seconds of wall time left in the budget, or else of the time that the task names; None without both."""
    left, named = ctx.services.left()["seconds"], ctx.services.task_time()
    return left if left is not None or named is None else round(named.left, 1)


@tool(effect="read")
def budget_left(ctx: ToolContext) -> dict[str, float | None]:
    """What is left of each unit (usd, gpu_hours, tokens, jobs, seconds); None where there is no ceiling."""
    return ctx.services.left()
