"""A brain behind an OpenAI-compatible endpoint: OpenAI, Inference Providers, vLLM, llama.cpp, Ollama."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any

from smolagents.models import ChatMessage, ChatMessageStreamDelta
from smolagents.monitoring import TokenUsage

from ml_intern.brains.base import Brain, Ending, answer, wire_messages
from ml_intern.brains.errors import GarbledReply, explain, status_of
from ml_intern.brains.hosts import is_loopback, is_openai, shown_url
from ml_intern.brains.pieces import CHARS_PER_TOKEN, Piece, piece_of, plausible, whole
from ml_intern.brains.prices import Facts
from ml_intern.brains.reach import check_endpoint
from ml_intern.brains.waiting import Patience
from ml_intern.events import Event, Notice
from ml_intern.settings import Settings

OPTIONAL = ("stop", "stream_options", "max_tokens", "max_completion_tokens", "temperature")
"""Fields that a request can do without, where an endpoint refuses one of them."""


class EndpointBrain(Brain):
    """Chat completions over the openai package.

    Args:
        label: ``scheme:name``.
        name: The model's name, as the endpoint knows it.
        base_url: The endpoint, up to and with ``/v1``.
        api_key: Sent to that endpoint and to no other.
        settings: Timeouts, retries, the longest reply.
        emit: Where notices go.
        facts: What is known of the model.
        stream: Ask for the reply piece by piece, so that a dropped connection is seen at once.
        on_text: Gets the pieces of a streamed reply.
        sleep: Waits between tries.
    """

    def __init__(
        self,
        label: str,
        name: str,
        *,
        base_url: str,
        api_key: str,
        settings: Settings,
        emit: Callable[[Event], None],
        facts: Facts,
        stream: bool = False,
        on_text: Callable[[str], None] = lambda text: None,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        super().__init__(model_id=name)
        self.label = label
        self.base_url = base_url
        self.settings = settings
        self.emit = emit
        self.facts = facts
        self.stream = stream
        self.on_text = on_text
        self._api_key = api_key
        self._refused: set[str] = set()
        self._doubted = False
        self._patiently = Patience(
            label, settings.brain_retries, emit, settings.request_timeout_s, self.stopped, sleep
        )

    @property
    def context_tokens(self) -> int:  # type: ignore[override]
        """The window: the person's word, else what data says, else the setting's default."""
        if "context_tokens" in self.settings.model_fields_set:
            return self.settings.context_tokens
        return self.facts.context_tokens or self.settings.context_tokens

    def price(self, input_tokens: int, output_tokens: int) -> float | None:
        """Dollars for an exchange; None when the price is not known."""
        return self.facts.price(input_tokens, output_tokens)

    def prepare(self, prompt: str) -> None:
        """Ask the endpoint for its models, once and for a few seconds.

        Raises:
            NoBrain: The endpoint cannot be reached, refuses the key, or says that it has no such model.
        """
        self.stopped.clear()
        window = check_endpoint(
            self.client, self.base_url, str(self.model_id), self.settings, self.emit, self._masked
        )
        self._patiently.answered = True
        if window:
            self.facts = replace(self.facts, context_tokens=window)

    @cached_property
    def client(self) -> Any:
        """The openai client, with nothing from the environment that belongs to another host."""
        import httpx
        import openai

        settings = self.settings
        foreign: dict[str, Any] = {} if is_openai(self.base_url) else _without_openai_headers()
        return openai.OpenAI(
            base_url=self.base_url,
            api_key=self._api_key,
            admin_api_key="",
            timeout=httpx.Timeout(settings.request_timeout_s, connect=settings.connect_timeout_s),
            max_retries=0,
            default_headers={**foreign, "Authorization": f"Bearer {self._api_key}"},
            # A proxy of the environment cannot reach this machine's own loopback.
            http_client=openai.DefaultHttpxClient(trust_env=False) if is_loopback(self.base_url) else None,
        )

    def generate(
        self,
        messages: list[Any],
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: list[Any] | None = None,
        **kwargs: Any,
    ) -> ChatMessage:
        """The reply to a conversation.

        Raises:
            ContextOverflow: The prompt is too long for the model.
            NoBrain: No answer came, also after waiting.
        """
        request = self._request(messages, stop_sequences, response_format, **kwargs)
        with self._errors_told():
            return self._patiently(lambda: self._collect(request, stop_sequences or []))

    def generate_stream(
        self,
        messages: list[Any],
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: list[Any] | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatMessageStreamDelta]:
        """The same reply, piece by piece. Only its start is retried: what was handed out stays out."""
        request = self._request(messages, stop_sequences, response_format, **kwargs)
        with self._errors_told():
            for piece in self._patiently(lambda: _started(self._pieces(request, stream=True))):
                usage = TokenUsage(*piece.usage) if piece.usage else None
                yield ChatMessageStreamDelta(content=piece.text, token_usage=usage)

    def _request(
        self, messages: list[Any], stop: list[str] | None, response_format: Any, **more: Any
    ) -> dict[str, Any]:
        # OpenAI's own models of reasoning know the new name only, most other servers the old one only.
        longest = "max_completion_tokens" if is_openai(self.base_url) else "max_tokens"
        request = {
            "model": self.model_id,
            "messages": wire_messages(messages),
            longest: self.settings.max_output_tokens,
            "stop": stop if stop and self.supports_stop_parameter else None,
            "response_format": response_format,
            **more,
        }
        return {name: value for name, value in request.items() if value is not None}

    def _collect(self, request: dict[str, Any], stop: list[str]) -> ChatMessage:
        text, ending, usage = "", Ending(), None
        for piece in self._pieces(request, self.stream):
            text += piece.text
            ending = replace(piece.ending, finish_reason=piece.ending.finish_reason or ending.finish_reason)
            usage = piece.usage or usage
        sent = sum(len(m["content"]) for m in request["messages"])
        if usage is None or not self._plausible(usage, sent, len(text)):
            ending = replace(ending, counted=False)
            usage = (sent // CHARS_PER_TOKEN, len(text) // CHARS_PER_TOKEN)
        return answer(_cut_at(text, stop), ending, *usage)

    def _plausible(self, usage: tuple[int, int], sent: int, came: int) -> bool:
        """Whether the provider's count is believed; the first that is not is told."""
        if plausible(usage, sent, came):
            return True
        if not self._doubted:
            told = (
                f"{self.label} counts {usage[0]:,}+{usage[1]:,} tokens for an exchange of {sent:,}+{came:,}"
            )
            self.emit(Notice("warning", f"{told} characters: such counts are replaced by estimates."))
        self._doubted = True
        return False

    def _pieces(self, request: dict[str, Any], stream: bool) -> Iterator[Piece]:
        try:
            yield from self._raw_pieces(request, stream)
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise GarbledReply(f"what the endpoint sent is no JSON ({error})") from error

    def _raw_pieces(self, request: dict[str, Any], stream: bool) -> Iterator[Piece]:
        """One request; a reply that comes whole is one piece."""
        if not stream:
            yield whole(self._send(request))
            return
        ended = False
        # Closed here: left to the garbage collector, it may be closed within httpcore's own lock, and hang.
        with self._send({**request, "stream": True, "stream_options": {"include_usage": True}}) as chunks:
            for chunk in chunks:
                piece = piece_of(chunk)
                ended = ended or bool(piece.ending.finish_reason)
                if piece.text:
                    self.on_text(piece.text)
                yield piece
        if not ended:
            raise GarbledReply("the stream broke off before the reply ended")

    def _send(self, request: dict[str, Any]) -> Any:
        import openai

        sent = {name: value for name, value in request.items() if name not in self._refused}
        try:
            return self.client.chat.completions.create(**sent)
        except openai.APIStatusError as error:
            refused = _refused_field(error, sent)
            if refused is None:
                raise
            self._refused.add(refused)
            return self._send(request)

    @contextmanager
    def _errors_told(self) -> Iterator[None]:
        import httpx
        import openai

        try:
            yield
        except (
            openai.OpenAIError,
            httpx.HTTPError,
            GarbledReply,
            OSError,
            RecursionError,
            ValueError,
        ) as error:
            told = explain(error, self.label, self._hint(error))
            raise type(told)(self._masked(told.message), told.hint) from error

    def _hint(self, error: BaseException) -> str:
        if status_of(error) != 404:
            return ""
        ends = "" if self.base_url.endswith("/v1") else " Most endpoints want a URL that ends with /v1."
        return f"Check the name {self.model_id!r} and the URL {shown_url(self.base_url)}.{ends}"

    def _masked(self, text: str) -> str:
        """The text without the key, which some servers repeat in their errors."""
        return text.replace(self._api_key, "***") if len(self._api_key) > 6 else text


def _without_openai_headers() -> dict[str, Any]:
    """Headers that the client would take from the environment for OpenAI, marked to be left out."""
    import openai

    lines = os.environ.get("OPENAI_CUSTOM_HEADERS", "").splitlines()
    custom = [line.partition(":")[0].strip() for line in lines if ":" in line]
    left_out = dict.fromkeys([*custom, "OpenAI-Organization", "OpenAI-Project"], openai.Omit())
    return {name: value for name, value in left_out.items() if name != "Authorization"}


def _started(pieces: Iterator[Piece]) -> Iterable[Piece]:
    """The same pieces, once the first has come."""
    return itertools.chain([next(pieces)], pieces)


def _refused_field(error: Any, sent: dict[str, Any]) -> str | None:
    """The field of a request that the endpoint says it does not know."""
    words = str(error).lower()
    if error.status_code not in (400, 422) or not re.search(
        r"support|unknown|unrecogni[sz]ed|not permitted|extra", words
    ):
        return None
    return next((name for name in OPTIONAL if name in sent and re.search(rf"\b{name}\b", words)), None)


def _cut_at(text: str, stop: Iterable[str]) -> str:
    """The text up to the first stop sequence, for endpoints that do not stop there themselves."""
    found = [at for sequence in stop if sequence and (at := text.find(sequence)) >= 0]
    return text[: min(found)] if found else text
