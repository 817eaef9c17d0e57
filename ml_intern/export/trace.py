"""A session as a trace: JSON lines as Claude Code keeps its sessions, which trace viewers read.

One line a message: `type` user or assistant, `message` with content blocks (text, tool_use, tool_result), and
a chain of `uuid` and `parentUuid`. A cell is the use of a tool named `python`, its observation the result.
"""

from __future__ import annotations

import datetime
import json
import uuid
from collections.abc import Iterator
from typing import Any

from ml_intern.export.notebook import said_beside
from ml_intern.export.story import Step, Story


def to_trace(story: Story) -> str:
    """The lines; ids are made from the session's, so that a second export is the same."""
    space = uuid.uuid5(uuid.NAMESPACE_URL, f"ml-intern:{story.id}")
    parent: str | None = None
    lines = []
    for number, (at, role, content) in enumerate(_messages(story)):
        own = str(uuid.uuid5(space, str(number)))
        lines.append(
            {
                "type": role,
                "uuid": own,
                "parentUuid": parent,
                "sessionId": str(space),
                "timestamp": _time(at),
                "cwd": story.workspace,
                "version": "ml-intern",
                "isSidechain": False,
                "message": {"role": role, "content": content} | _model(story, role),
            }
        )
        parent = own
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def _messages(story: Story) -> Iterator[tuple[float, str, Any]]:
    yield (story.steps[0].at if story.steps else 0.0), "user", story.prompt
    for step in story.steps:
        for heard in step.heard:
            yield step.at, "user", heard
        yield step.at, "assistant", list(_said(step))
        if step.code:
            result = {
                "type": "tool_result",
                "tool_use_id": f"step-{step.number}",
                "content": step.observation,
                "is_error": step.ok is False,
            }
            yield step.ended or step.at, "user", [result]
    if story.answer:
        yield story.steps[-1].ended, "assistant", [{"type": "text", "text": story.answer}]


def _said(step: Step) -> Iterator[dict[str, Any]]:
    if words := said_beside(step.text) if step.code else step.text:
        yield {"type": "text", "text": words}
    if step.code:
        yield {
            "type": "tool_use",
            "id": f"step-{step.number}",
            "name": "python",
            "input": {"code": step.code},
        }


def _model(story: Story, role: str) -> dict[str, str]:
    return {"model": story.model} if role == "assistant" else {}


def _time(at: float) -> str:
    moment = datetime.datetime.fromtimestamp(at, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
