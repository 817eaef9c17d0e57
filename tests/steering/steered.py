"""A session in this process whose brain is a function from what it reads to what it writes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_intern.brains.base import Brain, Ending, answer, role_of, text_of
from ml_intern.errors import Interrupted
from ml_intern.events import Event
from ml_intern.sandbox.bare import BareSandbox
from ml_intern.session.session import Session
from ml_intern.settings import Settings

Reply = Callable[[int, str], str | None]
"""From the number of earlier answers and the whole prompt to a cell; None: it thinks until it is stopped."""


class Talking(Brain):
    """Writes one cell an answer."""

    label = "talking"

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = reply
        self.prompts: list[str] = []
        self.thinking = threading.Event()

    def generate(self, messages: list[Any], **_: Any) -> Any:
        self.prompts.append("\n---\n".join(text_of(message) for message in messages[1:]))
        code = self.reply(sum(role_of(m) == "assistant" for m in messages), self.prompts[-1])
        if code is None:
            self.thinking.set()
            assert self.stopped.wait(200), "nobody stopped it"
            raise Interrupted("The answer was stopped.")
        return answer(f"<cell>\n{code}\n</cell>", Ending("stop"), 10, 5)


def open_session(state: Path, reply: Reply, folder: Path | None = None, **given: Any) -> Session:
    settings = Settings.load(state=state, sandbox="none", **{"cell_grace_s": 60, **given})
    return Session(settings, "do it", Talking(reply), BareSandbox("a test"), None, folder=folder)


def run(session: Session, on: Callable[[Event], None] = lambda event: None) -> Any:
    """To the end; its result."""
    try:
        for event in session.run():
            on(event)
        return session.result()
    finally:
        session.close()


def prompts(session: Session) -> list[str]:
    """What its brain has read, prompt by prompt."""
    assert isinstance(session.brain, Talking)
    return session.brain.prompts
