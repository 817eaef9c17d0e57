"""One session that runs in this process, for faces that come, look, leave and come back.

A face asks for the events after the last one that it has seen; it may be closed and opened again at any time.
A session that has ended, however it ended, goes on with the next words that it is told.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ml_intern.agent.inbox import Inbox, What
from ml_intern.errors import InternError, UsageError
from ml_intern.events import (
    ApprovalAnswered,
    ApprovalNeeded,
    Event,
    Notice,
    PersonSaid,
    SessionFinished,
    TurnFinished,
)
from ml_intern.hosting.past import past_events
from ml_intern.hosting.story import Story
from ml_intern.router.approval import Answer, Answers
from ml_intern.session.lock import SessionLock

if TYPE_CHECKING:
    from ml_intern.result import RunResult
    from ml_intern.session.session import Session
    from ml_intern.session.undoing import Undone

State = Literal["new", "working", "waiting", "over"]
"""new: nothing was said yet; waiting: it has answered and keeps its kernel; over: no process works on it."""

LEAVE_S = 90.0
"""How long the end of a session may take: it waits for calls that still run, and puts its things away."""


class Hosted:
    """A session, and what its faces need of it. Every method may be called from any thread.

    Args:
        settings: What a new session gets, and what one that goes on shall have otherwise than it was.
        folder: A session that is there already; nothing: the first words make one.
        alone: Nobody is there to answer: what the gate would ask about is denied.

    Attributes:
        given: The settings; changed ones hold from the next start of the session's process on: see `rest`.
        folder: The session's; None while there is none.
        edition: Counts undoings. After one the numbers of events begin anew: draw them all again.
    """

    def __init__(
        self, settings: Mapping[str, Any], folder: Path | None = None, *, alone: bool = False
    ) -> None:
        self.given = dict(settings)
        self.folder = folder.absolute() if folder else None
        self.edition = 0
        self._story = Story(past_events(folder) if folder else ())
        self.alone = alone
        self.last: RunResult | None = None
        """What came of the session that was there last, once it is over."""
        self._session: Session | None = None
        self._thread: threading.Thread | None = None
        self._answers = Answers()
        self._asked: dict[str, ApprovalNeeded] = {}
        self._said: set[str] = set()
        """What was told and not heard yet: until then it does not wait, whatever it did before."""
        self._status = ""
        self._waiting = self._stopping = self._deciding = self._closed = False
        self._news = threading.Condition()
        self._turn = threading.RLock()
        """Held while the session begins or ends: two faces that speak at once speak to one session."""

    @property
    def id(self) -> str:
        """The session's id; empty while there is none."""
        return self.folder.name if self.folder else ""

    @property
    def state(self) -> State:
        """What it does at this moment."""
        with self._news:
            if self._works():
                return "working"
            if self._session is not None:
                return "waiting"
            return "over" if self.folder else "new"

    def _works(self) -> bool:
        if self._session is None:
            return self._deciding
        return not self._waiting or bool(self._said)

    @property
    def works(self) -> bool:
        """Something is done that can be stopped. A session whose end was told works no more, though its state
        is ``working`` until its things are put away."""
        with self._news:
            ends = self._session is not None and bool(self._status) and not self._said
            return self._works() and not ends

    @property
    def session(self) -> Session | None:
        """The live session, where a process works on it: its services tell jobs, budget, experiments."""
        return self._session

    # What a person says

    def tell(self, text: str) -> None:
        """Say something: the first prompt, a word to a session that works, or the next turn.

        Raises:
            UsageError: The words, or a setting, are not understood.
            NoBrain: The brain cannot be reached.
            SessionBusy: Another process runs the session.
        """
        with self._turn:
            self._ready()
            if self.folder is None:
                self._begin(text)
                return
            if self._session is None:
                SessionLock(self.folder).release()  # whoever holds it would hear what is refused here
            inbox = Inbox(self.folder)
            with self._news:  # it is not heard before it is known
                said = inbox.say(text)
                self._said.add(said)
            try:
                self.go_on()
            except BaseException:
                inbox.take_back(said)
                with self._news:
                    self._said.discard(said)
                    self._news.notify_all()
                raise

    def go_on(self) -> None:
        """Go on with a session that was killed, stopped or met a limit; one that works is left alone.

        Raises:
            UsageError: There is none, or it cannot go on with these settings.
            SessionBusy: Another process runs it.
        """
        from ml_intern.session.session import Session

        with self._turn:
            self._ready()
            if self._session is not None:
                return
            if self.folder is None:
                raise UsageError("There is no session to go on with.", "Begin one: say what is to be done.")
            answers = Answers()
            self._run(Session.resume(self.folder, self._approver(answers), **self.given), answers)

    def _ready(self) -> None:
        """Whoever speaks to a session that is ending speaks to the one that goes on with it."""
        if self._closed:
            raise UsageError("This session was closed.", "Open it again.")
        if self._session is not None and (self._stopping or self._status):
            self._wait_for_end()

    def _begin(self, prompt: str) -> None:
        from ml_intern.session.session import Session
        from ml_intern.settings import Settings

        answers = Answers()
        session = Session.create(Settings.load(**self.given), prompt, self._approver(answers))
        self.folder = session.folder
        self._run(session, answers)

    def _approver(self, answers: Answers) -> Answers | None:
        return None if self.alone else answers

    def _run(self, session: Session, answers: Answers) -> None:
        session.stays = True
        with self._news:
            self._session, self._answers, self._status = session, answers, ""
            self._waiting = self._stopping = self._deciding = False
        self._thread = threading.Thread(
            target=self._work, args=(session, answers), name="hosted", daemon=True
        )
        self._thread.start()

    def _work(self, session: Session, answers: Answers) -> None:
        try:
            for event in session.run():
                self._take(event)
        finally:
            try:
                answers.close()
                self.last = session.result()
            finally:
                try:
                    session.close()
                finally:
                    self._end()

    def _end(self) -> None:
        with self._news:
            self._session, self._waiting = None, False
            self._asked.clear()
            self._deciding = bool(self._said)
            self._news.notify_all()
        self._hear_late()

    def _hear_late(self) -> None:
        """Words that came while a session ended well begin the next turn; else they wait for the person."""
        with self._turn:
            if self._session is not None:
                return
            well = self._status in ("done", "denied") and not self._stopping and not self._closed
            try:
                if well and self.folder is not None and Inbox(self.folder).messages():
                    self.go_on()
            except (InternError, OSError) as error:
                self._take(Notice("error", str(error)))
            with self._news:
                self._deciding = False
                if self._session is None:
                    self._said.clear()
                self._news.notify_all()

    # What happens

    def _take(self, event: Event) -> None:
        with self._news:
            match event:
                case ApprovalNeeded():
                    self._asked[event.call] = event
                case ApprovalAnswered():
                    self._asked.pop(event.call, None)
                case TurnFinished():
                    self._waiting = True
                case PersonSaid():
                    self._waiting = False
                    self._said.difference_update(event.ids)
                case SessionFinished():
                    self._status = event.status
            self._story.add(event)
            self._news.notify_all()

    def events(self, after: int = 0) -> list[Event]:
        """The events from a number on; the first has the number 0."""
        with self._news:
            return self._story.since(after)

    def wait(self, after: int, timeout_s: float | None = None) -> list[Event]:
        """The same, once there are any, the state is not ``working`` any more, or the time is over."""
        with self._news:
            self._news.wait_for(lambda: len(self._story) > after or not self._works(), timeout_s)
            return self._story.since(after)

    def wait_idle(self, timeout_s: float | None = None) -> bool:
        """Wait until nothing is done: it has answered or is over. Whether it came to that in time."""
        with self._news:
            return self._news.wait_for(lambda: not self._works(), timeout_s)

    @property
    def questions(self) -> list[ApprovalNeeded]:
        """What the gate asks at this moment."""
        with self._news:
            return list(self._asked.values())

    def answer(self, call: str, answer: Answer | bool) -> None:
        """Answer a question; of several faces the first one counts.

        Raises:
            UsageError: It is not open any more: somebody has answered it, or the run has ended.
        """
        with self._news:
            if self._asked.pop(call, None) is None:
                raise UsageError(
                    "That question is not open any more.", "It was answered, or the run has ended."
                )
            self._answers.give(call, Answer(answer) if isinstance(answer, bool) else answer)

    # What ends

    def stop(self, what: What = "run") -> bool:
        """Stop the cell, the step or the run; after a run was stopped the next words go on with it."""
        with self._news:
            session = self._session
            if session is None or not self.works:
                return False
            self._stopping = self._stopping or what == "run"
        return session.stop(what)

    def result(self) -> RunResult | None:
        """What has come of it so far; None before there is anything."""
        session = self._session
        return self.last if session is None else session.result()

    def undo(self) -> Undone:
        """Take the last turn back. A session that works is not undone: stop it first.

        Raises:
            UsageError: It works, or there is nothing to undo.
            SessionBusy: Another process runs it.
        """
        from ml_intern.session.resuming import read_card
        from ml_intern.session.undoing import undo

        with self._turn:
            self._ready()
            if self.state == "working":
                raise UsageError("The session works.", "Stop it first.")
            if self.folder is None:
                raise UsageError("There is nothing to undo yet.")
            self.rest()
            done = undo(self.folder, Path(read_card(self.folder)["workspace"]))
            with self._news:
                self._story = Story(past_events(self.folder))
                self.edition += 1
                self._news.notify_all()
            return done

    def rest(self) -> None:
        """End the process of a session that waits; the next words start it again, with `given` as it is."""
        with self._turn:
            if self.state == "waiting" and (session := self._session) is not None:
                session.leave()
                self._wait_for_end()

    def close(self) -> None:
        """Stop what is done and put everything away. Jobs run on; `Hosted` may open the folder again."""
        with self._turn:
            self._closed = True
            if (session := self._session) is not None:
                session.leave()
                if self.works:
                    session.stop("run")
                self._answers.close()
                self._wait_for_end()
        if (thread := self._thread) is not None and thread is not threading.current_thread():
            thread.join(LEAVE_S)

    def _wait_for_end(self) -> None:
        """Wait until the process of the session is gone; its thread may still want the turn, which is ours.

        Raises:
            UsageError: It does not come to its end.
        """
        with self._news:
            if not self._news.wait_for(lambda: self._session is None, LEAVE_S):
                raise UsageError("The session is still ending.", "Try again in a minute.")
