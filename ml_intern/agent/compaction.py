"""Keeps a run of any length within the brain's window.

First old observations shrink. Where that is not enough, a summary takes the place of the oldest steps: the
brain writes it, and where it cannot (a playbook, an outage) one is made from the first lines of each step.
The system prompt and the task are never touched; how things stand (budget, best experiment, running jobs,
plan) is written into the summary by the host, not by the brain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING

import yaml
from jinja2 import Environment, StrictUndefined
from smolagents.memory import ActionStep, AgentMemory, TaskStep
from smolagents.models import ChatMessage, MessageRole

from ml_intern.agent.view import (
    ContextFull,
    MessageStep,
    SummaryStep,
    View,
    observation_of,
    size,
    text_message,
)

if TYPE_CHECKING:
    from smolagents.memory import MemoryStep

Write = Callable[[list[ChatMessage]], str]
"""Asks the brain; an empty text where it cannot answer."""

KEEP = (1.0, 0.5, 0.25, 0.0)
"""Of the newest steps, the share that stays beside a summary: the first that leaves room for a while."""

SUMMARISE_TO = 0.5
"""Share of the free window that a summary aims at: each one costs a question and the provider's cache."""

SUMMARY_SHARE = 0.15
"""Share of the window that a summary may take."""

LEAST_GAIN = 4_000
"""Steps of fewer characters are not worth a summary, which takes room itself."""

CHARS_PER_WORD = 7
TASK_CHARS = 2000
"""Of the task and of what the person said later, what the writer of a summary sees."""

STEP_CHARS = 1500
"""Of one step's observation, what the writer of a summary sees."""

LINE_CHARS = 160


@dataclass(frozen=True)
class Compacted:
    """What a compaction did: how (``shrunk`` or ``summarised``), and the characters before and after."""

    how: str
    before: int
    after: int
    text: str = ""
    last: int = 0


class Compactor:
    """Makes room in a memory.

    Args:
        view: Renders and measures.
        write: Asks the brain for a summary.
        pinned: How things stand, in words; asked at each summary.

    Attributes:
        too_little: What was done to a prompt that is too large all the same.
    """

    def __init__(self, view: View, write: Write, pinned: Callable[[], str]) -> None:
        self.view = view
        self._write = write
        self._pinned = pinned
        self.too_little: Compacted | None = None

    def make_room(self, memory: AgentMemory) -> Compacted | None:
        """Bring the prompt below the window's limit; None where it is there already.

        Raises:
            ContextFull: Whatever is done, it does not fit.
        """
        before = size(self.view.render(memory))
        if before <= self.view.limit:
            return None
        if self.view.shrink(memory):
            return Compacted("shrunk", before, size(self.view.render(memory)))
        done: SummaryStep | None = None
        for keep in self._keeps(memory):
            done = self._summarise(memory, keep) or done
            if done is not None and self.view.fits(memory):
                return Compacted("summarised", before, size(self.view.render(memory)), done.text, done.last)
        after = size(self.view.render(memory))
        if after <= self.view.limit:
            return Compacted("shrunk", before, after)
        self.too_little = Compacted("summarised", before, after, done.text, done.last) if done else None
        raise ContextFull(
            f"The prompt of {after} characters is larger than the window of {self.view.limit}.",
            "Use a brain with a larger window, or raise context_tokens if its window is larger.",
        )

    def shorten(self, memory: AgentMemory) -> Compacted | None:
        """Put a summary in place of all but the newest step, room or not; None where that gains nothing."""
        before = size(self.view.render(memory))
        if before - self.view.beside(memory, 1) < LEAST_GAIN:
            return None
        done = self._summarise(memory, 1)
        if done is None:
            return None
        return Compacted("summarised", before, size(self.view.render(memory)), done.text, done.last)

    def _keeps(self, memory: AgentMemory) -> list[int]:
        """How many of the newest steps may stay: the most that leave room for a while, then ever fewer."""
        counts = list(dict.fromkeys(max(1, int(share * self.view.recent_steps)) for share in KEEP))
        longest = int(SUMMARY_SHARE * self.view.limit) + len(self._pinned())
        for most in (self.view.share(memory, SUMMARISE_TO), self.view.limit):
            for place, keep in enumerate(counts):
                if self.view.beside(memory, keep) + longest <= most:
                    return counts[place:]
        return counts[-1:]

    def restore(self, memory: AgentMemory, text: str, last: int) -> None:
        """Put a recorded summary in the place of the steps it was written for."""
        self._replace(memory, SummaryStep(text, last))

    def _summarise(self, memory: AgentMemory, keep: int) -> SummaryStep | None:
        """Replace all but the task and the newest steps; None where there is nothing to replace."""
        old = [step for step in memory.steps[:-keep] if isinstance(step, ActionStep)]
        if not old:
            return None
        earlier = "\n".join(step.text for step in memory.steps if isinstance(step, SummaryStep))
        most = int(SUMMARY_SHARE * self.view.limit)
        asked = _request(_asked_for(memory), earlier, old, most, self.view.limit)
        summary = (self._write(asked) or mechanical(earlier, old, most))[:most]
        first, last = 1, int(old[-1].step_number)
        told = _render("told", first=first, last=last, summary=summary, pinned=self._pinned())
        step = SummaryStep(told, last)
        self._replace(memory, step)
        return step

    def _replace(self, memory: AgentMemory, summary: SummaryStep) -> None:
        kept: list[MemoryStep] = []
        for step in memory.steps:
            gone = isinstance(step, SummaryStep) or (
                isinstance(step, ActionStep) and step.step_number <= summary.last
            )
            if not gone:
                kept.append(step)
        # After the task, which is the first step.
        memory.steps = [*kept[:1], summary, *kept[1:]]
        self.view.forget(memory)


def mechanical(earlier: str, steps: Sequence[ActionStep], most: int) -> str:
    """A summary without a brain: a line a step, the newest last; what does not fit is counted."""
    lines = [*earlier.splitlines(), *(_line_of(step) for step in steps)]
    kept: list[str] = []
    room = most - 60
    for line in reversed(lines):
        room -= len(line) + 1
        if room < 0:
            kept.append(f"… {len(lines) - len(kept)} earlier lines left out …")
            break
        kept.append(line)
    return "\n".join(reversed(kept))


def _line_of(step: ActionStep) -> str:
    code = step.code_action or step.model_output or ""
    did = next((line.strip() for line in code.splitlines() if line.strip()), "nothing")
    saw = next((line.strip() for line in observation_of(step).splitlines() if line.strip()), "nothing")
    return f"- step {step.step_number}: {did[:LINE_CHARS]} → {saw[:LINE_CHARS]}"


def _asked_for(memory: AgentMemory) -> str:
    """The task, and what the person said later: without it nobody knows what matters in the steps."""
    said = [step.task for step in memory.steps if isinstance(step, TaskStep)]
    said += [step.text for step in memory.steps if isinstance(step, MessageStep)]
    return _cut("\n".join(said), TASK_CHARS)


def _request(
    task: str, earlier: str, steps: Sequence[ActionStep], most: int, limit: int
) -> list[ChatMessage]:
    """What the brain is asked; it must itself fit into the window, so long steps are cut in the middle."""
    words = max(50, most // CHARS_PER_WORD)
    first, last = steps[0].step_number, steps[-1].step_number
    told = {"task": task, "earlier": earlier, "first": first, "last": last, "words": words}
    room = max(0, limit - most - len(_render("request", **told, steps="")))
    each = max(200, min(STEP_CHARS, room // 2 // len(steps)))
    shown = "\n\n".join(_shown(step, each) for step in steps)
    request = _render("request", **told, steps=_end(shown, room))
    return [
        text_message(MessageRole.SYSTEM, _templates()["system"].strip()),
        text_message(MessageRole.USER, request[-(limit - most) :]),
    ]


def _shown(step: ActionStep, limit: int) -> str:
    said, saw = _cut(step.model_output or "", limit), _cut(observation_of(step), limit)
    return f"Step {step.step_number}:\n{said}\nObservation:\n{saw}"


def _cut(text: str, limit: int) -> str:
    """Without its middle, between words where there are any: half an id or a path is a wrong one."""
    if len(text) <= limit:
        return text
    head = text[: limit // 2]
    return f"{head[: _last_space(head)]} … {_end(text, limit // 2)}"


def _end(text: str, limit: int) -> str:
    tail = text[-limit:] if limit else ""
    return tail if len(text) <= limit else tail[len(tail) - _last_space(tail[::-1]) :]


def _last_space(text: str) -> int:
    """Where the last space or end of a line stands, if that is in the second half; else the end."""
    found = max(text.rfind(" "), text.rfind("\n"))
    return found if found > len(text) // 2 else len(text)


@lru_cache(maxsize=1)
def _templates() -> dict[str, str]:
    text = resources.files("ml_intern.prompts").joinpath("compaction.yaml").read_text(encoding="utf-8")
    loaded: dict[str, str] = yaml.safe_load(text)
    return loaded


def _render(name: str, **values: object) -> str:
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_templates()[name]).render(**values).strip()
