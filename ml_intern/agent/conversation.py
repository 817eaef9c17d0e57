"""What the person says to a run, and what of it the journal knows already: messages, and further turns.

A turn is a prompt and all that follows up to its answer. A message that comes during a turn is heard before
the brain is asked again; one that comes after the answer begins the next turn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ml_intern.agent.inbox import Inbox
from ml_intern.events import Event, PersonSaid
from ml_intern.journal.journal import Journal
from ml_intern.router.recorded import Recorded, Turn
from ml_intern.secrets.masking import mask

STOPPED_ANSWER = "The person stopped your answer before it was complete. Nothing of it was run."


class Conversation:
    """The person's side of a session.

    Args:
        inbox: Where messages wait.
        journal: Where they stand once they were heard.
        recorded: What an earlier process had heard.
        emit: Takes the events for the faces.
        allow: Told each text, as it may name paths that tools shall read.
    """

    def __init__(
        self,
        inbox: Inbox,
        journal: Journal,
        recorded: Recorded,
        emit: Callable[[Event], None] = lambda event: None,
        allow: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.inbox = inbox
        self._emit = emit
        self._allow = allow
        for texts in ([turn.prompt for turn in recorded.turns], *recorded.messages.values()):
            for text in texts:
                allow(text)
        self._journal = journal
        self._recorded = recorded

    def messages(self, step: int, live: bool) -> list[str]:
        """What the brain is told before it answers in a step.

        Args:
            step: The number of the step.
            live: The brain will be asked now; else its answer is recorded, and so is what it was told.
        """
        known = self._recorded.messages.pop(step, [])
        return known + self._new("message", step) if live else known

    def note(self, step: int, text: str) -> str:
        """Something that the brain is told as if the person had said it."""
        self._journal.append("message", {"step": step, "text": text, "ids": []}, durable=True)
        return text

    def next_turn(self, step: int) -> Turn | None:
        """The next turn, which begins with a step; None where the person has said nothing."""
        if self._recorded.turns:
            return self._recorded.turns.popleft()
        texts = self._new("turn", step)
        return Turn(step, "\n\n".join(texts), known=False) if texts else None

    def _new(self, kind: str, step: int) -> list[str]:
        waiting = self.inbox.messages(self._recorded.heard)
        if not waiting:
            return []
        texts = [mask(said.text) for said in waiting]
        line: dict[str, Any] = {
            "step": step,
            "text": "\n\n".join(texts),
            "ids": [said.id for said in waiting],
        }
        self._journal.append(kind, line, durable=True)
        self._allow("\n\n".join(texts))
        for said in waiting:
            self._recorded.heard.add(said.id)
            self.inbox.heard(said)
        self._emit(PersonSaid(line["text"], kind == "turn", [said.id for said in waiting]))
        return texts
