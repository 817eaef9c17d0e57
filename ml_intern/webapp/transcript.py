"""A session as the items of a page: each event makes or changes one, and each knows its version."""

from __future__ import annotations

import itertools
import re
import threading
from dataclasses import dataclass

from ml_intern.cli.board import show_research, shows_research
from ml_intern.events import (
    BrainAnswered,
    CellFinished,
    CellOutput,
    CellStarted,
    Event,
    PersonSaid,
    SessionFinished,
    SessionStarted,
    ToolFinished,
    ToolProgress,
    ToolStarted,
    TurnFinished,
)
from ml_intern.webapp.lines import line, lines_of, plain
from ml_intern.webapp.markup import markdown
from ml_intern.webapp.steps import OUTPUT_CHARS, Call, Step, step_html

_EPOCHS = itertools.count(1)
_CODE = re.compile(r"```.*?(?:```|\Z)|<(cell|code)>.*?(?:</\1>|\Z)", re.S)
_ENDS = {
    "failed": "The session failed.",
    "limit": "A limit was reached. Raise it and go on.",
    "denied": "Something that was needed was denied.",
    "no_brain": "No model answered.",
    "interrupted": "Stopped. Go on when you like.",
}


@dataclass
class Item:
    """One piece of the page.

    Attributes:
        id: Where it stands; the same item is drawn again in its place.
        version: Grows with each change of any item of the session.
        html: Safe to be put into the page.
    """

    id: str
    version: int
    html: str


class Transcript:
    """Folds the events of a session; may be read from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Begin anew: turns were taken back."""
        with self._lock:
            self.epoch = next(_EPOCHS)
            self.taken = 0
            self.version = 0
            self.step = 0
            self.tokens = [0, 0]
            self._items: dict[str, Item] = {}
            self._turn = 0
            self._current: Step | None = None
            self._answer = ""

    def take(self, events: list[Event], after: int) -> None:
        """Fold events in that come after the ones with a lower number; those that are known are left out."""
        with self._lock:
            for event in events[max(0, self.taken - after) :]:
                self._fold(event)
                self.taken += 1

    def since(self, version: int) -> list[Item]:
        """The items that changed after a version, in their order on the page."""
        with self._lock:
            return [item for item in self._items.values() if item.version > version]

    def _fold(self, event: Event) -> None:
        if shows_research(event):
            self._research(event)
            return
        match event:
            case SessionStarted():
                self._began(event)
            case PersonSaid():
                self._say(event.text)
            case BrainAnswered():
                self._answered(event)
            case CellStarted() | CellOutput() | CellFinished():
                self._cell(event)
            case ToolStarted() | ToolProgress() | ToolFinished():
                self._call(event)
            case TurnFinished():
                self._end(event.answer)
            case SessionFinished():
                self._over(event)
            case _:
                for kind, markup in lines_of(event):
                    self._put(kind or f"line-{self.taken}", markup)

    def _began(self, event: SessionStarted) -> None:
        """The prompt stands above what was told while the session was made."""
        if self._turn:
            return
        before, self._items = self._items, {}
        self._say(event.prompt)
        self._put("head", line(f"{event.model} · {event.sandbox} sandbox: {event.isolation}", "quiet"))
        for item in before.values():
            self._put(item.id, item.html)
        if before:
            self.epoch = next(_EPOCHS)  # a page that has drawn those already has them in another order

    def _say(self, words: str) -> None:
        self._turn += 1
        self._current = None
        self._put(f"said-{self._turn}", f'<div class="mi-said">{plain(words)}</div>')

    def _answered(self, event: BrainAnswered) -> None:
        self.step = event.step
        self.tokens = [self.tokens[0] + event.input_tokens, self.tokens[1] + event.output_tokens]
        step = self._step(event.step)
        step.words = _CODE.sub("", event.text).strip()
        if event.output_tokens:
            step.tokens = f"{event.input_tokens + event.output_tokens:,} tokens"
        self._draw(step)

    def _cell(self, event: CellStarted | CellOutput | CellFinished) -> None:
        step = self._step(event.step)
        match event:
            case CellStarted():
                step.code, step.output, step.ok = event.code, "", None
            case CellOutput():
                step.output = (step.output + event.text)[-4 * OUTPUT_CHARS :]
            case CellFinished():
                step.ok, step.seconds, step.output = event.ok, event.seconds, event.observation
        self._draw(step)

    def _call(self, event: ToolStarted | ToolProgress | ToolFinished) -> None:
        step = self._current or self._step(self.step)
        match event:
            case ToolStarted():
                step.calls[event.call] = Call(event.tool, event.arguments)
            case ToolProgress() if call := step.calls.get(event.call):
                call.progress, call.fraction = event.message, event.fraction
            case ToolFinished():
                call = step.calls.setdefault(event.call, Call(event.tool, {}))
                call.ok, call.summary, call.seconds = event.ok, event.summary, event.seconds
        self._draw(step)

    def _research(self, event: Event) -> None:
        if isinstance(event, BrainAnswered):
            self.tokens = [self.tokens[0] + event.input_tokens, self.tokens[1] + event.output_tokens]
        if line := show_research(event):
            step = self._current or self._step(self.step)
            step.research = [*step.research, line][-200:]
            self._draw(step)

    def _step(self, number: int) -> Step:
        if self._current is None or self._current.number != number:
            self._current = Step(number)
        return self._current

    def _draw(self, step: Step) -> None:
        self._put(f"step-{self._turn}-{step.number}", step_html(step, f"{self._turn}-{step.number}"))

    def _end(self, answer: str) -> None:
        self._answer, self._current = answer, None
        self._put(f"answer-{self._turn}", f'<div class="mi-answer">{markdown(answer)}</div>')

    def _over(self, event: SessionFinished) -> None:
        if event.status == "done":
            if event.answer and event.answer != self._answer:
                self._end(event.answer)
            return
        told = _ENDS.get(event.status, f"The session ended: {event.status}.")
        self._put(f"line-{self.taken}", line(told, "bad" if event.status != "interrupted" else "quiet"))
        if event.answer and event.answer != self._answer:
            self._end(event.answer)

    def _put(self, name: str, markup: str) -> None:
        self.version += 1
        self._items[name] = Item(name, self.version, markup)
