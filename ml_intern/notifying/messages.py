"""One notification: what it says, as Slack reads it and as any webhook reads it.

A webhook gets one JSON object:

    version    1; it grows when a key is changed or taken away, not when one is added
    kind       approval, done, failed, limit, stopped or message
    at         when, ISO 8601 in UTC
    session    id, prompt (its beginning) and model
    title      one line in words
    text       the rest in words: the answer, the error, the question's reason
    approval   of kind approval, else null: call, tool, effect, arguments, price, reason, reach
    end        of kind done, failed, limit and stopped, else null: status, exit_code (null while the
               session waits for the next words), answer

No text in it holds a credential, and none is longer than `MOST_CHARS`.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import shorten
from typing import Any

from ml_intern.events import ApprovalNeeded, SessionFinished
from ml_intern.secrets.masking import mask, mask_all

KINDS = ("approval", "done", "failed", "limit", "stopped", "message")

MOST_CHARS = 8_000
"""Of one text; an answer may be a page."""
_ARGUMENT_CHARS = 300
_PROMPT_CHARS = 300
# Slack's own limits: https://docs.slack.dev/reference/block-kit/blocks
_HEADER_CHARS, _SECTION_CHARS, _CONTEXT_CHARS = 150, 3_000, 500

_ENDS = {"done": "Done", "failed": "Failed", "limit": "A limit was reached", "stopped": "Stopped"}
_KIND_OF = {"done": "done", "limit": "limit", "interrupted": "stopped"}


@dataclass(frozen=True)
class About:
    """The session that tells."""

    session: str
    prompt: str
    model: str


@dataclass(frozen=True)
class Message:
    """One notification.

    Attributes:
        kind: One of `KINDS`.
        at: Seconds since the epoch.
        title: One line.
        text: The rest.
        approval: The question, of kind ``approval``.
        end: How it ended, of the kinds that are an end.
    """

    kind: str
    about: About
    at: float
    title: str
    text: str = ""
    approval: Mapping[str, Any] | None = None
    end: Mapping[str, Any] | None = None

    @classmethod
    def asking(cls, about: About, question: ApprovalNeeded) -> Message:
        """A question of the gate."""
        names = ("call", "tool", "effect", "price", "reason", "reach")
        told = {name: getattr(question, name) for name in names}
        told["arguments"] = {name: _short(value) for name, value in question.arguments.items()}
        lines = [f"{name} = {value}" for name, value in told["arguments"].items()]
        lines += [question.reason, f"price: {question.price}", f"reach: {question.reach}"]
        title = f"Approval needed: {question.tool} ({question.effect})"
        return cls("approval", about, question.at, title, "\n".join(filter(None, lines)), approval=told)

    @classmethod
    def ending(cls, about: About, end: SessionFinished, error: str) -> Message:
        """The end of a session."""
        kind = _KIND_OF.get(end.status, "failed")
        told = {"status": end.status, "exit_code": end.exit_code, "answer": _cut(end.answer)}
        text = end.answer if kind == "done" else "\n".join(filter(None, [error, end.answer]))
        return cls(kind, about, end.at, _ENDS[kind], text, end=told)

    @classmethod
    def answering(cls, about: About, at: float, answer: str) -> Message:
        """The answer of a turn, after which the session waits."""
        told = {"status": "waiting", "exit_code": None, "answer": _cut(answer)}
        return cls("done", about, at, "Done, and waiting for your next words", answer, end=told)

    def to_json(self) -> dict[str, Any]:
        """As a webhook reads it; the module says what it is."""
        about = {"id": self.about.session, "prompt": self._prompt, "model": self.about.model}
        found: dict[str, Any] = mask_all({
            "version": 1,
            "kind": self.kind,
            "at": datetime.datetime.fromtimestamp(self.at, datetime.UTC).isoformat(timespec="milliseconds"),
            "session": about,
            "title": self.title,
            "text": _cut(self.text),
            "approval": self.approval,
            "end": self.end,
        })  # fmt: skip
        return found

    def to_slack(self) -> dict[str, Any]:
        """As an incoming webhook of Slack reads it: blocks, and a text for where they are not shown.

        Nothing in it addresses people (``<!channel>``), is a link in disguise, or makes Slack fetch a page.
        """
        title, text = mask(self.title), mask(_cut(self.text))
        blocks: list[dict[str, Any]] = [
            {"type": "header", "text": {"type": "plain_text", "text": title[:_HEADER_CHARS], "emoji": False}}
        ]
        if text:
            blocks.append({"type": "section", "text": _words(text, _SECTION_CHARS)})
        about = mask(f"{self.about.session} · {self.about.model} · {self._prompt}")
        blocks.append({"type": "context", "elements": [_words(about, _CONTEXT_CHARS)]})
        fallback = _escaped(f"{title}: {text}" if text else title, _SECTION_CHARS)
        return {"text": fallback, "blocks": blocks, "unfurl_links": False, "unfurl_media": False}

    @property
    def _prompt(self) -> str:
        return shorten(self.about.prompt, _PROMPT_CHARS, placeholder=" …")


def _words(text: str, limit: int) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": _escaped(text, limit), "verbatim": True}


def _escaped(text: str, limit: int) -> str:
    """Text as Slack takes it literally, never cut in the midst of an escape.

    https://docs.slack.dev/messaging/formatting-message-text says which three characters are escaped.
    """
    found: list[str] = []
    room = limit - 1
    for character in text:
        written = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}.get(character, character)
        room -= len(written)
        if room < 0:
            return "".join(found) + "…"
        found.append(written)
    return "".join(found)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _ARGUMENT_CHARS else text[: _ARGUMENT_CHARS - 1] + "…"


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CHARS else text[: MOST_CHARS - 1] + "…"
