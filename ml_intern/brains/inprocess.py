"""A model that runs in this process, through smolagents' Transformers model."""

from __future__ import annotations

import threading
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from smolagents.models import ChatMessage

from ml_intern.brains.base import Brain, Ending, answer, wire_messages
from ml_intern.brains.errors import one_line
from ml_intern.brains.prices import FREE
from ml_intern.brains.waiting import apart
from ml_intern.errors import NoBrain
from ml_intern.settings import Settings


class TransformersBrain(Brain):
    """A causal language model from a folder or the Hub.

    Args:
        name: A folder, or a model's id on the Hub.
        settings: The longest reply; the window where the model's own configuration does not say it.
    """

    greedy = MappingProxyType({"do_sample": False})

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(model_id=name)
        self.label = f"transformers:{name}"
        self.settings = settings
        self._turn = threading.Lock()

    @property
    def context_tokens(self) -> int:  # type: ignore[override]
        """The window: the person's word, else the model's own configuration, else the setting's default."""
        if "context_tokens" in self.settings.model_fields_set:
            return self.settings.context_tokens
        own = getattr(self.inner.model.config, "max_position_embeddings", None)
        return own if isinstance(own, int) else self.settings.context_tokens

    def price(self, input_tokens: int, output_tokens: int) -> float | None:
        """Nothing: it is the person's own machine."""
        return FREE.price(input_tokens, output_tokens)

    def prepare(self, prompt: str) -> None:
        """Load the model.

        Raises:
            NoBrain: It is not there, or is no language model with a chat template.
        """
        self.stopped.clear()
        tokenizer = getattr(self.inner, "tokenizer", None) or self.inner.processor.tokenizer
        if not tokenizer.chat_template:
            raise NoBrain(
                f"{self.label} has no chat template, so it cannot hold a conversation.",
                "Take an instruct model.",
            )

    @cached_property
    def inner(self) -> Any:
        """smolagents' model; loading takes seconds to minutes."""
        from smolagents.models import TransformersModel

        where = self._located()
        try:
            return TransformersModel(model_id=where, max_new_tokens=self.settings.max_output_tokens)
        except (OSError, ValueError, ImportError, RuntimeError) as error:
            raise NoBrain(
                f"{self.label} cannot be loaded: {one_line(error)}",
                "Give a folder or a model's id on the Hub.",
            ) from error

    def _located(self) -> str:
        """A folder, or an id on a Hub that answers: without one, transformers would retry for minutes."""
        import httpx
        from huggingface_hub import constants, snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

        name, limit = str(self.model_id), self.settings.connect_timeout_s
        if Path(name).expanduser().is_dir():
            return str(Path(name).expanduser())
        try:
            apart(lambda: httpx.head(constants.ENDPOINT, timeout=limit), limit_s=limit + 1)
            return name
        except (httpx.HTTPError, TimeoutError) as error:
            unreachable = error
        try:
            return snapshot_download(name, local_files_only=True)
        except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError):
            raise NoBrain(
                f"{self.label} is no folder, not in the cache, and {constants.ENDPOINT} cannot be reached: "
                f"{one_line(unreachable)}.",
                "Give the folder of a model, or mend the network.",
            ) from unreachable

    def generate(
        self,
        messages: list[Any],
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: list[Any] | None = None,
        **kwargs: Any,
    ) -> ChatMessage:
        """The reply to a conversation."""
        sent = [
            {"role": m["role"], "content": [{"type": "text", "text": m["content"]}]}
            for m in wire_messages(messages)
        ]

        def work() -> ChatMessage:
            with self._turn:  # one conversation at a time: sub-agents ask from threads of their own
                return self.inner.generate(sent, stop_sequences, **kwargs)

        reply = apart(work, stop=self.stopped)
        used = reply.token_usage
        cut = used.output_tokens >= self.settings.max_output_tokens
        return answer(
            reply.content or "", Ending("length" if cut else "stop"), used.input_tokens, used.output_tokens
        )
