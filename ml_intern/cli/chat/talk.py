"""The chat: hears what the person enters and follows the session, both apart from the terminal's loop."""

from __future__ import annotations

import os
import queue
import re
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prompt_toolkit.formatted_text import StyleAndTextTuples

from ml_intern.agent.inbox import What
from ml_intern.cli.chat.asking import Asking
from ml_intern.cli.chat.bar import bar
from ml_intern.cli.chat.completing import Words, plain_paths
from ml_intern.cli.chat.history import MaskedHistory
from ml_intern.cli.chat.jobs import look_at_jobs
from ml_intern.cli.chat.line import Line
from ml_intern.cli.chat.screen import Screen
from ml_intern.cli.chat.slash import Slash
from ml_intern.cli.chat.view import ChatView
from ml_intern.cli.sessions import SessionCard
from ml_intern.errors import InternError
from ml_intern.events import SessionFinished
from ml_intern.hosting import Hosted
from ml_intern.secrets.secrets import Secrets
from ml_intern.settings import Settings
from ml_intern.workspace.disk import DiskTrouble

if TYPE_CHECKING:
    from ml_intern.session.undoing import Undone

WAIT_S, LOOK_S = 0.3, 0.15
"""How long one look for news waits, and how long nothing is looked for where nothing is done."""
JOBS_S = 2.0
AGAIN_S = 3.0
"""A Ctrl-C so soon after another one, or before anything came of that, stops the whole run."""
COMMAND = re.compile(r"/([A-Za-z?]*)(?:\s+(.*))?$", re.S)
"""A path such as /data/x.csv is none."""


class Chat:
    """One person, one terminal, and one session at a time.

    Args:
        given: Settings of its sessions.
        state: The state folder.
        screen: Shows what is above the line.
        verbose: Whole cells and outputs.
        folder: A session that goes on.
    """

    def __init__(
        self, given: Mapping[str, Any], state: Path, screen: Screen, verbose: int, folder: Path | None
    ) -> None:
        self.given, self.state = dict(given), state
        self.screen, self.view = screen, ChatView(screen, verbose)
        self.hosted = Hosted(self.given, folder)
        self.code = 0
        self.over = threading.Event()
        self.anew = False
        """The settings changed: the next turn begins in a new process of the session."""
        self.project = Path.cwd()
        self.env = Secrets(os.environ, self.project).env  # what it finds is hidden from here on
        self._seen = 0
        self._follow_lock = threading.RLock()
        self._said: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._doing = ""
        self._stopped_at = (-1e9, -1)
        self._left_at = -1e9
        self._looked_at = 0.0
        self.slash = Slash(self)
        self.line = Line(self, screen, Words(self), MaskedHistory(state), self._bar)
        self.asking = Asking(self)

    # What the line tells; all of it in the loop of the terminal, which must not wait.

    def hear(self, text: str) -> None:
        """A line was entered: an answer, a command, or words."""
        if self.asking.open:
            self.asking.take(text)
        elif text.strip():
            if not COMMAND.match(text.strip()):  # a command is shown when its turn comes, before its answer
                self.view.echo(text)
            self._said.put(lambda: self._do(text.strip()))

    def interrupt(self, empty: bool) -> bool:
        """Ctrl-C: clears a line; on an empty one it stops what is done, or leaves at the second time."""
        if not empty:
            return True
        if self.hosted.works:
            threading.Thread(target=self.stop_more, name="chat-stop", daemon=True).start()
            return True
        if time.monotonic() - self._left_at < AGAIN_S:
            self.line.end()
        else:
            self._left_at = time.monotonic()
            self.view.note("Ctrl-C again, or Ctrl-D, leaves.")
        return True

    def leave(self) -> None:
        """Ctrl-D: leaves; of a session that works the second one."""
        if not self.hosted.works or time.monotonic() - self._left_at < AGAIN_S:
            self.line.end()
            return
        self._left_at = time.monotonic()
        self.view.note("It works. Ctrl-D again stops the run and leaves; it can be resumed.")

    def stop_more(self) -> None:
        """The cell or the answer that is being written; when that was asked already, the run."""
        when, step = self._stopped_at
        again = time.monotonic() - when < AGAIN_S or (when > 0 and step == self.view.board.step)
        self._stopped_at = (time.monotonic(), self.view.board.step)
        if again:
            self.stop("run")
        elif not self.stop("step"):
            self.view.note("Ctrl-C again stops the run.")

    def stop(self, what: What) -> bool:
        """Stop something; whether there was something to stop."""
        stopped = self.hosted.stop(what)
        if stopped:
            more = "" if what == "run" else " Ctrl-C again stops the run."
            self.view.note(f"Stopping the {what}.{more}")
        return stopped

    def _bar(self) -> StyleAndTextTuples:
        width = shutil.get_terminal_size().columns
        return bar(self.hosted, self.view.board, self._doing, bool(self.asking.open), width)

    # Two threads of its own: one does what was entered, the other one shows what happens.

    async def run(self, prompt: str, go_on: bool) -> None:
        """Until the person leaves.

        Args:
            prompt: The first words; nothing: the person will say them.
            go_on: The session goes on by itself.
        """
        if prompt:
            self.hear(prompt)
        elif go_on:
            self._said.put(lambda: self.slash.run("resume", "."))
        for name, work in (("words", self._work), ("news", self._follow)):
            threading.Thread(target=work, name=f"chat-{name}", daemon=True).start()
        try:
            await self.line.run()
        finally:
            self.over.set()
            self._said.put(None)

    def _work(self) -> None:
        while (work := self._said.get()) is not None and not self.over.is_set():
            try:
                work()
            except InternError as error:
                self.view.warn(str(error))
            except Exception as failure:  # noqa: BLE001 - the top of a thread: the chat goes on
                self._failed(failure)
            finally:
                self._doing = ""

    def _do(self, text: str) -> None:
        if command := COMMAND.match(text):
            self.view.speak(text)
            self.slash.run(command[1], (command[2] or "").strip())
        else:
            self.tell(text)

    def tell(self, text: str) -> None:
        """Words to the session."""
        self.renew()
        if self.hosted.state in ("new", "over"):
            self._doing = "the session starts"
        self._stopped_at = (-1e9, -1)
        try:
            self._to_session(lambda: self.hosted.tell(plain_paths(text, self.project)))
        except InternError:
            self.line.put_back(text)
            raise

    def go_on(self) -> None:
        """The session goes on where it was."""
        self._doing = "the session goes on"
        self._to_session(self.hosted.go_on)

    def _to_session(self, work: Callable[[], None]) -> None:
        self.code = 0
        try:
            work()
        except InternError as error:
            self.code = error.exit_code
            raise

    def renew(self) -> None:
        """Where the settings changed, a session that waits begins its next turn with the new ones."""
        if self.anew and self.hosted.state != "working":
            self._doing = "the session starts anew"
            self.hosted.rest()
            self.anew = False

    def doing(self, what: str) -> None:
        """Say in the bar what takes its time."""
        self._doing = what

    def change(self, name: str, value: Any, lasting: bool = False) -> None:
        """A setting for this session's next turns, and for later sessions if it is `lasting`."""
        if lasting:
            self.given[name] = value
        self.hosted.given[name] = value

    def settings(self) -> Settings:
        """Of the next session."""
        return Settings.load(**self.given)

    def yes(self) -> list[str]:
        """Effects that need no question."""
        session = self.hosted.session
        given = self.hosted.given.get("yes")
        if session is not None:
            return sorted(session.router.gate.yes)
        return sorted(given if given is not None else self._saved().get("yes") or self.settings().yes)

    def _saved(self) -> dict[str, Any]:
        """What the card of a session that no process works on keeps of its settings."""
        from ml_intern.session.resuming import read_card

        return dict(read_card(self.hosted.folder).get("settings") or {}) if self.hosted.folder else {}

    def undo(self) -> Undone:
        """Take the last turn back."""
        with self._follow_lock:
            done = self.hosted.undo()
            self._seen = len(self.hosted.events())
        return done

    def take(self, folder: Path | None) -> None:
        """Another session; jobs of the one before run on."""
        after = Hosted(self.given, folder)
        with self._follow_lock:
            before, self.hosted = self.hosted, after
            self.anew = False
            self.view.begin()
            self.seen_all()
        before.close()

    def recall(self, card: SessionCard) -> None:
        """Show where a session stood: its last prompts, and its last answer."""
        self.view.recall(card, self.hosted.events())

    def seen_all(self) -> None:
        """What is there already is known and need not be shown."""
        with self._follow_lock:
            known = self.hosted.events()
            for event in known:
                self.view.replay(event)
            self._seen = len(known)

    def show_news(self) -> None:
        """What has happened since the last look."""
        with self._follow_lock:
            for event in self.hosted.events(self._seen):
                self._seen += 1
                if isinstance(event, SessionFinished):
                    # Whoever has said no himself does not leave with an error for it.
                    self.code = 0 if event.status == "denied" else event.exit_code
                self.view.show(event)

    def _follow(self) -> None:
        while not self.over.is_set():
            try:
                self._news()
            except Exception as failure:  # noqa: BLE001 - the top of a thread: the chat goes on
                self._failed(failure)
                self.over.wait(1.0)

    def _news(self) -> None:
        hosted = self.hosted
        news = hosted.wait(self._seen, WAIT_S)
        with self._follow_lock:
            if hosted is not self.hosted:
                return
            self.show_news()
        self.asking.look(hosted)
        if hosted.session is None and time.monotonic() - self._looked_at > JOBS_S:
            self._looked_at = time.monotonic()
            look_at_jobs(hosted, self.view.board, self.state)
        if not news and hosted.state != "working":
            self.over.wait(LOOK_S)

    def _failed(self, failure: Exception) -> None:
        trouble = DiskTrouble.of(failure)
        told = f"This is a defect, please report it: {type(failure).__name__}: {failure}."
        self.view.warn(str(trouble or told))
