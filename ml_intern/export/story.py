"""What a session's journal tells, step by step: the one reading that every form is written from."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml_intern.errors import UsageError


@dataclass
class Call:
    """One call of a tool."""

    tool: str
    arguments: dict[str, Any]
    effect: str = ""
    ok: bool | None = None
    value: Any = None
    message: str = ""


@dataclass
class Step:
    """One step: what the brain wrote, the cell, its calls, what came of it. `at`: seconds since the epoch."""

    number: int
    at: float = 0.0
    text: str = ""
    tokens: tuple[int, int] = (0, 0)
    code: str = ""
    calls: list[Call] = field(default_factory=list)
    ok: bool | None = None
    observation: str = ""
    ended: float = 0.0
    final: bool = False
    research: list[Research] = field(default_factory=list)


@dataclass
class Research:
    """What a sub-agent did for a step: question, its own steps, answer or why there is none."""

    source: str
    question: str
    steps: list[Step] = field(default_factory=list)
    answer: str = ""
    reason: str = ""


@dataclass
class Story:
    """A session: its card, its steps, its end."""

    id: str
    prompt: str
    model: str
    workspace: str
    created: str
    steps: list[Step]
    answer: str = ""
    status: str = ""
    open_calls: dict[str, Call] = field(default_factory=dict, repr=False)
    """Calls without a result, by id."""
    research: dict[str, Research] = field(default_factory=dict, repr=False)
    """Sub-agents by source."""

    @property
    def cells(self) -> list[Step]:
        """The steps that ran a cell."""
        return [step for step in self.steps if step.code]


def read_story(folder: Path) -> Story:
    """Read a session's card and journal, without changing either.

    Raises:
        UsageError: There is no journal, or nothing of it can be read.
    """
    try:
        card = json.loads((folder / "session.json").read_text())
    except (OSError, ValueError):
        card = {}
    story = Story(
        id=str(card.get("id") or folder.name),
        prompt=str(card.get("prompt", "")),
        model=str(card.get("model", "")),
        workspace=str(card.get("workspace", "")),
        created=str(card.get("created", "")),
        steps=[],
        status=str(card.get("status", "")),
    )
    for at, kind, payload in _lines(folder / "journal.sqlite"):
        _take(story, at, kind, payload)
    return story


def _lines(path: Path) -> Iterator[tuple[float, str, dict[str, Any]]]:
    """The lines in order; a damaged file gives those that can be read."""
    if not path.exists():
        raise UsageError(
            f"The session in {str(path.parent)!r} has no journal.", "Another may: ml-intern sessions."
        )
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    seen = False
    try:
        for at, kind, payload in connection.execute("select at, kind, payload from journal order by seq"):
            seen = True
            yield at, kind, json.loads(payload)
    except (sqlite3.DatabaseError, ValueError) as error:
        if not seen:
            raise UsageError(f"The journal {str(path)!r} cannot be read: {error}.") from None
    finally:
        connection.close()


def _take(story: Story, at: float, kind: str, payload: dict[str, Any]) -> None:
    """Put one line where it belongs."""
    if kind == "research":
        _begin_research(story, payload)
        return
    if kind == "research_done":
        _end_research(story, payload)
        return
    steps = _steps_of(story, str(payload.get("source", "")))
    if kind == "brain":
        used = payload.get("tokens") or (0, 0)
        steps.append(Step(int(payload["step"]), at, str(payload["text"]), (int(used[0]), int(used[1]))))
    elif kind == "finished":
        story.answer, story.status = str(payload.get("answer", "")), str(payload.get("status", ""))
    elif not steps:
        return
    elif kind == "cell":
        steps[-1].code = str(payload["code"])
    elif kind == "intent":
        call = Call(payload["tool"], payload.get("arguments") or {}, str(payload.get("effect", "")))
        steps[-1].calls.append(call)
        story.open_calls[str(payload["call"])] = call
    elif kind == "result":
        known = story.open_calls.pop(str(payload["call"]), None)
        if known is not None:
            known.ok, known.value = bool(payload.get("ok")), payload.get("value")
            known.message = str(payload.get("message", ""))
    elif kind == "refusal":
        refused = Call(str(payload["tool"]), payload.get("arguments") or {}, ok=False)
        refused.message = str(payload.get("message", ""))
        steps[-1].calls.append(refused)
    elif kind == "cell_done":
        step = steps[-1]
        step.ok, step.observation = bool(payload.get("ok")), str(payload.get("observation", ""))
        step.final, step.ended = bool(payload.get("final")), at


def _steps_of(story: Story, source: str) -> list[Step]:
    """The steps that a line belongs to: a sub-agent's, or the session's own."""
    return story.research[source].steps if source in story.research else story.steps


def _begin_research(story: Story, payload: dict[str, Any]) -> None:
    begun = Research(str(payload["source"]), str(payload.get("question", "")))
    story.research[begun.source] = begun
    if story.steps:
        story.steps[-1].research.append(begun)


def _end_research(story: Story, payload: dict[str, Any]) -> None:
    finding = payload.get("finding") or {}
    known = story.research.get(str(payload.get("source") or finding.get("research", "")))
    if known is not None:
        known.answer = str(finding.get("answer", ""))
        known.reason = "" if finding.get("ok", True) else str(finding.get("reason", ""))
