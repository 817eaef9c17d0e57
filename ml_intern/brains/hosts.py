"""Which host a URL names, and so which key may go there."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit, urlunsplit

from ml_intern.errors import UsageError

OPENAI_URL = "https://api.openai.com/v1"
INFERENCE_PROVIDERS_URL = "https://router.huggingface.co/v1"


def check_url(url: str) -> str:
    """The URL without a slash at its end.

    Raises:
        UsageError: It is no http or https URL.
    """
    try:
        parts = urlsplit(url)
        well_formed = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        well_formed = False
    if not well_formed:
        guess = "" if "://" in url else f" Did you mean http://{url}?"
        raise UsageError(f"The base URL {url!r} is no http:// or https:// address.{guess}")
    return url.rstrip("/")


def is_openai(url: str) -> bool:
    """True for OpenAI's own hosts, over https."""
    return _belongs_to(url, "openai.com")


def is_hugging_face(url: str) -> bool:
    """True for Hugging Face's own hosts, over https."""
    return _belongs_to(url, "huggingface.co")


def is_loopback(url: str) -> bool:
    """True for this very machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def shown_url(url: str) -> str:
    """The URL as messages show it: without a user, a password or a query."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return urlunsplit((parts.scheme, f"{host}:{parts.port}" if parts.port else host, parts.path, "", ""))


def _belongs_to(url: str, domain: str) -> bool:
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    return parts.scheme == "https" and (host == domain or host.endswith("." + domain))
