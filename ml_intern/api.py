"""The Python API: `MLIntern(...).run(prompt)`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ml_intern.errors import UsageError
from ml_intern.events import ApprovalNeeded, Event
from ml_intern.settings import Settings

if TYPE_CHECKING:
    from ml_intern.approval import Answer, Answers, Approver
    from ml_intern.result import RunResult
    from ml_intern.session import Session


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
        self._open: dict[str, ApprovalNeeded] = {}

    def run(self, prompt: str) -> RunResult:
        """Do what the sentence says and answer with what came of it."""
        for _ in self._events(prompt, self._approver()):
            pass
        return self.last

    def resume(self, session: str | None = None) -> RunResult:
        """Go on with a session that was killed, stopped or met a limit.

        Args:
            session: An index, a unique prefix of the id or a path; nothing: the newest unfinished one.
        """
        from ml_intern.cli.sessions import find_unfinished
        from ml_intern.session import Session

        card = find_unfinished(self.settings.state, session)
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
        try:
            yield from session.run()
            self.last = session.result()
        finally:
            session.close()
