"""What an OpenAI-compatible endpoint sends, read without trust: the client package checks no shapes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ml_intern.brains.base import Ending
from ml_intern.brains.errors import GarbledReply

CHARS_PER_TOKEN = 4
"""For endpoints that count no tokens: a usual figure for English text with code."""

BYTES_PER_CHAR = 4
"""The most in UTF-8; no tokenizer makes more than a token of a byte."""

UNSEEN_TOKENS = 200_000
"""What a provider may count beside the text that we see: its own prompt, templates, reasoning."""


@dataclass(frozen=True)
class Piece:
    """A part of a reply: some text, or what the provider says at its end."""

    text: str = ""
    ending: Ending = field(default_factory=Ending)
    usage: tuple[int, int] | None = None


def whole(completion: Any) -> Piece:
    """The reply that came at once.

    Raises:
        GarbledReply: It is none.
    """
    _raise_told(completion)
    message: Any = getattr(_choice(completion), "message", None)
    if not hasattr(message, "content"):
        raise GarbledReply(f"the endpoint sent no completion but {' '.join(str(completion)[:80].split())!r}")
    text = _text(message.content) or _text(getattr(message, "refusal", None))
    return Piece(text, _ending(completion), _usage(completion))


def piece_of(chunk: Any) -> Piece:
    """What one event of a stream brings.

    Raises:
        GarbledReply: It makes no sense.
    """
    delta = getattr(_choice(chunk), "delta", None)
    return Piece(_text(getattr(delta, "content", None)), _ending(chunk), _usage(chunk))


def _raise_told(response: Any) -> None:
    """Some gateways send a model's error with status 200."""
    told = getattr(response, "error", None)
    if isinstance(told, dict) and told.get("message"):
        code = told.get("code")
        raise GarbledReply(str(told["message"]), code if isinstance(code, int) else None)


def _choice(response: Any) -> Any:
    """The one choice; the client checks no shapes, so anything may stand in its place."""
    choices = getattr(response, "choices", None)
    return choices[0] if isinstance(choices, list) and choices else None


def _text(content: Any) -> str:
    """A content as text; some providers send it in parts."""
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        content = "".join(str(part.get("text") or "") for part in content)
    if content is not None and not isinstance(content, str):
        raise GarbledReply(f"the content of the reply is no text but {str(content)[:80]!r}")
    return content or ""


def _ending(response: Any) -> Ending:
    reason = str(getattr(_choice(response), "finish_reason", None) or "")
    if reason == "error":  # what gateways say of a model that failed in the midst of its reply
        raise GarbledReply("the provider broke the reply off")
    return Ending(reason, str(getattr(response, "model", "") or ""), str(getattr(response, "id", "") or ""))


def _usage(response: Any) -> tuple[int, int] | None:
    usage = getattr(response, "usage", None)
    counts = (getattr(usage, "prompt_tokens", None), getattr(usage, "completion_tokens", None))
    return (counts[0], counts[1]) if isinstance(counts[0], int) and isinstance(counts[1], int) else None


def plausible(usage: tuple[int, int], sent: int, came: int) -> bool:
    """Whether a count of tokens can be true.

    Args:
        usage: Tokens of the prompt and of the reply, as the provider says.
        sent: Characters of the prompt.
        came: Characters of the reply.
    """
    most = UNSEEN_TOKENS + BYTES_PER_CHAR * sent, UNSEEN_TOKENS + BYTES_PER_CHAR * came
    return all(0 <= count <= limit for count, limit in zip(usage, most, strict=True))
