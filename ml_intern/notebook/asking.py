"""Questions of the gate, asked below the cell that runs: a line that `input` reads."""

from __future__ import annotations

import json

from ml_intern.cli.board import clean, shorten
from ml_intern.events import ApprovalNeeded
from ml_intern.router.approval import Answer


def ask(question: ApprovalNeeded) -> Answer:
    """Ask until an answer is understood; the page above shows the question in full.

    Raises:
        KeyboardInterrupt: The person interrupts the cell instead.
        EOFError: Nobody answers any more.
    """
    always = "" if question.once else f", a = always ({question.always or question.tool})"
    choices = f"y = yes, n REASON = no, e JSON = yes with changed arguments{always}"
    what = f"{question.tool}: {question.reason}; price {question.price}"
    reach = f"; reaches {question.reach}" if question.reach else ""
    told = f"{shorten(clean(f'{what}{reach}'), 300)}\nallow? [{choices}] "
    while True:
        if (answer := understood(input(told), question)) is not None:
            return answer
        told = f"Not understood. [{choices}] "


def understood(line: str, question: ApprovalNeeded) -> Answer | None:
    """The answer that a line gives; None where it gives none."""
    word, _, rest = line.strip().partition(" ")
    match word.lower():
        case "y" | "yes":
            return Answer(True)
        case "n" | "no":
            return Answer(False, rest.strip())
        case "a" | "always" if not question.once:
            return Answer(True, always=True)
        case "e" | "edit":
            return _edited(rest, question)
    return None


def _edited(text: str, question: ApprovalNeeded) -> Answer | None:
    try:
        changed = json.loads(text)
    except (ValueError, RecursionError):
        return None
    known = isinstance(changed, dict) and changed.keys() <= question.arguments.keys()
    return Answer(True, arguments=changed) if known else None
