"""The Python API: `MLIntern(...).run(prompt)`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.errors import UsageError
from ml_intern.events import ApprovalNeeded, Event
from ml_intern.settings import Settings

if TYPE_CHECKING:
    from ml_intern.approval import Answer, Answers, Approver
    from ml_intern.inbox import What
    from ml_intern.result import RunResult
    from ml_intern.session import Session
    from ml_intern.undoing import Undone


class MLIntern:
    """The intern.

    Args:
        model: ``SCHEME:NAME`` of the brain; nothing: Inference Providers with a token, else the playbooks.
        approver: Answers the gate's questions; without one `run` answers them no, and `stream` leaves them to
            `answer`. One that raises has said no.
        answer_within_s: How long a question waits for its answer; nothing: an approver may take its time, and
            a question of `stream` has to be answered before the next event is taken.
        **settings: Any field of `Settings`.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        approver: Approver | None = None,
        answer_within_s: float | None = None,
        **settings: Any,
    ) -> None:
        self._given = {"model": model, **settings}
        self.settings = Settings.load(**self._given)
        self.approver = approver
        self.answer_within_s = answer_within_s
        self._answers: Answers | None = None
        self._session: Session | None = None
        self._open: dict[str, ApprovalNeeded] = {}

    def run(self, prompt: str) -> RunResult:
        """Do what the sentence says and answer with what came of it."""
        for _ in self._events(prompt, self._approver()):
            pass
        return self.last

    def resume(self, session: str | None = None, say: str | None = None) -> RunResult:
        """Go on with a session that was killed, stopped or met a limit; or, with a word, with any.

        Args:
            session: An index, a unique prefix of the id or a path; nothing: the newest unfinished one, and
                with `say` the newest.
            say: What its brain shall know; after an answer it is the next task.
        """
        from ml_intern.cli.sessions import find_session, find_unfinished
        from ml_intern.inbox import Inbox
        from ml_intern.session import Session

        card = (find_unfinished if say is None else find_session)(self.settings.state, session)
        if say is not None:
            Inbox(card.folder).say(say)
        for _ in self._of(Session.resume(card.folder, self._approver(), **self._given)):
            pass
        return self.last

    def stream(self, prompt: str) -> Iterator[Event]:
        """The same as `run`, event by event; afterwards `last` holds the result.

        Without an approver, a question arrives as an `ApprovalNeeded`, and ``answer(event.call, …)`` answers
        it: before the next event is taken, else it is a no. With ``answer_within_s`` the events go on, and
        the answer may come from another thread until the time is over.
        """
        if self.approver is not None:
            yield from self._events(prompt, self._approver())
            return
        from ml_intern.approval import Answers

        self._open.clear()
        answers = self._answers = Answers(self.answer_within_s)
        try:
            for event in self._events(prompt, answers):
                if isinstance(event, ApprovalNeeded):
                    self._open[event.call] = event
                yield event
                if self.answer_within_s is None and isinstance(event, ApprovalNeeded):
                    self._decline(event)
        finally:
            self._answers = None
            answers.close()

    def say(self, text: str) -> None:
        """Tell the brain of the running session something, from another thread; see `Session.say`."""
        self._running().say(text)

    def stop(self, what: What = "run") -> bool:
        """Stop the cell, the step or the run of the running session; see `Session.stop`."""
        return self._running().stop(what)

    def undo(self, session: str | None = None) -> Undone:
        """Undo the last turn of a session that does not run; nothing: of the newest."""
        from ml_intern.cli.sessions import find_session
        from ml_intern.resuming import read_card
        from ml_intern.undoing import undo

        card = find_session(self.settings.state, session)
        return undo(card.folder, Path(read_card(card.folder)["workspace"]))

    def _running(self) -> Session:
        if self._session is None:
            raise UsageError(
                "No session runs.", "Call it from another thread while `run` or `stream` goes on."
            )
        return self._session

    def answer(self, call: str, answer: Answer | bool) -> None:
        """Answer a question of the running `stream`.

        Args:
            call: The event's ``call``.
            answer: Yes or no, or an `Answer` with a reason, changed arguments, or "always".

        Raises:
            UsageError: No such question is open.
        """
        from ml_intern.approval import Answer

        if self._answers is None or self._open.pop(call, None) is None:
            raise UsageError(f"No question about {call!r} is open.", "Answer the ApprovalNeeded of a stream.")
        self._answers.give(call, Answer(answer) if isinstance(answer, bool) else answer)

    def _decline(self, question: ApprovalNeeded) -> None:
        from ml_intern.approval import headless

        if question.call in self._open:
            self.answer(question.call, headless(question))

    def _approver(self) -> Approver | None:
        if self.approver is None or self.answer_within_s is None:
            return self.approver
        from ml_intern.approval import within

        return within(self.approver, self.answer_within_s)

    def _events(self, prompt: str, approver: Approver | None) -> Iterator[Event]:
        from ml_intern.session import Session

        yield from self._of(Session.create(self.settings, prompt, approver))

    def _of(self, session: Session) -> Iterator[Event]:
        self._session = session
        try:
            yield from session.run()
            self.last = session.result()
        finally:
            self._session = None
            session.close()
