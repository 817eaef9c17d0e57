"""What a session's journal tells, step by step: the one reading that every form is written from."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml_intern.errors import UsageError
from ml_intern.journal import Entry, salvage


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
    unreadable: int = 0
    """Lines of the journal that are lost or make no sense."""
    open_calls: dict[str, Call] = field(default_factory=dict, repr=False)
    """Calls without a result, by id."""

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
    entries, story.unreadable = _lines(folder / "journal.sqlite")
    for entry in entries:
        try:
            _take(story, entry.at, entry.kind, entry.payload)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            story.unreadable += 1
    return story


def _lines(path: Path) -> tuple[list[Entry], int]:
    """The lines in order, and how many are lost; a damaged file gives those that can be read."""
    if not path.exists():
        raise UsageError(
            f"The session in {str(path.parent)!r} has no journal.", "Another may: ml-intern sessions."
        )
    try:
        return salvage(path)
    except (sqlite3.DatabaseError, OSError) as error:
        raise UsageError(f"The journal {str(path)!r} cannot be read: {error}.") from None


def _take(story: Story, at: float, kind: str, payload: dict[str, Any]) -> None:
    """Put one line where it belongs."""
    if kind == "brain":
        used = payload.get("tokens") or (0, 0)
        story.steps.append(Step(int(payload["step"]), at, str(payload["text"]), (int(used[0]), int(used[1]))))
    elif kind == "finished":
        story.answer, story.status = str(payload.get("answer", "")), str(payload.get("status", ""))
    elif not story.steps:
        return
    elif kind == "cell":
        story.steps[-1].code = str(payload["code"])
    elif kind == "intent":
        call = Call(payload["tool"], payload.get("arguments") or {}, str(payload.get("effect", "")))
        story.steps[-1].calls.append(call)
        story.open_calls[str(payload["call"])] = call
    elif kind == "result":
        known = story.open_calls.pop(str(payload["call"]), None)
        if known is not None:
            known.ok, known.value = bool(payload.get("ok")), payload.get("value")
            known.message = str(payload.get("message", ""))
    elif kind == "refusal":
        refused = Call(str(payload["tool"]), payload.get("arguments") or {}, ok=False)
        refused.message = str(payload.get("message", ""))
        story.steps[-1].calls.append(refused)
    elif kind == "cell_done":
        step = story.steps[-1]
        step.ok, step.observation = bool(payload.get("ok")), str(payload.get("observation", ""))
        step.final, step.ended = bool(payload.get("final")), at
