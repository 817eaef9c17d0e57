"""What the brain sees of the run: a view of the memory is rendered, within the brain's window.

The prompt of step n+1 begins with that of step n, byte for byte, so that providers can reuse their prompt
caches. Where the window forces old observations to shrink, a whole block of steps shrinks at once, well below
the limit, and the prefix then stays the same for many steps. Each time it does not, `changes` goes up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from smolagents.memory import ActionStep, AgentMemory, MemoryStep, TaskStep
from smolagents.models import ChatMessage, MessageRole

from ml_intern.agent.counting import CHARS_PER_TOKEN
from ml_intern.agent.executor import head_and_tail
from ml_intern.errors import LimitReached

LEAST_CHARS_PER_TOKEN = 1.0
"""Whatever a provider counts, a token is taken for no less than a character."""

BLOCK = 8
"""Steps that shrink at one time."""

SHRUNK_CHARS = 400
"""What is left of an old observation."""

SHRINK_TO = 0.75
"""Share of the free window that shrinking aims at, so that it is not needed again after the next step."""

TIGHTEN_TO = 0.8
"""Share of a prompt that the provider found too long which the next one may have."""

LONGEST_SHARE = 0.4
"""A single message that takes more of the window is replaced by a word about it."""

HEADING = 60
"""Characters, at the most, that stand before an observation."""

Spill = Callable[[str, str], Path]
"""Keeps a text in a file of the given name; answers where."""


class ContextFull(LimitReached):
    """The prompt does not fit into the brain's window, whatever is shrunk and summarised."""


class SummaryStep(MemoryStep):  # type: ignore[misc]
    """What stands in the memory in place of the oldest steps.

    Args:
        text: The summary, pinned facts included.
        last: Number of the last step that it stands for.
    """

    def __init__(self, text: str, last: int) -> None:
        self.text = text
        self.last = last


class MessageStep(MemoryStep):  # type: ignore[misc]
    """What the person said while the run went on. Like the task it is never shrunk or summarised."""

    def __init__(self, text: str) -> None:
        self.text = text


class View:
    """Renders the memory of a run as messages, within the brain's window.

    Args:
        context_tokens: The brain's window, in tokens.
        reserve_tokens: Kept free for the reply.
        recent_steps: Newest steps that never shrink.
        spill: Keeps what is too long for the window; None: it is only counted.
    """

    def __init__(
        self, context_tokens: int, reserve_tokens: int, recent_steps: int, spill: Spill | None = None
    ) -> None:
        self.tokens = self._told = context_tokens - reserve_tokens
        self.recent_steps = recent_steps
        self.changes = 0
        self._chars_per_token = CHARS_PER_TOKEN
        self._spill = spill
        self._shrunk: set[int] = set()
        self._messages: dict[int, tuple[MemoryStep, list[ChatMessage]]] = {}

    @property
    def limit(self) -> int:
        """Characters that fit."""
        return int(self.tokens * self._chars_per_token)

    @property
    def _longest(self) -> int:
        return int(LONGEST_SHARE * self.limit)

    def calibrate(self, characters: int, tokens: int) -> None:
        """Learn from the provider's own count, if it is higher than ours, and from what it took at all."""
        if characters > self.limit:  # it found the prompt too long, and then it did not: it is not believed
            self.tokens = self._told
        if tokens > 0 and characters / tokens < self._chars_per_token:
            self._chars_per_token = max(LEAST_CHARS_PER_TOKEN, characters / tokens)

    def tighten(self, characters: int) -> None:
        """The provider says that a prompt of so many characters was too long, whatever our meter says."""
        self.tokens = int(TIGHTEN_TO * min(self.tokens, characters / self._chars_per_token))

    def render(self, memory: AgentMemory) -> list[ChatMessage]:
        """The messages of the next request, however long they are."""
        messages = [text_message(MessageRole.SYSTEM, memory.system_prompt.system_prompt)]
        for step in memory.steps:
            messages += self._of(step)
        return messages

    def fits(self, memory: AgentMemory) -> bool:
        """Whether the messages are within the window."""
        return size(self.render(memory)) <= self.limit

    def shrink(self, memory: AgentMemory) -> bool:
        """Shrink what is too long alone, then old observations; whether there is room for a while again."""
        self._bound_again()
        old = [step for step in memory.steps[: -self.recent_steps] if isinstance(step, ActionStep)]
        whole = [step for step in old if id(step) not in self._shrunk]
        aim = self.share(memory, SHRINK_TO)
        while whole and size(self.render(memory)) > aim:
            for step in whole[:BLOCK]:
                self._shrunk.add(id(step))
                self._messages.pop(id(step), None)
            whole = whole[BLOCK:]
            self.changes += 1
        return size(self.render(memory)) <= aim

    def share(self, memory: AgentMemory, part: float) -> float:
        """Characters of a prompt that uses so much of what the system prompt and the task leave free."""
        fixed = self.beside(memory, 0)
        return min(self.limit, fixed + part * (self.limit - fixed))

    def beside(self, memory: AgentMemory, keep: int) -> int:
        """Characters that stay where a summary takes the place of all but the `keep` newest steps."""
        acted = [step for step in memory.steps if isinstance(step, ActionStep)]
        kept = [step for step in memory.steps if not isinstance(step, ActionStep | SummaryStep)]
        kept += acted[-keep:] if keep else []
        return len(memory.system_prompt.system_prompt) + sum(size(self._of(step)) for step in kept)

    def _bound_again(self) -> None:
        """The window may have become smaller since a message was made."""
        longest = self._longest + HEADING
        over = [k for k, (_, made) in self._messages.items() if any(len(text_of(m)) > longest for m in made)]
        for key in over:
            del self._messages[key]
        self.changes += bool(over)

    def shrunk_to(self, memory: AgentMemory) -> int:
        """Number of the last step whose observation is shrunk; 0: none."""
        shrunk = [s.step_number for s in memory.steps if id(s) in self._shrunk and isinstance(s, ActionStep)]
        return max(map(int, shrunk), default=0)

    def restore(self, memory: AgentMemory, last: int) -> None:
        """Shrink what was shrunk in an earlier process: all up to a step."""
        for step in memory.steps:
            if isinstance(step, ActionStep) and step.step_number <= last:
                self._shrunk.add(id(step))
                self._messages.pop(id(step), None)

    def forget(self, memory: AgentMemory) -> None:
        """Drop what was kept of steps that are no longer in the memory."""
        there = {id(step) for step in memory.steps}
        self._messages = {key: kept for key, kept in self._messages.items() if key in there}
        self._shrunk &= there
        self.changes += 1

    def _of(self, step: MemoryStep) -> list[ChatMessage]:
        if id(step) not in self._messages:
            self._messages[id(step)] = (step, self._convert(step))
        return self._messages[id(step)][1]

    def _convert(self, step: MemoryStep) -> list[ChatMessage]:
        if isinstance(step, TaskStep):
            return [text_message(MessageRole.USER, f"Task:\n{step.task}")]
        if isinstance(step, SummaryStep):
            return [text_message(MessageRole.USER, step.text)]
        if isinstance(step, MessageStep):
            return [text_message(MessageRole.USER, f"The person says:\n{step.text}")]
        if not isinstance(step, ActionStep):
            return []
        number, reply = step.step_number, step.model_output or ""
        # The code stands in the reply already, so it is not shown a second time.
        said = [text_message(MessageRole.ASSISTANT, self._bounded(reply, f"reply-{number}"))] if reply else []
        seen = observation_of(step)
        if id(step) in self._shrunk:
            seen = head_and_tail(seen, SHRUNK_CHARS)
        seen = self._bounded(seen, f"observation-{number}")
        return [*said, text_message(MessageRole.USER, f"Observation of step {number}:\n{seen}")]

    def _bounded(self, text: str, name: str) -> str:
        """The text, or what it was and where it is: one message must not fill the window alone."""
        most = self._longest
        if len(text) <= most:
            return text
        where = f", the whole is in {self._spill(name, text)}" if self._spill else ""
        kept = head_and_tail(text, min(most, SHRUNK_CHARS))
        return f"[{len(text)} characters were too many for the window{where}]\n{kept}"


def observation_of(step: ActionStep) -> str:
    """What the brain was told of a step."""
    return str(step.error.message if step.error else step.observations or "")


def size(messages: Sequence[ChatMessage]) -> int:
    """Characters of all messages: the one meter that is used before and after shrinking."""
    return sum(len(text_of(m)) for m in messages)


def text_message(role: MessageRole, text: str) -> ChatMessage:
    """A message of one text."""
    return ChatMessage(role=role, content=[{"type": "text", "text": text}])


def text_of(message: ChatMessage) -> str:
    """The text of a message, however its content is kept."""
    content: Any = message.content
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text", "") for part in content or [] if isinstance(part, dict))
