"""Questions of the gate, asked in a terminal."""

from __future__ import annotations

import json
import os
import re
import select
import sys
import termios
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ml_intern.cli.board import clean
from ml_intern.cli.plain import View
from ml_intern.events import ApprovalNeeded

if TYPE_CHECKING:
    from ml_intern.router.approval import Answer

_POLL_S = 0.2
_LINE_BYTES = 1 << 16
_VALUE_CHARS = 2000
"""A value of one line that is longer is shown up to here; code, which has lines, is always shown whole."""
# Characters that change how a line looks and not what it does: a reader would approve something else.
_DECEIVING = re.compile(
    "[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]"
)


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
            _forget_typed()
            for line in shown(question):
                _tell(line)
            while True:
                said = self._read(f"allow? [{'y/n/e' if question.once else 'y/n/a/e'}] ")
                if answer := self._understand(said, question):
                    return answer
                for choice in choices(question):
                    _tell(choice)

    def _understand(self, line: str | None, question: ApprovalNeeded) -> Answer | None:
        from ml_intern.router.approval import Answer

        if line is None:
            return Answer(False, "the run was interrupted" if self._stopped() else "nobody answered")
        word, _, rest = line.strip().partition(" ")
        match word.lower():
            case "y" | "yes":
                return Answer(True)
            case "a" | "always" if not question.once:
                return Answer(True, always=True)
            case "n" | "no":
                return Answer(False, rest.strip() or (self._read("why? (the brain reads it) ") or "").strip())
            case "e" | "edit":
                return self._edit(question, rest)
            case _:
                return None

    def _edit(self, question: ApprovalNeeded, rest: str) -> Answer | None:
        """Arguments as JSON, changed keys only; the tool checks them again, and the gate as well."""
        from ml_intern.router.approval import Answer

        line = rest or self._read('changed arguments as JSON, such as {"private": true}: ')
        try:
            changed = json.loads(line or "")
        except json.JSONDecodeError as error:
            _tell(f"That is no JSON: {error}.")
            return None
        if not isinstance(changed, dict) or not changed.keys() <= question.arguments.keys():
            _tell(f"Write an object with some of: {', '.join(question.arguments)}.")
            return None
        return Answer(True, arguments=changed)

    def _read(self, prompt: str) -> str | None:
        """A line; None at the end of the input or when the run is interrupted."""
        sys.stderr.write(prompt)
        sys.stderr.flush()
        while not self._stopped():
            # Straight from the descriptor: a line in Python's own buffer would not wake the select.
            if select.select([sys.stdin], [], [], _POLL_S)[0]:
                return os.read(sys.stdin.fileno(), _LINE_BYTES).decode("utf-8", "replace") or None
        return None


def shown(question: ApprovalNeeded) -> Iterator[str]:
    """What a person reads before the answer: what will run, what it costs, what it can reach."""
    yield f"\n{question.tool} asks for permission: {question.reason}"
    origin = f" · from {question.source}" if question.source else ""
    yield f"  effect {question.effect} · price {question.price}{origin}"
    if question.reach:
        yield f"  reaches {question.reach}"
    for name, value in question.arguments.items():
        yield from _argument(name, value)


def _argument(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, str) and len(value.splitlines()) > 1:
        lines = value.splitlines()
        yield f"  {name} = {len(lines)} lines:"
        yield from (f"    | {plain(line)}" for line in lines)
        return
    text = plain(json.dumps(value, ensure_ascii=False, default=str))
    more = f" … {len(text) - _VALUE_CHARS} characters more" if len(text) > _VALUE_CHARS else ""
    yield f"  {name} = {text[:_VALUE_CHARS]}{more}"
    if isinstance(value, Mapping | list):
        yield from _code_inside(name, value)


def _code_inside(name: str, value: Mapping[str, Any] | list[Any]) -> Iterator[str]:
    """Texts of several lines inside of an argument, readable."""
    inner = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, item in inner:
        if isinstance(item, str) and len(item.splitlines()) > 1:
            yield from _argument(f"{name}.{key}", item)
        elif isinstance(item, Mapping | list):
            yield from _code_inside(f"{name}.{key}", item)


def plain(text: str) -> str:
    """The text with every character visible that could make a line look like another one."""
    return _DECEIVING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def choices(question: ApprovalNeeded) -> Iterator[str]:
    """The answers that there are."""
    always = (
        f"no always: {question.once}" if question.once else f"a always: {question.always or question.tool}"
    )
    yield f"y yes · n [reason] no · e [JSON] edit the arguments · {always}"


def _forget_typed() -> None:
    """What was typed before the question was there to be read is no answer to it."""
    try:
        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
    except (termios.error, OSError, ValueError):  # no terminal: a pipe, or closed
        pass


def _tell(text: str) -> None:
    sys.stderr.write(clean(text) + "\n")
    sys.stderr.flush()
