"""What the brain sees of the run: all steps are kept, a view of them is rendered.

The prompt of step n+1 begins with that of step n, byte for byte, so that providers can reuse their prompt
caches. Where the window forces old observations to shrink, a whole block of steps shrinks at once, and the
prefix then stays the same until the next block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from smolagents.memory import ActionStep, AgentMemory, MemoryStep, TaskStep
from smolagents.models import ChatMessage, MessageRole

from ml_intern.errors import LimitReached
from ml_intern.executor import head_and_tail

CHARS_PER_TOKEN = 3.5
"""Conservative for English mixed with code: byte-pair tokenizers give 3.5 to 4.2 characters a token."""

BLOCK = 8
"""Steps that shrink at one time."""

SHRUNK_CHARS = 400
"""What is left of an old observation."""


class ContextFull(LimitReached):
    """The prompt does not fit into the brain's window, even with old steps shrunk."""


class View:
    """Renders the memory of a run as messages, within the brain's window.

    Args:
        context_tokens: The brain's window, in tokens.
        reserve_tokens: Kept free for the reply.
        recent_steps: Newest steps that never shrink.
    """

    def __init__(self, context_tokens: int, reserve_tokens: int, recent_steps: int) -> None:
        self.limit = int((context_tokens - reserve_tokens) * CHARS_PER_TOKEN)
        self.recent_steps = recent_steps
        self.shrunk = 0
        self._whole: dict[int, list[ChatMessage]] = {}
        self._small: dict[int, list[ChatMessage]] = {}

    def render(self, memory: AgentMemory) -> list[ChatMessage]:
        """The messages of the next request.

        Raises:
            ContextFull: They are too many for the window.
        """
        messages = self._messages(memory)
        while size(messages) > self.limit:
            if self.shrunk + self.recent_steps >= len(memory.steps):
                raise ContextFull(
                    f"The prompt of {size(messages)} characters is larger than the window of {self.limit}.",
                    "Use a brain with a larger window, or raise context_tokens if its window is larger.",
                )
            self.shrunk = min(self.shrunk + BLOCK, len(memory.steps) - self.recent_steps)
            messages = self._messages(memory)
        return messages

    def _messages(self, memory: AgentMemory) -> list[ChatMessage]:
        messages = [text_message(MessageRole.SYSTEM, memory.system_prompt.system_prompt)]
        for index, step in enumerate(memory.steps):
            cache = self._small if index < self.shrunk else self._whole
            if index not in cache:
                cache[index] = _convert(step, SHRUNK_CHARS if index < self.shrunk else None)
            messages += cache[index]
        return messages


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


def _convert(step: MemoryStep, limit: int | None) -> list[ChatMessage]:
    if isinstance(step, TaskStep):
        return [text_message(MessageRole.USER, f"Task:\n{step.task}")]
    if not isinstance(step, ActionStep):
        return []
    # The code stands in the reply already, so it is not shown a second time.
    messages = [text_message(MessageRole.ASSISTANT, step.model_output or "")] if step.model_output else []
    seen = step.error.message if step.error else step.observations or ""
    if limit is not None:
        seen = head_and_tail(seen, limit)
    return [*messages, text_message(MessageRole.USER, f"Observation of step {step.step_number}:\n{seen}")]
