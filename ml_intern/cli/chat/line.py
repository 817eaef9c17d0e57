"""The line that the person writes on, with its keys, and the bar below it."""

from __future__ import annotations

import asyncio
import signal
import sys
import termios
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Protocol

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app, get_app_session
from prompt_toolkit.completion import Completer
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import Condition, has_completions, has_focus, is_searching
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import History
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import create_output
from prompt_toolkit.styles import Style

from ml_intern.cli.chat.screen import Screen

REDRAW_S = 0.5
STYLE = Style.from_dict(
    {
        "prompt": "bold ansicyan",
        "question": "bold ansiyellow",
        "bottom-toolbar": "noreverse",
        "bar": "ansibrightblack",
        "bar.on": "ansicyan",
        "bar.off": "ansibrightblack",
        "bar.state": "bold ansicyan",
        "bar.wait": "bold ansigreen",
        "bar.ask": "bold ansiyellow",
        "bar.job": "bold",
        "bar.rule": "ansibrightblack",
        "completion-menu": "bg:ansibrightblack ansiwhite",
        "completion-menu.completion.current": "bg:ansicyan ansiblack",
        "completion-menu.meta.completion": "bg:ansibrightblack ansigray",
        "completion-menu.meta.completion.current": "bg:ansicyan ansiblack",
    }
)


class Hearer(Protocol):
    """What takes the person's words and keys. All of it returns at once."""

    def hear(self, text: str) -> None:
        """A line was entered."""

    def interrupt(self, empty: bool) -> bool:
        """Ctrl-C; whether the line shall be emptied."""

    def leave(self) -> None:
        """Ctrl-D on an empty line."""


class Line:
    """One prompt that stays while everything else happens.

    Args:
        hearer: Takes what is entered.
        screen: Shows what is above.
        completer: Completes words.
        history: Lines of before.
        bar: What stands below the line.
    """

    def __init__(
        self,
        hearer: Hearer,
        screen: Screen,
        completer: Completer,
        history: History,
        bar: Callable[[], StyleAndTextTuples],
    ) -> None:
        self._hearer = hearer
        self._screen = screen
        self._question = ""
        self._draft = ""
        self.session: PromptSession[str] = PromptSession(
            message=self._message,
            multiline=True,
            prompt_continuation=lambda width, number, wrapped: [("class:prompt", "… ".rjust(width))],
            completer=completer,
            complete_while_typing=Condition(self._completes),
            reserve_space_for_menu=6,
            history=history,
            key_bindings=self._keys(),
            bottom_toolbar=bar,
            refresh_interval=REDRAW_S,
            style=STYLE,
            input=_raw_while_printing(get_app_session().input),
            output=create_output(sys.stdout),
            erase_when_done=True,
        )

    async def run(self) -> None:
        """Until `end`, or until the terminal is gone."""
        with suppress(EOFError):
            await self.session.prompt_async(pre_run=self._begin, set_exception_handler=False)

    def end(self) -> None:
        """Take the line away; from any thread."""
        self._later(self._exit)

    def ask(self, prompt: str, question: Callable[[], None] = lambda: None) -> None:
        """Put a question in the place of the usual line; what stands on that is kept for later.

        What was typed before the question could be read is no answer: it is dropped, or stays in the draft.

        Args:
            prompt: What stands before the answer.
            question: Shows the question; called once all that came before it is shown.
        """

        def begin() -> None:
            question()
            _forget_typed()
            buffer = self.session.default_buffer
            if not self._question:
                self._draft = buffer.text
            self._question = prompt
            buffer.reset()

        self._screen.put(begin)

    def asked(self) -> None:
        """The question is over; the draft is back."""

        def over() -> None:
            if self._question:
                self._question = ""
                self.session.default_buffer.reset()
                self.session.default_buffer.insert_text(self._draft)

        self._screen.put(over)

    def put_back(self, text: str) -> None:
        """Words that could not be said stand on the line again, where nothing else was written meanwhile."""

        def put() -> None:
            buffer = self.session.default_buffer
            if not buffer.text and not self._question:
                buffer.insert_text(text)

        self._screen.put(put)

    def _begin(self) -> None:
        app = get_app()
        app.ttimeoutlen, app.timeoutlen = 0.1, 0.3  # Escape alone is Escape soon
        self._screen.enter()
        app.create_background_task(self._screen.pump())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            with suppress(ValueError, RuntimeError):
                loop.add_signal_handler(number, self._exit)

    def _exit(self) -> None:
        app = self.session.app
        if app.is_running and not app.is_done:
            app.exit(result="")

    def _later(self, work: Callable[[], None]) -> None:
        if (loop := self.session.app.loop) is not None:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(work)

    def _message(self) -> StyleAndTextTuples:
        return [("class:question", self._question)] if self._question else [("class:prompt", "› ")]

    def _completes(self) -> bool:
        text = self.session.default_buffer.document.text_before_cursor
        word = text.split()[-1] if text.split() and not text[-1].isspace() else ""
        return not self._question and (text.startswith("/") or word.startswith("@"))

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()
        on_line = has_focus(DEFAULT_BUFFER) & ~is_searching

        @keys.add("enter", filter=on_line)
        def _(event: KeyPressEvent) -> None:
            self._entered(event)

        @keys.add("escape", "enter", filter=on_line)
        def _(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        @keys.add("escape", filter=has_completions)
        def _(event: KeyPressEvent) -> None:
            event.current_buffer.complete_state = None

        @keys.add("c-c")
        @keys.add("<sigint>")
        def _(event: KeyPressEvent) -> None:
            buffer = self.session.default_buffer
            if self._hearer.interrupt(not buffer.text):
                buffer.reset()

        @keys.add("c-d", filter=on_line & Condition(lambda: not self.session.default_buffer.text))
        def _(event: KeyPressEvent) -> None:
            self._hearer.leave()

        return keys

    def _entered(self, event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.complete_state and buffer.complete_state.current_completion:
            buffer.complete_state = None
            return
        before = buffer.document.text_before_cursor
        if before.endswith("\\") and not self._question:
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
            return
        text = buffer.text
        buffer.reset(append_to_history=bool(text.strip()) and not self._question)
        self._hearer.hear(text)


def _raw_while_printing(keys: Input) -> Input:
    """Keys that are read as keys, also those pressed while something is printed above the line.

    prompt_toolkit gives the terminal its usual mode back for that long, since a program might be run then: a
    Ctrl-D of that moment would be lost, a Ctrl-C reach other processes, too, and letters show twice.
    """
    keys.cooked_mode = nullcontext  # type: ignore[method-assign]
    return keys


def _forget_typed() -> None:
    with suppress(termios.error, OSError, ValueError):  # no terminal: closed meanwhile
        termios.tcflush(sys.__stdin__.fileno() if sys.__stdin__ else 0, termios.TCIFLUSH)
