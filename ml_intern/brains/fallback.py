"""A brain that goes on with the next one when the first does not answer any more.

Each brain has its own patience (retries, backoff) before it says that nobody answers. Only then the next one
takes over, for the rest of the run: two brains that answer in turns would pay for each prompt's cache twice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from smolagents.models import ChatMessage

from ml_intern.brains.base import Brain
from ml_intern.errors import NoBrain
from ml_intern.events import Event, Notice


class FallbackBrain(Brain):
    """Several brains, one after another.

    The window is the smallest of all, so that a prompt which the first took is not too long for the next.

    Args:
        brains: The first is the one that was asked for.
        emit: Told when the next one takes over.
    """

    def __init__(self, brains: Sequence[Brain], emit: Callable[[Event], None]) -> None:
        super().__init__()
        self._brains = list(brains)
        self._emit = emit
        self._turn = threading.Lock()
        self.trusted = all(brain.trusted for brain in brains)
        self.language_model = any(brain.language_model for brain in brains)
        self.tags = brains[0].tags

    @property
    def label(self) -> str:  # type: ignore[override]
        """The one that answers now."""
        return self._brains[0].label

    @property
    def context_tokens(self) -> int:  # type: ignore[override]
        """The smallest window."""
        return min(brain.context_tokens for brain in self._brains)

    def interrupt(self) -> None:
        """Give up the request that is under way."""
        super().interrupt()
        for brain in self._brains:
            brain.interrupt()

    def go_on(self) -> None:
        """Answer again after an interrupt."""
        super().go_on()
        for brain in self._brains:
            brain.go_on()

    def prepare(self, prompt: str) -> None:
        """Find the first that can answer.

        Raises:
            NoBrain: None can; told in the words of the last.
        """
        self._until_one_answers(lambda brain: brain.prepare(prompt))

    def generate(self, messages: list[Any], **kwargs: Any) -> ChatMessage:
        """The reply of the first that answers.

        Raises:
            NoBrain: None does.
        """
        return self._until_one_answers(lambda brain: brain.generate(messages, **kwargs))

    def price(self, input_tokens: int, output_tokens: int) -> float | None:
        """What the one that answers now asks."""
        return self._brains[0].price(input_tokens, output_tokens)

    def _until_one_answers(self, ask: Callable[[Brain], Any]) -> Any:
        while True:
            asked = self._brains[0]
            try:
                return ask(asked)
            except NoBrain as error:
                with self._turn:
                    if asked is not self._brains[0]:
                        continue  # another thread has met this, and has gone on to the next
                    if len(self._brains) == 1 or self.stopped.is_set():
                        raise
                    gone = self._brains.pop(0)
                told = f"{gone.label} gives no answer, {self.label} goes on: {error.message}"
                self._emit(Notice("warning", told))
