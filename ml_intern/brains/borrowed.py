"""A brain in the hands of a sub-agent: asked from several threads, each with a stop of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smolagents.models import ChatMessage

from ml_intern.brains.base import Brain
from ml_intern.brains.waiting import apart
from ml_intern.errors import Interrupted


class Borrowed(Brain):
    """Asks another brain. To interrupt it gives up the own request and leaves the others' alone.

    Args:
        brain: Who answers; it takes requests from several threads at a time.
    """

    def __init__(self, brain: Brain) -> None:
        super().__init__()
        self._brain = brain
        self.tags = brain.tags

    @property
    def label(self) -> str:  # type: ignore[override]
        """The one that answers."""
        return self._brain.label

    @property
    def greedy(self) -> Mapping[str, Any]:  # type: ignore[override]
        """How it answers without chance."""
        return self._brain.greedy

    @property
    def context_tokens(self) -> int:  # type: ignore[override]
        """Its window."""
        return self._brain.context_tokens

    def price(self, input_tokens: int, output_tokens: int) -> float | None:
        """What it asks."""
        return self._brain.price(input_tokens, output_tokens)

    def generate(self, messages: list[Any], **kwargs: Any) -> ChatMessage:
        """Its reply.

        Raises:
            Interrupted: The sub-agent was stopped; what the request still brings is dropped.
        """
        if self.stopped.is_set():
            raise Interrupted("Stopped before the brain was asked.")
        return apart(lambda: self._brain.generate(messages, **kwargs), stop=self.stopped)
