"""A brain whose replies follow from the task and the number of the step, and a session over it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_intern.brains.base import Brain, Ending, answer, role_of, text_of
from ml_intern.events import Event
from ml_intern.sandbox.bare import BareSandbox
from ml_intern.session.session import Session
from ml_intern.settings import Settings

Reply = str | Callable[[], str]


class Talks(Brain):
    """Plays a list of cells for each task: ``main`` for the session's, else by a word of the question.

    Attributes:
        asked: Each request: the key of the list, the step, when it came and went.
    """

    label = "talks"

    def __init__(self, main: Sequence[Reply], **lists: Sequence[Reply]) -> None:
        super().__init__()
        self.lists: Mapping[str, Sequence[Reply]] = {"main": main, **lists}
        self.asked: list[tuple[str, int, float, float]] = []
        self.prompts: dict[str, str] = {}
        self.systems: dict[str, str] = {}
        self._lock = threading.Lock()

    def generate(self, messages: list[Any], **_: Any) -> Any:
        began = time.monotonic()
        task = next(text_of(m) for m in messages if role_of(m) == "user")
        known = [name for name in self.lists if name != "main" and f"<{name}>" in task]
        name = known[0] if known else "main"
        step = sum(role_of(m) == "assistant" for m in messages)
        cells = self.lists[name]
        reply = cells[min(step, len(cells) - 1)]
        code = reply if isinstance(reply, str) else reply()
        with self._lock:
            self.asked.append((name, step, began, time.monotonic()))
            self.prompts[name] = "\n".join(map(text_of, messages))
            self.systems[name] = text_of(messages[0])
        return answer(f"Step {step}.\n<cell>\n{code}\n</cell>", Ending("stop"), 10, 5)

    def price(self, input_tokens: int, output_tokens: int) -> float:
        return input_tokens / 1000

    def times(self, name: str) -> int:
        return sum(asked[0] == name for asked in self.asked)


def session(
    state: Path, brain: Brain, folder: Path | None = None, sandbox: Any = None, **settings: Any
) -> Session:
    given = Settings.load(**{"state": state, **settings})
    return Session(given, "do it", brain, sandbox or BareSandbox("test"), None, folder=folder)


def play(session: Session) -> tuple[Any, list[Event]]:
    events = list(session.run())
    result = session.result()
    session.close()
    return result, events


def lines(session: Session, kind: str) -> list[dict[str, Any]]:
    from ml_intern.journal.journal import Journal

    journal = Journal(session.folder / "journal.sqlite")
    found = [entry.payload for entry in journal.entries(kind)]
    journal.close()
    return found


def told(events: Sequence[Event], kind: str) -> list[Any]:
    return [event for event in events if event.kind == kind]


def of_json(result: Any) -> Any:
    return json.loads(result.answer)
