"""What a session's journal tells, step by step: the one reading that every form is written from."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml_intern.errors import UsageError
from ml_intern.journal.reading import CARD, JOURNAL, Salvaged, salvage


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
    damage: str = ""
    """Why this is not the whole story; empty where it is."""
    open_calls: dict[str, Call] = field(default_factory=dict, repr=False)
    """Calls without a result, by id."""
    said: list[str] = field(default_factory=list, repr=False)
    """What the person said since the last step."""
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
        card = json.loads((folder / CARD).read_text())
    except (OSError, ValueError, RecursionError):
        card = {}
    card = card if isinstance(card, dict) else {}
    story = Story(
        id=str(card.get("id") or folder.name),
        prompt=str(card.get("prompt", "")),
        model=str(card.get("model", "")),
        workspace=str(card.get("workspace", "")),
        created=str(card.get("created", "")),
        steps=[],
        status=str(card.get("status", "")),
    )
    found = _found(folder / JOURNAL)
    wrong = 0
    for entry in found.entries:
        try:
            _take(story, entry.at, entry.kind, entry.payload)
        except (AttributeError, LookupError, TypeError, ValueError):
            wrong += 1
    if wrong or found.problem:
        story.damage = found.problem or f"{wrong} lines make no sense"
    return story


def _found(path: Path) -> Salvaged:
    if not path.is_file():
        raise UsageError(
            f"The session in {str(path.parent)!r} has no journal.", "Another may: ml-intern sessions."
        )
    found = salvage(path)
    if found.problem and not found.entries:
        raise UsageError(f"The journal {str(path)!r} cannot be read: {found.problem}.")
    return found


def _take(story: Story, at: float, kind: str, payload: dict[str, Any]) -> None:
    """Put one line where it belongs."""
    if kind in ("research", "research_done"):
        _research(story, kind, payload)
        return
    steps = _steps_of(story, str(payload.get("source", "")))
    if kind == "brain":
        used = payload.get("tokens") or (0, 0)
        steps.append(Step(int(payload["step"]), at, str(payload["text"]), (int(used[0]), int(used[1]))))
        if steps is story.steps:
            steps[-1].heard, story.said = story.said, []
    elif kind in ("message", "turn"):
        story.said.append(str(payload["text"]))
    elif kind == "undo":
        story.steps = [step for step in story.steps if step.number < int(payload["step"])]
        story.said, story.answer = [], ""
    elif kind == "finished":
        story.answer, story.status = str(payload.get("answer", "")), str(payload.get("status", ""))
    elif kind == "cell":
        _step(steps, payload, at).code = str(payload["code"])
    elif kind == "cell_done":
        step = _step(steps, payload, at)
        step.ok, step.observation = bool(payload.get("ok")), str(payload.get("observation", ""))
        step.final, step.ended = bool(payload.get("final")), at
    elif not steps:
        return
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


def _steps_of(story: Story, source: str) -> list[Step]:
    """The steps that a line belongs to: a sub-agent's, or the session's own."""
    return story.research[source].steps if source in story.research else story.steps


def _research(story: Story, kind: str, payload: dict[str, Any]) -> None:
    """The beginning or the end of a sub-agent."""
    known = story.research.get(str(payload["source"]))
    if kind == "research":
        begun = Research(str(payload["source"]), str(payload["question"]))
        story.research[begun.source] = begun
        if story.steps:
            story.steps[-1].research.append(begun)
    elif known is not None:
        finding = payload["finding"]
        known.answer = str(finding["answer"])
        known.reason = "" if finding["ok"] else str(finding["reason"])


def _step(steps: list[Step], payload: dict[str, Any], at: float) -> Step:
    """The step of a line; one of its own where the line with the brain's words is lost."""
    number = int(payload["step"])
    if not steps or steps[-1].number != number:
        steps.append(Step(number, at))
    return steps[-1]
