"""What is asked for: a URL with all that decides the answer, and how far a caller goes for it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from ml_intern.secrets.credentials import Credential
from ml_intern.web.errors import Blocked
from ml_intern.web.page import Page

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Order:
    """A page to fetch.

    Attributes:
        url: Without a fragment.
        body: JSON that is sent by POST; None: a GET.
        accept: The header.
        credential: Goes to its own hosts only, at each redirect anew.
        limit: Bytes that are taken.
        total_s: From a request's beginning to the end of its answer.
        parse: Makes `Page.data`; a ValueError says that the answer is damaged.
        tries: Further tries at the most, where the caller has another way; None: as many as usual.
    """

    url: str
    body: bytes | None = None
    accept: str = "*/*"
    credential: Credential | None = field(default=None, repr=False)
    limit: int = 20 * MEGABYTE
    total_s: float = 60.0
    parse: Callable[[Page], Any] | None = None
    tries: int | None = None

    @property
    def method(self) -> str:
        """GET or POST."""
        return "GET" if self.body is None else "POST"

    def key(self, url: str) -> str:
        """Under what the cache keeps the answer for a URL on the way.

        What was fetched with a credential is found again only with the same one: it may be private.
        """
        secret = self.credential.value if self.credential and self.credential.belongs_to(url) else ""
        parts = (self.method, url, self.accept, secret, (self.body or b"").decode("utf-8"))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    @property
    def same(self) -> tuple[object, ...]:
        """Equal for two orders that one fetch can answer."""
        return self.key(self.url), self.credential, self.limit, self.parse, self.tries


def url_of(url: str, params: Mapping[str, Any] | None = None) -> str:
    """A URL with parameters, in one spelling; parameters that are None are left out.

    Raises:
        Blocked: It is none.
    """
    given = {k: v for k, v in (params or {}).items() if v is not None}
    try:
        whole = httpx.URL(url)
        whole = whole.copy_merge_params(given) if given else whole
        return str(whole.copy_with(fragment=None))
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise Blocked(f"{url[:200]!r} is no URL ({error}).", "Give one that begins with https://.") from None
