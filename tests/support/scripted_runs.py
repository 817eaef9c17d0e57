"""Whole runs over replies that are written down: a real session, kernel, router and journal, no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml_intern.brains.base import Brain, Ending, answer, role_of, text_of
from ml_intern.events import Event
from ml_intern.result import RunResult
from ml_intern.sandbox.bare import BareSandbox
from ml_intern.secrets.secrets import Secrets
from ml_intern.session.session import Session
from ml_intern.settings import Settings

Reply = str | tuple[str, str]
"""The text of a reply; with it why the provider ended it, ``stop`` where nothing is said."""


def cell(code: str, words: str = "Next.") -> str:
    """A reply with one cell."""
    return f"{words}\n<cell>\n{code}\n</cell>"


class Plays(Brain):
    """Says its replies in order, the last one again and again; keeps the prompts that it was given."""

    label = "scripted"

    def __init__(self, replies: Sequence[Reply] | Callable[[int], Reply], window: int = 128_000) -> None:
        super().__init__()
        self.context_tokens = window
        self.prompts: list[str] = []
        self.summaries: list[str] = []
        self._replies = replies

    def generate(self, messages: list[Any], **given: Any) -> Any:
        """The next reply; a summary where the agent asks for one."""
        prompt = "\n".join(f"{role_of(m)}: {text_of(m)}" for m in messages)
        if "stop_sequences" not in given:
            self.summaries.append(prompt)
            return answer(f"Summary {len(self.summaries)}.", Ending("stop"), 0, 0)
        self.prompts.append(prompt)
        nth, replies = len(self.prompts), self._replies
        said = replies(nth) if callable(replies) else replies[min(nth, len(replies)) - 1]
        text, reason = (said, "stop") if isinstance(said, str) else said
        return answer(text, Ending(reason), 0, 0)


@dataclass
class Played:
    """A run that has come to its end."""

    result: RunResult
    brain: Plays
    session: Session
    events: list[Event] = field(default_factory=list)

    def told(self, kind: str) -> list[Any]:
        """The events of a kind."""
        return [event for event in self.events if event.kind == kind]

    @property
    def notices(self) -> list[str]:
        """What the person was told."""
        return [event.text for event in self.told("Notice")]


def play(
    replies: Sequence[Reply] | Callable[[int], Reply],
    state: Path,
    prompt: str = "do it",
    window: int = 128_000,
    folder: Path | None = None,
    secrets: Secrets | None = None,
    **settings: Any,
) -> Played:
    """Run a session over replies, in plain processes, to its end; with a folder, one that goes on."""
    brain, given = Plays(replies, window), Settings.load(state=state, **settings)
    session = Session(given, prompt, brain, BareSandbox("a test"), None, secrets, folder=folder)
    try:
        events = list(session.run())
        return Played(session.result(), brain, session, events)
    finally:
        session.close()
