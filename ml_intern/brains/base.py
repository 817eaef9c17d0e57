"""What every brain offers the agent beside smolagents' own `Model`."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from smolagents.models import ChatMessage, MessageRole, Model
from smolagents.monitoring import TokenUsage

from ml_intern.brains.replies import CELL_TAGS
from ml_intern.secrets.masking import mask

if TYPE_CHECKING:
    from ml_intern.context import Services
    from ml_intern.errors import InternError


class Brain(Model):  # type: ignore[misc]
    """A smolagents `Model` that says what it is, what it costs and whether it can answer at all.

    Attributes:
        label: ``scheme:name``, as the person gave it and as the session shows it.
        trusted: True only for playbooks that ship with the product: their cells are our own code.
        language_model: False for playbooks.
        vouched: True only where the host itself writes the answer, of what was measured and what a card says.
        context_tokens: Window of the brain, in tokens.
        tags: Opening and closing tag of the cells that the agent expects.
    """

    label: str = ""
    trusted: bool = False
    language_model: bool = True
    vouched: bool = False
    context_tokens: int = 128_000
    tags: tuple[str, str] = CELL_TAGS
    greedy: Mapping[str, Any] = MappingProxyType({"temperature": 0.0})
    """What `generate` takes for an answer without chance."""

    @cached_property
    def stopped(self) -> threading.Event:
        """Set once the person has stopped the run."""
        return threading.Event()

    @property
    def foretold(self) -> bool:
        """What it says next is known, since it was said before: whatever the run does now did not end it."""
        return False

    def interrupt(self) -> None:
        """Give up the request that is under way, and any wait; safe to call from another thread."""
        self.stopped.set()

    def go_on(self) -> None:
        """Answer again after an interrupt that was not the end of the run."""
        self.stopped.clear()

    def prepare(self, prompt: str) -> None:
        """Check, before anything is made, that the brain can answer this prompt.

        Raises:
            UsageError: The brain does not understand the prompt.
            NoBrain: It cannot be reached, or refuses the key.
        """

    def begin(self, services: Services) -> None:
        """Told once the session is there, before its first cell. Most brains need nothing of it."""

    def verdict(self) -> InternError | None:
        """Why a run that came to its end has failed all the same; None: it has not."""
        return None

    def price(self, input_tokens: int, output_tokens: int) -> float | None:
        """Dollars for an exchange; None when the price is not known, which is not the same as free."""
        return None


@dataclass(frozen=True)
class Ending:
    """The `raw` of our messages: what is worth keeping of a provider's response, small and without secrets.

    Attributes:
        finish_reason: Why the reply ended: ``stop``, ``length``, ``content_filter``; empty where nobody says.
        model: The model that answered, as the provider names it.
        id: The provider's id of the response.
        counted: True when the tokens are the provider's own count, False when they are estimated.
    """

    finish_reason: str = ""
    model: str = ""
    id: str = ""
    counted: bool = True

    @property
    def choices(self) -> list[Ending]:
        """Lets ``raw.choices[0].finish_reason`` work as on a provider's own response."""
        return [self]


def finish_reason(message: ChatMessage) -> str:
    """Why a reply ended: ``stop``, ``length``, or an empty string where nobody says."""
    choices = getattr(message.raw, "choices", None) or []
    return str(getattr(choices[0], "finish_reason", None) or "") if choices else ""


def answer(text: str, ending: Ending, input_tokens: int, output_tokens: int) -> ChatMessage:
    """A brain's reply as smolagents wants it."""
    return ChatMessage(
        role=MessageRole.ASSISTANT,
        content=text,
        raw=ending,
        token_usage=TokenUsage(input_tokens=input_tokens, output_tokens=output_tokens),
    )


def text_of(message: Any) -> str:
    """The text of a message, whether it holds a string or a list of parts."""
    content = message.get("content") if isinstance(message, dict) else message.content
    if isinstance(content, str):
        return content
    parts = [part.get("text", "") for part in content or [] if isinstance(part, dict)]
    return "\n".join(part for part in parts if part)


def role_of(message: Any) -> str:
    """``system``, ``user`` or ``assistant``; calls count as the assistant's, their results as the user's."""
    role = message.get("role") if isinstance(message, dict) else message.role
    name = str(getattr(role, "value", role))
    return {"tool-call": "assistant", "tool-response": "user"}.get(name, name)


def wire_messages(messages: Iterable[Any]) -> list[dict[str, str]]:
    """Messages as every endpoint takes them: plain text, and no two of one role in a row.

    Many chat templates of open models raise where roles do not alternate, and know no lists of parts.
    """
    sent: list[dict[str, str]] = []
    for message in messages:
        # A cell may print half of a surrogate pair, which no JSON can carry.
        role, text = role_of(message), mask(text_of(message)).encode("utf-8", "replace").decode()
        if sent and sent[-1]["role"] == role:
            sent[-1]["content"] += "\n" + text
        else:
            sent.append({"role": role, "content": text})
    return sent
