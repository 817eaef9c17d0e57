"""A session as a trace: JSON lines as Claude Code keeps its sessions, which trace viewers read.

One line a message: `type` user or assistant, `message` with content blocks (text, tool_use, tool_result), and
a chain of `uuid` and `parentUuid`. A cell is the use of a tool named `python`, its observation the result.
"""

from __future__ import annotations

import datetime
import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from ml_intern.export.notebook import said_beside
from ml_intern.export.story import Research, Step, Story

YEAR_9999 = datetime.datetime(9999, 12, 31, tzinfo=datetime.UTC).timestamp()


def to_trace(story: Story) -> str:
    """The lines; ids are made from the session's, so that a second export is the same."""
    space = uuid.uuid5(uuid.NAMESPACE_URL, f"ml-intern:{story.id}")
    parent: str | None = None
    lines = []
    for number, (at, role, content) in enumerate(_messages(story)):
        own = str(uuid.uuid5(space, str(number)))
        lines.append(_line(story, own, parent, at, role, content))
        parent = own
    for research in story.research.values():
        parent = None
        for number, (at, role, content) in enumerate(_sidechain(research)):
            own = str(uuid.uuid5(space, f"{research.source}:{number}"))
            lines.append(_line(story, own, parent, at, role, content) | {"isSidechain": True})
            parent = own
    return "".join(map(json_line, lines))


def json_line(row: Mapping[str, Any]) -> str:
    """A row as one line, also for readers who take more for the end of a line than JSON lines do."""
    text = json.dumps(row, ensure_ascii=False)
    for end in "\x85\u2028\u2029":
        text = text.replace(end, f"\\u{ord(end):04x}")
    return text + "\n"


def _line(story: Story, own: str, parent: str | None, at: float, role: str, content: Any) -> dict[str, Any]:
    return {
        "type": role,
        "uuid": own,
        "parentUuid": parent,
        "sessionId": str(uuid.uuid5(uuid.NAMESPACE_URL, f"ml-intern:{story.id}")),
        "timestamp": _time(at),
        "cwd": story.workspace,
        "version": "ml-intern",
        "isSidechain": False,
        "message": {"role": role, "content": content} | _model(story, role),
    }


def _messages(story: Story) -> Iterator[tuple[float, str, Any]]:
    yield (story.steps[0].at if story.steps else 0.0), "user", story.prompt
    yield from _told(story.steps)
    if story.answer:
        yield story.steps[-1].ended, "assistant", [{"type": "text", "text": story.answer}]


def _sidechain(research: Research) -> Iterator[tuple[float, str, Any]]:
    """A sub-agent's part, as a conversation of its own beside the session's."""
    yield (research.steps[0].at if research.steps else 0.0), "user", research.question
    yield from _told(research.steps, f"{research.source}-")
    if research.steps and (ended := research.answer or research.reason):
        yield research.steps[-1].ended, "assistant", [{"type": "text", "text": ended}]


def _told(steps: list[Step], whose: str = "") -> Iterator[tuple[float, str, Any]]:
    for step in steps:
        for heard in step.heard:
            yield step.at, "user", heard
        yield step.at, "assistant", list(_said(step, whose))
        if step.code:
            result = {
                "type": "tool_result",
                "tool_use_id": f"{whose}step-{step.number}",
                "content": step.observation,
                "is_error": step.ok is False,
            }
            yield step.ended or step.at, "user", [result]


def _said(step: Step, whose: str) -> Iterator[dict[str, Any]]:
    if words := said_beside(step.text) if step.code else step.text:
        yield {"type": "text", "text": words}
    if step.code:
        yield {
            "type": "tool_use",
            "id": f"{whose}step-{step.number}",
            "name": "python",
            "input": {"code": step.code},
        }


def _model(story: Story, role: str) -> dict[str, str]:
    return {"model": story.model} if role == "assistant" else {}


def _time(at: float) -> str:
    """A damaged journal may hold any number: what is no date is told as the beginning of time."""
    moment = datetime.datetime.fromtimestamp(at if 0 <= at < YEAR_9999 else 0, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
