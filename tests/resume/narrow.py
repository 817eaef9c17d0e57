"""A window that is a little larger than the system prompt, however long that is today."""

from __future__ import annotations

from typing import Any

from ml_intern.agent.counting import CHARS_PER_TOKEN
from ml_intern.brains.base import Brain


def narrow(brain: Brain, room: int, max_output_tokens: int) -> None:
    """Give a brain a window with so many characters beside the system prompt.

    Args:
        brain: Its window is set when the system prompt is made.
        room: Characters for all other messages.
        max_output_tokens: As the settings have it: kept free for the reply.
    """
    import ml_intern.agent.instructions as instructions

    render = instructions.system_prompt

    def rendered(*given: Any, **facts: Any) -> str:
        text = render(*given, **facts)
        brain.context_tokens = int((len(text) + room) / CHARS_PER_TOKEN) + max_output_tokens
        return text

    instructions.system_prompt = rendered
