"""Can the endpoint answer at all? Found out in seconds, before a session is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ml_intern.brains.errors import classify, one_line, status_of
from ml_intern.brains.hosts import is_hugging_face, is_loopback, is_openai, shown_url
from ml_intern.brains.waiting import apart
from ml_intern.errors import NoBrain
from ml_intern.events import Event, Notice
from ml_intern.settings import Settings
from ml_intern.tooling import did_you_mean


def check_endpoint(
    client: Any,
    base_url: str,
    name: str,
    settings: Settings,
    emit: Callable[[Event], None],
    masked: Callable[[str], str] = str,
) -> int | None:
    """Ask an endpoint for its models.

    Returns:
        The model's window in tokens where the endpoint tells it.

    Raises:
        NoBrain: It cannot be reached, refuses the key, or, where its list is complete, has no such model.
    """
    import openai

    limit = settings.connect_timeout_s
    # Here, not in the time that the endpoint has: the first use of it imports hundreds of modules.
    models = client.with_options(timeout=limit, max_retries=0).models.with_raw_response
    try:
        # Name resolution obeys no timeout of the client, so the whole request gets one of ours.
        listed = apart(lambda: _list_models(models), limit_s=limit + 2)
    except (openai.OpenAIError, OSError, ValueError) as error:
        _judge(error, base_url, masked)
        return None
    found = _entry(name, listed)
    if listed and found is None:
        _not_listed(name, [str(entry["id"]) for entry in listed], base_url, emit)
    return _window(found or {})


def _list_models(models: Any) -> list[dict[str, Any]]:
    response = models.list()
    try:
        listed = response.http_response.json()
    except ValueError:
        return []
    entries = listed.get("data") if isinstance(listed, dict) else listed
    return [e for e in entries if isinstance(e, dict) and "id" in e] if isinstance(entries, list) else []


def _judge(error: Exception, base_url: str, masked: Callable[[str], str]) -> None:
    """Raise for what will not mend itself. A server that lists no models, or is busy, may answer yet."""
    url, status, kind = shown_url(base_url), status_of(error), classify(error)
    told = masked(one_line(error, 200)).rstrip(".")
    if status is None:
        raise NoBrain(f"The endpoint {url} cannot be reached: {told}.", _how_to_reach(base_url)) from error
    # 403 alone may mean that the key has no right to list models, but the right to use them.
    if kind == "auth" and status != 403:
        raise NoBrain(f"The endpoint {url} refuses the key: {told}.", _how_to_authorise(base_url)) from error


def _how_to_reach(base_url: str) -> str:
    if is_loopback(base_url):
        return "Start the server there, or give its address with --base-url."
    return "Check the address and the network. Without a language model, --model playbook: still runs."


def _how_to_authorise(base_url: str) -> str:
    if is_hugging_face(base_url):
        return "Set HF_TOKEN to a token that may call Inference Providers, or run: hf auth login"
    name = "OPENAI_API_KEY" if is_openai(base_url) else "ML_INTERN_API_KEY"
    return f"Set {name} to a key of that endpoint."


def _entry(name: str, listed: list[dict[str, Any]]) -> dict[str, Any] | None:
    wanted = {name.lower(), f"{name.lower()}:latest"}
    # Inference Providers take "owner/name:provider"; the list has the models without providers.
    wanted.add(name.lower().rsplit(":", 1)[0])
    return next((entry for entry in listed if str(entry["id"]).lower() in wanted), None)


def _not_listed(name: str, known: list[str], base_url: str, emit: Callable[[Event], None]) -> None:
    some = ", ".join(known[:5]) + (", …" if len(known) > 5 else "")
    said = f"{shown_url(base_url)} lists no model {name!r}{did_you_mean(name, known)}"
    if is_openai(base_url) or is_hugging_face(base_url):
        raise NoBrain(f"{said}.", f"It has {len(known)} models: {some}.")
    emit(Notice("warning", f"{said}. It lists {some}. Asking all the same."))


def _window(entry: dict[str, Any]) -> int | None:
    told = [entry.get(key) for key in ("max_model_len", "context_length")]
    return next((int(value) for value in told if isinstance(value, int) and value > 0), None)
