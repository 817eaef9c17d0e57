"""Questions of the gate in the chat: shown above, answered on the line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ml_intern.cli.approvals import choices
from ml_intern.cli.chat.question import draw
from ml_intern.errors import UsageError
from ml_intern.events import ApprovalNeeded
from ml_intern.router.approval import Answer

if TYPE_CHECKING:
    from ml_intern.cli.chat.talk import Chat
    from ml_intern.hosting import Hosted

WHY = "why? (the brain reads it) "
EDIT = 'changed arguments as JSON, such as {"private": true}: '


class Asking:
    """The question that is open, if there is one.

    Args:
        chat: Whose session asks.
    """

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._shown: ApprovalNeeded | None = None
        self.open: ApprovalNeeded | None = None
        """Set once it can be read; what was entered before is no answer."""
        self._prompt = ""

    def look(self, hosted: Hosted) -> None:
        """Show what is asked now; take away what is not asked any more."""
        asked = next(iter(hosted.questions), None)
        if asked is self._shown:
            return
        self._shown = asked
        if asked is None:
            self._over()
            return
        for piece in draw(asked, hosted):
            self._chat.view.print(piece)
        self._put(f"allow? [{'y/n/e' if asked.once else 'y/n/a/e'}] ", asked)

    def take(self, line: str) -> None:
        """What was entered while a question is open."""
        if (question := self.open) is None:
            return
        answer = self._understand(line.strip(), question)
        if answer is None:
            return
        self.open = None
        try:
            self._chat.hosted.answer(question.call, answer)
        except UsageError as error:
            self._chat.view.warn(str(error))
        self._over()

    def _understand(self, line: str, question: ApprovalNeeded) -> Answer | None:
        """The answer; None where more has to be said."""
        if self._prompt == WHY:
            return Answer(False, line)
        if self._prompt == EDIT:
            return self._edited(line, question)
        word, _, rest = line.partition(" ")
        match word.lower():
            case "y" | "yes" if not rest:
                return Answer(True)
            case "a" | "always" if not (question.once or rest):
                return Answer(True, always=True)
            case "n" | "no" if rest.strip():
                return Answer(False, rest.strip())
            case "n" | "no":
                self._put(WHY, question)
            case "e" | "edit" if rest.strip():
                return self._edited(rest, question)
            case "e" | "edit":
                self._put(EDIT, question)
            case _:
                for choice in choices(question):
                    self._chat.view.note(choice)
        return None

    def _edited(self, line: str, question: ApprovalNeeded) -> Answer | None:
        """Arguments as JSON, changed keys only; the tool checks them again, and the gate as well."""
        try:
            changed = json.loads(line)
        except json.JSONDecodeError as error:
            self._chat.view.warn(f"That is no JSON: {error}.")
        else:
            if isinstance(changed, dict) and changed.keys() <= question.arguments.keys():
                return Answer(True, arguments=changed)
            self._chat.view.warn(f"Write an object with some of: {', '.join(question.arguments)}.")
        self._put(f"allow? [{'y/n/e' if question.once else 'y/n/a/e'}] ", question)
        return None

    def _put(self, prompt: str, question: ApprovalNeeded) -> None:
        def begin() -> None:
            self.open, self._prompt = question, prompt

        self._chat.line.ask(prompt, begin)

    def _over(self) -> None:
        def end() -> None:
            self.open = None

        self._chat.screen.put(end)
        self._chat.line.asked()
