"""What a chat shows of its session: the live view's upper part, the person's words, answers as Markdown."""

from __future__ import annotations

from typing import TextIO, cast

from rich.console import Console, RenderableType
from rich.markdown import Markdown
from rich.padding import Padding
from rich.text import Text

from ml_intern.cli.board import Board, clean, shorten
from ml_intern.cli.chat.screen import Screen
from ml_intern.cli.live import LiveView
from ml_intern.cli.sessions import SessionCard
from ml_intern.events import (
    ContextCompacted,
    Event,
    PersonSaid,
    SessionFinished,
    SessionStarted,
    TurnFinished,
)
from ml_intern.secrets.masking import mask

MARK = "› "
SHOWN_TURNS, SHOWN_CHARS = 2, 300
"""Of what was said to a session that goes on, what is shown again."""


class ChatView:
    """Prints above the line.

    Args:
        screen: Where.
        verbose: Whole cells and outputs.
    """

    def __init__(self, screen: Screen, verbose: int = 0) -> None:
        self._screen = screen
        self._verbose = verbose
        self._echoed: list[str] = []
        self._live = self._fresh()

    def _fresh(self) -> LiveView:
        # Its lower part would fight with the line for the last rows of the terminal: closed, only the upper
        # part is drawn.
        with self._screen.muted():
            live = LiveView(cast(TextIO, self._screen), self._verbose)
            live.close()
        return live

    @property
    def board(self) -> Board:
        """How the session stands, as its events told it."""
        return self._live.board

    @property
    def console(self) -> Console:
        """For tables and the like."""
        return self._live.console

    def begin(self) -> None:
        """Another session."""
        self._live = self._fresh()

    def show(self, event: Event) -> None:
        """Take one event of the session."""
        match event:
            case PersonSaid():
                self._said(event)
            case TurnFinished():
                self.board.step = max(self.board.step, event.step)
                self.answer(event.answer)
            case SessionFinished():
                self._over(event)
            case ContextCompacted():
                self.note(f"The context is shorter: {event.before:,} → {event.after:,} characters.")
            case _:
                self._live.show(event)

    def echo(self, text: str) -> None:
        """What the person has entered."""
        self._echoed.append(mask(text).strip())
        self.speak(text)

    def replay(self, event: Event) -> None:
        """Take an event of before: nothing of it is shown."""
        self.board.take(event)

    def recall(self, card: SessionCard, events: list[Event]) -> None:
        """Where a session stood: what was said last, and the last answer."""
        for event in events:
            if isinstance(event, SessionStarted):
                self._live.show(event)
        said = [event.text for event in events if isinstance(event, PersonSaid)]
        answers = [e.answer for e in events if isinstance(e, TurnFinished | SessionFinished) and e.answer]
        for text in [card.prompt, *said][-SHOWN_TURNS:]:
            self.speak(shorten(text, SHOWN_CHARS))
        if answers:
            self.answer(answers[-1])

    def answer(self, text: str) -> None:
        """The answer of a turn."""
        self.print(Padding(Markdown(clean(text)), (1, 0, 1, 2)))

    def note(self, text: str) -> None:
        """A word of the chat's own."""
        self.console.print(Text(clean(text), style="dim"), soft_wrap=True)

    def warn(self, text: str) -> None:
        """Something that did not go."""
        self.console.print(Text(clean(text), style="bold red"), soft_wrap=True)

    def print(self, piece: RenderableType) -> None:
        """Show something that rich can draw."""
        self.console.print(piece)

    def speak(self, text: str) -> None:
        """Words of the person."""
        lines = clean(mask(text)).rstrip().splitlines() or [""]
        shown = "\n".join([MARK + lines[0], *(f"  {line}" for line in lines[1:])])
        self.print(Text(shown, style="bold cyan"))

    def _said(self, event: PersonSaid) -> None:
        known = [text for text in self._echoed if text and text in event.text]
        self._echoed = [text for text in self._echoed if text not in known]
        if not known:  # said from elsewhere: another terminal, another face
            self.speak(event.text)
        elif not event.turn:
            self.note("  heard before its next answer")

    def _over(self, event: SessionFinished) -> None:
        self.board.calls.clear()
        self.board.research.clear()
        self.board.cell_runs = False
        if event.status not in ("done", "denied"):
            self.note(f"The session is over ({event.status}). What you say next goes on with it.")
