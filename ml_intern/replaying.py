"""A session once more, without a brain: recorded answers in a fresh session, tools recorded or live."""

from __future__ import annotations

import os
import sqlite3
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.brains.base import Brain, Ending, answer
from ml_intern.errors import InternError
from ml_intern.events import CellFinished, Event, Notice
from ml_intern.journal import Journal
from ml_intern.recorded import Answered, Recorded
from ml_intern.resuming import Damaged, read_card, settings_of
from ml_intern.sandbox.choose import choose_sandbox
from ml_intern.secrets import Secrets
from ml_intern.session import Session

if TYPE_CHECKING:
    from ml_intern.router import Approver


class RecordedBrain(Brain):
    """Says what another brain said, in order."""

    language_model = False
    context_tokens = 100_000_000  # nothing is summarised: nobody reads the prompt

    def __init__(self, label: str, answers: deque[Answered]) -> None:
        super().__init__()
        self.label = f"replay of {label}"
        self._answers = answers

    def generate(self, messages: list[Any], **_: Any) -> Any:
        """The next recorded answer.

        Raises:
            InternError: There is none.
        """
        if not self._answers:
            raise InternError("The record ends here: the session did not come to its end.")
        said = self._answers.popleft()
        return answer(said.text, Ending(said.finish), 0, 0)


class Replay(Session):
    """A fresh session that plays a recorded one and says where it differs."""

    was: Recorded
    old: Path
    differing: list[int]

    @classmethod
    def of(cls, folder: Path, live: bool, approver: Approver | None, **given: Any) -> Replay:
        """A replay of the session in a folder.

        Args:
            folder: The session's; it is only read.
            live: Tools really run, through the gate; else each call has the result that it had.
            approver: Answers the gate's questions.
            **given: Settings that shall be others than they were.
        """
        folder, card = folder.absolute(), read_card(folder)
        try:
            journal = Journal(folder / "journal.sqlite")
            was = Recorded.of(journal.entries())
            journal.close()
        except (sqlite3.DatabaseError, ValueError) as error:
            raise Damaged.of(folder, error) from None
        settings, _ = settings_of(folder, card, {**given, "max_steps": max(1, len(was.answers))})
        settings = settings.model_copy(update={"workspace": None})
        secrets = Secrets(os.environ, Path.cwd())
        sandbox = choose_sandbox(settings.sandbox, trusted=False, settings=settings, env=secrets.env)
        brain = RecordedBrain(str(card.get("model", "")), was.answers)
        session = cls(settings, card["prompt"], brain, sandbox, approver, secrets)
        session.was, session.old, session.differing = was, folder, []
        if not live:
            session.router.recorded = Recorded(calls=was.calls, session=folder.name)
            session.router.rebuilding = True
        return session

    def emit(self, event: Event) -> None:
        """Compare what a cell told with what it told then."""
        super().emit(event)
        if isinstance(event, CellFinished) and not event.source and not self._same(event):
            self.differing.append(event.step)
            super().emit(Notice("warning", f"Step {event.step} told something else than it did then."))

    def brain_of(self, name: str) -> Brain | None:
        """What a sub-agent's brain said then."""
        then = self.was.research.get(name)
        return RecordedBrain(self.brain.label, then.known.answers) if then else None

    def _same(self, event: CellFinished) -> bool:
        ran = self.was.cells.get(event.step)
        then = ran.observation.replace(str(self.old), str(self.folder)) if ran else ""
        return ran is None or then.replace(self.old.name, self.id) == event.observation

    def _finish(self, text: str, error: InternError | None) -> None:
        steps = ", ".join(map(str, self.differing))
        told = f"The replay differs in steps {steps}." if steps else "The replay told the same in every step."
        super().emit(Notice("info", told))
        super()._finish(text, error)
