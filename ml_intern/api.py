"""The Python API: `MLIntern(...).run(prompt)`, in scripts and in notebooks."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.errors import InternError, UsageError
from ml_intern.events import ApprovalNeeded, Event
from ml_intern.settings import Settings

if TYPE_CHECKING:
    from ml_intern.agent.inbox import What
    from ml_intern.hosting import Hosted
    from ml_intern.result import RunResult
    from ml_intern.router.approval import Answer, Answers, Approver
    from ml_intern.session.session import Session
    from ml_intern.session.undoing import Undone


class MLIntern:
    """The intern.

    In a notebook a run shows itself below its cell, asks there, and stays for the next words: `tell` goes on
    with its variables, and interrupting the cell ends it in order. `close` puts it away, and so do the next
    `run` and the end of the kernel. In a script a run is quiet and is put away once it has ended.

    Args:
        model: ``SCHEME:NAME`` of the brain; nothing: Inference Providers with a token, else the playbooks.
        approver: Answers the gate's questions; without one `run` answers them no, and `stream` leaves them to
            `answer`. One that raises has said no.
        answer_within_s: How long a question waits for its answer; nothing: an approver may take its time, and
            a question of `stream` has to be answered before the next event is taken.
        show: Whether what is done is shown: below the cell in a notebook, else as lines of text; nothing: in
            a notebook only.
        **settings: Any field of `Settings`.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        approver: Approver | None = None,
        answer_within_s: float | None = None,
        show: bool | None = None,
        **settings: Any,
    ) -> None:
        self._given = {"model": model, **settings}
        self.settings = Settings.load(**self._given)
        self.approver = approver
        self.answer_within_s = answer_within_s
        self.show = show
        self._answers: Answers | None = None
        self._session: Session | None = None
        self._folder: Path | None = None
        self._hosted: Hosted | None = None
        self._leave = weakref.finalize(self, _nothing)
        self._open: dict[str, ApprovalNeeded] = {}

    def run(self, prompt: str) -> RunResult:
        """Do what the sentence says and answer with what came of it."""
        if self._below_the_cell:
            return self._turn(self._host(None), prompt)
        return self._follow(self._events(prompt, self._approver()))

    def tell(self, text: str) -> RunResult:
        """Say something more to the session of the last run, and answer with what came of it.

        The session stays for further words, with the variables of its cells, until `close`. Before any run
        the words are its prompt.
        """
        return self._turn(self._host(self._folder), text)

    def resume(self, session: str | None = None, say: str | None = None) -> RunResult:
        """Go on with a session that was killed, stopped or met a limit; or, with a word, with any.

        Args:
            session: An index, a unique prefix of the id or a path; nothing: the newest unfinished one, and
                with `say` the newest.
            say: What its brain shall know; after an answer it is the next task.
        """
        from ml_intern.agent.inbox import Inbox
        from ml_intern.cli.sessions import find_session, find_unfinished
        from ml_intern.session.session import Session

        card = (find_unfinished if say is None else find_session)(self.settings.state, session)
        if self._below_the_cell:
            return self._turn(self._host(card.folder), say)
        if self._hosted is not None and self._hosted.folder == card.folder:
            self.close()
        if say is not None:
            Inbox(card.folder).say(say)
        return self._follow(self._of(Session.resume(card.folder, self._approver(), **self._given)))

    def close(self) -> None:
        """Put the session away that waits for more words; jobs run on. `tell` and `resume` go on with it."""
        self._leave()
        self._hosted = None

    def __enter__(self) -> MLIntern:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stream(self, prompt: str) -> Iterator[Event]:
        """The same as `run`, event by event; afterwards `last` holds the result.

        Without an approver, a question arrives as an `ApprovalNeeded`, and ``answer(event.call, …)`` answers
        it: before the next event is taken, else it is a no. With ``answer_within_s`` the events go on, and
        the answer may come from another thread until the time is over.
        """
        if self.approver is not None:
            yield from self._events(prompt, self._approver())
            return
        from ml_intern.router.approval import Answers

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
        from ml_intern.session.resuming import read_card
        from ml_intern.session.undoing import undo

        card = find_session(self.settings.state, session)
        if self._hosted is not None and self._hosted.folder == card.folder:
            return self._hosted.undo()
        return undo(card.folder, Path(read_card(card.folder)["workspace"]))

    def _running(self) -> Session:
        session = self._session or (self._hosted.session if self._hosted else None)
        if session is None:
            raise UsageError(
                "No session runs.", "Call it from another thread while `run` or `stream` goes on."
            )
        return session

    def answer(self, call: str, answer: Answer | bool) -> None:
        """Answer a question of the running `stream`.

        Args:
            call: The event's ``call``.
            answer: Yes or no, or an `Answer` with a reason, changed arguments, or "always".

        Raises:
            UsageError: No such question is open.
        """
        from ml_intern.router.approval import Answer

        if self._answers is None or self._open.pop(call, None) is None:
            raise UsageError(f"No question about {call!r} is open.", "Answer the ApprovalNeeded of a stream.")
        self._answers.give(call, Answer(answer) if isinstance(answer, bool) else answer)

    def _decline(self, question: ApprovalNeeded) -> None:
        from ml_intern.router.approval import headless

        if question.call in self._open:
            self.answer(question.call, headless(question))

    def _approver(self) -> Approver | None:
        if self.approver is None or self.answer_within_s is None:
            return self.approver
        from ml_intern.router.approval import within

        return within(self.approver, self.answer_within_s)

    @property
    def _below_the_cell(self) -> bool:
        from ml_intern.notebook.kernel import in_notebook

        return self.show is not False and in_notebook()

    def _follow(self, events: Iterator[Event]) -> RunResult:
        """Take a run to its end, with a line for what happens where that was asked for."""
        if self.show:
            from ml_intern.cli.plain import PlainView

            view = PlainView(print)
            for event in events:
                view.show(event)
        else:
            for _ in events:
                pass
        return self.last

    def _host(self, folder: Path | None) -> Hosted:
        """The session that stays: the one of that folder, else a new one in its place."""
        from ml_intern.hosting import Hosted
        from ml_intern.notebook.kernel import person_is_there

        if self._hosted is not None and folder is not None and self._hosted.folder == folder:
            return self._hosted
        self.close()
        alone = self.approver is None and not (self._below_the_cell and person_is_there())
        self._hosted = Hosted(self._given, folder, alone=alone)
        self._leave = weakref.finalize(self, self._hosted.close)
        return self._hosted

    def _turn(self, hosted: Hosted, words: str | None) -> RunResult:
        """Say something to the session that stays, or let it go on, and wait for its answer."""
        from ml_intern.notebook.watching import watch

        result = watch(hosted, words, self._approver(), self._below_the_cell)
        if result is None:
            raise InternError(
                "The session ended without a result.", "ml-intern sessions tells how it stands."
            )
        self.last, self._folder = result, hosted.folder
        return result

    def _events(self, prompt: str, approver: Approver | None) -> Iterator[Event]:
        from ml_intern.session.session import Session

        yield from self._of(Session.create(self.settings, prompt, approver))

    def _of(self, session: Session) -> Iterator[Event]:
        self._session = session
        try:
            yield from session.run()
            self.last, self._folder = session.result(), session.folder
        finally:
            self._session = None
            session.close()


def _nothing() -> None:
    """What is to be put away before there is any session."""
