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
    """One step: what the person said before it and the brain wrote, the cell, its calls, what came of it.

    `at` is seconds since the epoch.
    """

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
    heard: list[str] = field(default_factory=list)


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
    said: list[str] = field(default_factory=list, repr=False)
    """What the person said since the last step."""

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
    if kind == "brain":
        used = payload.get("tokens") or (0, 0)
        story.steps.append(Step(int(payload["step"]), at, str(payload["text"]), (int(used[0]), int(used[1]))))
        story.steps[-1].heard, story.said = story.said, []
    elif kind in ("message", "turn"):
        story.said.append(str(payload["text"]))
    elif kind == "undo":
        story.steps = [step for step in story.steps if step.number < int(payload["step"])]
        story.said, story.answer = [], ""
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
