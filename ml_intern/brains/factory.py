"""Builds the brain that the settings name: ``scheme:name``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ml_intern.brains.hosts import (
    INFERENCE_PROVIDERS_URL,
    OPENAI_URL,
    check_url,
    is_hugging_face,
    is_loopback,
    is_openai,
)
from ml_intern.brains.prices import FREE, Facts, lookup, table
from ml_intern.errors import NoBrain, UsageError
from ml_intern.events import Event, Notice
from ml_intern.secrets.tokens import hub_token
from ml_intern.settings import Settings
from ml_intern.tooling import did_you_mean

if TYPE_CHECKING:
    from ml_intern.brains.base import Brain

NO_KEY = "none"
"""Sent where an endpoint has no key: the client insists on some word."""


def build_brain(
    settings: Settings, emit: Callable[[Event], None], env: Mapping[str, str] = os.environ
) -> Brain:
    """The brain that the settings name, with those that take over when it is gone.

    Without a name it is `hf:` where a token is, else `playbook:`.

    Args:
        settings: Names the model, the endpoint and its key.
        emit: Where notices go.
        env: Environment with the keys of providers.

    Raises:
        UsageError: The model's name is not understood, or a package for it is missing.
        NoBrain: There is no key for it.
    """
    if not settings.api_key and (own := env.get("ML_INTERN_API_KEY", "").strip()):
        settings = settings.model_copy(update={"api_key": own})  # from .env, which settings do not read
    first = _build_one(settings, emit, env)
    if not settings.fallback_models:
        return first
    from ml_intern.brains.fallback import FallbackBrain

    # The base URL and its key belong to the first alone.
    others = [{"model": model, "base_url": None, "api_key": None} for model in settings.fallback_models]
    later = [_build_one(settings.model_copy(update=update), emit, env) for update in others]
    return FallbackBrain([first, *later], emit)


def build_research_brain(
    settings: Settings, emit: Callable[[Event], None], env: Mapping[str, str] = os.environ
) -> Brain | None:
    """The brain of the research sub-agents, ready to answer; None where they use the session's own.

    A model of the same scheme is asked where the session's is; any other has its own address and key.

    Raises:
        UsageError: It is no language model, or its name is not understood.
        NoBrain: It cannot be reached.
    """
    return _build_beside(settings, "research_model", settings.research_model, emit, env)


def build_judge(
    settings: Settings, emit: Callable[[Event], None], env: Mapping[str, str] = os.environ
) -> Brain | None:
    """The brain that judges answers against rubrics, ready to answer; None where none is named.

    Raises:
        UsageError: It is no language model, or its name is not understood.
        NoBrain: It cannot be reached.
    """
    return _build_beside(settings, "judge", settings.judge, emit, env)


def _build_beside(
    settings: Settings, key: str, name: str | None, emit: Callable[[Event], None], env: Mapping[str, str]
) -> Brain | None:
    if not name:
        return None
    if not settings.api_key and (own := env.get("ML_INTERN_API_KEY", "").strip()):
        settings = settings.model_copy(update={"api_key": own})
    same = name.partition(":")[0].strip().lower() == (settings.model or "").partition(":")[0].strip().lower()
    same = same or settings.model == "mcp:"  # there it is the only one
    elsewhere = {} if same else {"base_url": None, "api_key": None}
    try:
        brain = _build_one(settings.model_copy(update={"model": name, **elsewhere}), emit, env)
        if not brain.language_model:
            raise UsageError(f"{name!r} is no language model.", "Name one, or leave the setting out.")
        brain.prepare("")
    except (UsageError, NoBrain) as error:
        raise type(error)(f"The setting {key}: {error.message}", error.hint) from None
    return brain


def _build_one(settings: Settings, emit: Callable[[Event], None], env: Mapping[str, str]) -> Brain:
    if (settings.model or "").startswith("reproduce:"):
        from ml_intern.reproducing.brain import ReproductionBrain

        return ReproductionBrain(str(settings.model).partition(":")[2], settings.state)
    if settings.model == "mcp:":
        from ml_intern.mcp_server.nobody import Nobody

        return Nobody()
    scheme, name = _split(settings.model or _choose(settings, emit, env))
    if scheme == "playbook":
        from ml_intern.brains.playbook_brain import PlaybookBrain

        return PlaybookBrain(name, settings.playbooks, emit)
    if scheme == "transformers":
        from ml_intern.brains.inprocess import TransformersBrain

        return TransformersBrain(_named(scheme, name), settings)
    if scheme in ("hf", "openai"):
        return _endpoint(scheme, name, settings, emit, env)
    from ml_intern.brains.through_litellm import LiteLLMBrain

    model_id = name if scheme == "litellm" else f"{scheme}/{_named(scheme, name)}"
    return LiteLLMBrain(f"{scheme}:{name}", _named(scheme, model_id), settings, emit, env)


def schemes() -> list[str]:
    """Every scheme that `--model` takes."""
    return ["hf", "openai", "transformers", "playbook", *table()["keys"], *table()["keyless"]["names"]]


def _choose(settings: Settings, emit: Callable[[Event], None], env: Mapping[str, str]) -> str:
    if settings.base_url:
        raise UsageError(
            "A base URL is set, but no model for it.",
            "Add --model openai:NAME, with a name that the endpoint knows.",
        )
    if hub_token(env):
        return "hf:"
    emit(
        Notice(
            "info",
            "No --model and no Hugging Face token: a playbook answers. It is no language model and "
            "understands only its own sentences (ml-intern playbooks lists them).",
        )
    )
    return "playbook:"


def _split(model: str) -> tuple[str, str]:
    scheme, colon, name = model.strip().partition(":")
    scheme, name = scheme.strip().lower(), name.strip()
    if colon and scheme in schemes():
        return scheme, name
    if not colon and scheme in schemes():
        raise UsageError(f"Model {model!r} has no colon, did you mean '{scheme}:'?")
    if "/" in scheme:
        raise UsageError(f"Model {model!r} names no scheme, did you mean 'hf:{model}'?", _SCHEME_HINT)
    if not colon:
        raise UsageError(f"Model {model!r} names no scheme, did you mean 'openai:{model}'?", _SCHEME_HINT)
    raise UsageError(f"Unknown scheme {scheme!r}{did_you_mean(scheme, schemes())}.", _SCHEME_HINT)


_SCHEME_HINT = (
    "Write SCHEME:NAME with hf, openai, anthropic, transformers, playbook or a provider of LiteLLM."
)


def _named(scheme: str, name: str) -> str:
    if not name:
        raise UsageError(f"The model '{scheme}:' lacks a name.", f"Write {scheme}:NAME.")
    return name


def _endpoint(
    scheme: str, name: str, settings: Settings, emit: Callable[[Event], None], env: Mapping[str, str]
) -> Brain:
    from ml_intern.brains.endpoint import EndpointBrain

    if scheme == "hf":
        name = name or table()["defaults"]["hf"]
    base_url, key = endpoint_of(scheme, settings, env)
    return EndpointBrain(
        f"{scheme}:{_named(scheme, name)}",
        name,
        base_url=base_url,
        api_key=key,
        settings=settings,
        emit=emit,
        facts=_facts(name, base_url),
        stream=settings.brain_stream,
    )


def endpoint_of(scheme: str, settings: Settings, env: Mapping[str, str]) -> tuple[str, str]:
    """The URL and the key of an `hf:` or `openai:` model. A key goes only to the host it belongs to.

    ``OPENAI_BASE_URL`` and ``OPENAI_API_KEY`` in one environment are a pair, as for the openai package;
    a base URL from our own settings is not part of that pair.

    Raises:
        UsageError: The URL is none.
        NoBrain: The provider needs a key, and there is none.
    """
    own = INFERENCE_PROVIDERS_URL if scheme == "hf" else env.get("OPENAI_BASE_URL", "").strip() or OPENAI_URL
    url = check_url(settings.base_url or own)
    if settings.api_key:
        return url, settings.api_key
    paired = not settings.base_url and scheme == "openai"
    if is_openai(url) or paired:
        key, wanted = env.get("OPENAI_API_KEY", "").strip(), "OPENAI_API_KEY"
    elif is_hugging_face(url):
        key, wanted = hub_token(env), "HF_TOKEN"
    else:
        return url, NO_KEY
    if not key and (is_openai(url) or is_hugging_face(url)):
        raise NoBrain(
            f"{scheme}: needs a key, and {wanted} is not set.",
            "Set it, or use --model playbook:, which needs none.",
        )
    return url, key or NO_KEY


def _facts(name: str, base_url: str) -> Facts:
    if is_openai(base_url):
        return lookup(name, "openai")
    known = lookup(name)
    if is_loopback(base_url):
        return Facts(known.context_tokens, FREE.input_usd, FREE.output_usd)
    return known
