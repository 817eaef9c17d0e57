"""Questions of the gate, asked in a terminal."""

from __future__ import annotations

import json
import select
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from ml_intern.cli.board import clean
from ml_intern.cli.plain import View
from ml_intern.events import ApprovalNeeded

if TYPE_CHECKING:
    from ml_intern.router import Answer

CHOICES = "y yes · n [reason] no · a always for this tool in this session · e edit the arguments"
_POLL_S = 0.2


class Terminal:
    """Asks on stderr and reads from stdin; one question at a time.

    Args:
        view: Held still while a question is open.
        stopped: True once the person interrupts; an open question is then a no.
    """

    def __init__(self, view: View, stopped: Callable[[], bool]) -> None:
        self._view = view
        self._stopped = stopped
        self._lock = threading.Lock()

    def __call__(self, question: ApprovalNeeded) -> Answer:
        """Ask until an answer is understood."""
        with self._lock, self._view.pause():
            self._show(question)
            while True:
                line = self._read("allow? [y/n/a/e] ")
                if answer := self._understand(line, question):
                    return answer
                _tell(CHOICES)

    def _show(self, question: ApprovalNeeded) -> None:
        _tell(f"\n{question.tool} asks for permission: {question.reason}")
        _tell(f"  effect {question.effect} · price {question.price}")
        for name, value in question.arguments.items():
            _tell(f"  {name} = {json.dumps(value, ensure_ascii=False, default=str)}")

    def _understand(self, line: str | None, question: ApprovalNeeded) -> Answer | None:
        from ml_intern.router import Answer

        if line is None:
            return Answer(False, "the run was interrupted" if self._stopped() else "nobody answered")
        word, _, rest = line.strip().partition(" ")
        match word.lower():
            case "y" | "yes":
                return Answer(True)
            case "a" | "always":
                return Answer(True, always=True)
            case "n" | "no":
                return Answer(False, rest.strip() or (self._read("why? (the brain reads it) ") or "").strip())
            case "e" | "edit":
                return self._edit(question)
            case _:
                return None

    def _edit(self, question: ApprovalNeeded) -> Answer | None:
        """Arguments as JSON, changed keys only; the tool checks them again."""
        from ml_intern.router import Answer

        line = self._read('changed arguments as JSON, such as {"private": true}: ')
        try:
            changed = json.loads(line or "")
        except json.JSONDecodeError as error:
            _tell(f"That is no JSON: {error}.")
            return None
        if not isinstance(changed, dict) or not changed.keys() <= question.arguments.keys():
            _tell(f"Write an object with some of: {', '.join(question.arguments)}.")
            return None
        return Answer(True, arguments=question.arguments | changed)

    def _read(self, prompt: str) -> str | None:
        """A line; None at the end of the input or when the run is interrupted."""
        sys.stderr.write(prompt)
        sys.stderr.flush()
        while not self._stopped():
            if select.select([sys.stdin], [], [], _POLL_S)[0]:
                return sys.stdin.readline() or None
        return None


def _tell(text: str) -> None:
    sys.stderr.write(clean(text) + "\n")
    sys.stderr.flush()
