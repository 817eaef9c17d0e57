"""The other providers, through smolagents' LiteLLM model. LiteLLM is an extra and takes seconds to import."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

from smolagents.models import ChatMessage

from ml_intern.brains.base import Brain, answer, wire_messages
from ml_intern.brains.errors import explain
from ml_intern.brains.hosts import check_url
from ml_intern.brains.pieces import CHARS_PER_TOKEN, plausible, whole
from ml_intern.brains.prices import FREE, Facts, lookup, table
from ml_intern.brains.waiting import Patience
from ml_intern.errors import InternError, NoBrain, UsageError
from ml_intern.events import Event
from ml_intern.secrets.credentials import KEEPER
from ml_intern.settings import Settings

LOCAL = ("ollama", "ollama_chat", "lm_studio")


class LiteLLMBrain(Brain):
    """A model of any provider that LiteLLM knows.

    Args:
        label: ``scheme:name``.
        model_id: ``provider/name``, as LiteLLM wants it.
        settings: Timeouts, retries, the longest reply; the URL and the key where they are set.
        emit: Where notices go.
        env: Environment with the keys of providers.
        sleep: Waits between tries.
    """

    def __init__(
        self,
        label: str,
        model_id: str,
        settings: Settings,
        emit: Callable[[Event], None],
        env: Mapping[str, str],
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        super().__init__(model_id=model_id)
        self.label = label
        self.settings = settings
        self.env = env
        self.provider = model_id.split("/", 1)[0]
        self.base_url = check_url(settings.base_url) if settings.base_url else None
        self.facts = FREE if self.provider in LOCAL else lookup(model_id, self.provider)
        if importlib.util.find_spec("litellm") is None:
            raise UsageError(
                f"{label} needs LiteLLM, which is not installed.", "Run: pip install 'ml-intern[litellm]'"
            )
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
        return self.facts.price(input_tokens, output_tokens) if not self.base_url else Facts().price(0, 0)

    def prepare(self, prompt: str) -> None:
        """Check that there is a key, without a request.

        Raises:
            NoBrain: The provider's key is not set.
        """
        self.stopped.clear()
        variable = table()["keys"].get(self.provider)
        if variable and not (self.settings.api_key or self.base_url or self.env.get(variable)):
            raise NoBrain(
                f"{self.label} needs a key, and {variable} is not set.", "Set it, or use --model playbook:."
            )

    @cached_property
    def inner(self) -> Any:
        """smolagents' model, without its own retries, whose waits of a minute tell nobody."""
        os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it asks GitHub at its import
        os.environ["LITELLM_MODE"] = "PRODUCTION"  # else it loads a .env file at its import
        from smolagents.models import LiteLLMModel

        _guard_clients()
        # With a URL of the person's own, the provider's key from the environment must not go there.
        key = self.settings.api_key or ("none" if self.base_url else self._own_key() or None)
        model = LiteLLMModel(
            model_id=self.model_id,
            api_base=self.base_url,
            api_key=key,
            retry=False,
            max_tokens=self.settings.max_output_tokens,
            timeout=self.settings.request_timeout_s,
            num_retries=0,
            max_retries=0,
        )
        model.client.suppress_debug_info = True
        return model

    def _own_key(self) -> str:
        """The provider's key: LiteLLM itself knows ``os.environ`` only, which has none of ``.env``."""
        return self.env.get(table()["keys"].get(self.provider, ""), "").strip()

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
        sent = [{**m, "content": [{"type": "text", "text": m["content"]}]} for m in wire_messages(messages)]
        try:
            return self._patiently(lambda: self._asked(sent, stop_sequences, response_format, **kwargs))
        except InternError:
            raise
        except Exception as error:
            # LiteLLM wraps hundreds of clients, whose errors share no base class.
            raise explain(error, self.label) from error

    def _asked(self, sent: list[Any], *given: Any, **kwargs: Any) -> ChatMessage:
        """One request. A reply that makes no sense is an error that may pass, as with any endpoint."""
        reply = self.inner.generate(sent, *given, **kwargs)
        piece = whole(reply.raw)
        chars = sum(len(part["text"]) for m in sent for part in m["content"])
        counted = piece.usage is not None and plausible(piece.usage, chars, len(piece.text))
        estimated = (chars // CHARS_PER_TOKEN, len(piece.text) // CHARS_PER_TOKEN)
        usage = piece.usage if piece.usage and counted else estimated
        return answer(piece.text, replace(piece.ending, counted=counted), *usage)


def _guard_clients() -> None:
    """LiteLLM's clients follow redirects and keep headers such as ``x-api-key``: look at each request."""
    from litellm.llms.custom_httpx.http_handler import HTTPHandler

    if not hasattr(HTTPHandler.create_client, "guarded"):
        HTTPHandler.create_client = KEEPER.guarding(HTTPHandler.create_client)
        HTTPHandler.create_client.guarded = True
