"""The gate's questions as forms that an assistant shows to its person."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ml_intern.events import ApprovalNeeded
from ml_intern.router.approval import Answer, NoAnswer, headless

if TYPE_CHECKING:
    from ml_intern.mcp_server.running import Running


class Asking:
    """The approver of a session whose calls come from an assistant.

    A question goes to the client whose call it is about, where that client can show forms. Else nobody is
    there, and the words say how a person can allow the call all the same.
    """

    def __init__(self) -> None:
        self._running: dict[str, Running] = {}
        self._lock = threading.Lock()

    def begin(self, source: str, running: Running) -> None:
        """Questions of this source belong to that call."""
        with self._lock:
            self._running[source] = running

    def end(self, source: str) -> None:
        """The call is over."""
        with self._lock:
            self._running.pop(source, None)

    def __call__(self, question: ApprovalNeeded) -> Answer:
        """Ask, and wait for the answer.

        Raises:
            NoAnswer: Nobody could be asked, or nobody answered.
        """
        with self._lock:
            running = self._running.get(question.source)
        if running is None or not running.can_ask:
            raise NoAnswer(nobody_here(question))
        return running.ask(question)


def nobody_here(question: ApprovalNeeded) -> str:
    """Why the call is denied where the client shows no questions, and what a person can do."""
    told = headless(question).reason
    if not question.yes:
        return f"{told}. A person can raise the ceiling or change the policy in the settings of the server"
    start = f"ml-intern mcp --yes {question.yes}"
    return f"{told}. This client shows no questions: a person can start the server with {start}"


def form(question: ApprovalNeeded) -> tuple[str, dict[str, Any]]:
    """The text and the fields of a question."""
    from ml_intern.cli.approvals import shown
    from ml_intern.cli.board import clean

    fields: dict[str, Any] = {
        "allow": {"type": "boolean", "title": "Allow it", "default": False},
        "reason": {"type": "string", "title": "Reason", "description": "Of a no; the assistant reads it."},
        "arguments": {
            "type": "string",
            "title": "Other arguments",
            "description": 'JSON with those that shall be other, {"private": true} say; empty: as shown.',
        },
    }
    if question.always:
        about = f"Ask no more about {question.always}."
        fields["always"] = {"type": "boolean", "title": "Always", "description": about, "default": False}
    return clean("\n".join(shown(question)).strip()), {
        "type": "object",
        "properties": fields,
        "required": ["allow"],
    }


def understood(question: ApprovalNeeded, action: str, content: Mapping[str, Any] | None) -> Answer:
    """The answer that a form came back with.

    Raises:
        ValueError: The other arguments are none.
    """
    given = content or {}
    if action != "accept":
        return Answer(False, "the person said no" if action == "decline" else "the question was closed")
    reason = str(given.get("reason") or "").strip()
    if given.get("allow") is not True:
        return Answer(False, reason)
    always = bool(question.always) and given.get("always") is True
    return Answer(True, reason, changed(given.get("arguments")), always)


def changed(text: Any) -> dict[str, Any] | None:
    """The arguments that a person wrote; None where there are none.

    Raises:
        ValueError: It is no JSON object.
    """
    if text is None or (isinstance(text, str) and not text.strip()):
        return None
    try:
        found = json.loads(text) if isinstance(text, str) else text
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError("the other arguments are no JSON object")
    return found or None


def again(question: ApprovalNeeded, problem: ValueError) -> ApprovalNeeded:
    """The same question, with what was wrong with the answer."""
    return replace(question, reason=f"{question.reason}. The answer was not taken: {problem}")
