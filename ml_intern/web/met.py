"""The addresses that stand in pages which a session has read.

An address carries what stands in it to its host: a model that obeys a page could write a row of the person's
data into one. An address that a page gave, word for word, carries nothing but what that page's author knew.
"""

from __future__ import annotations

import html
import re
import threading
from collections.abc import Iterable
from urllib.parse import urldefrag, urljoin, urlsplit

from ml_intern.web.page import Page

MOST = 50_000
"""Addresses that are remembered; later ones are then asked about."""
LOOKED_AT = 4 << 20
"""Bytes of a page in which addresses are looked for."""

_ADDRESS = re.compile(r"https?://[^\s\"'<>\\`{}|^]+", re.I)
_LINK = re.compile(r"(?:href|src)\s*=\s*[\"']?([^\"'\s>]{1,2000})|\]\(\s*<?([^)\s>]{1,2000})", re.I)
_AFTER_AN_ADDRESS = ".,;:!?)]*_"


class Met:
    """Addresses, of which a set is kept for a session."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def learn(self, page: Page) -> None:
        """Remember every address that a page of text names or links to, and its own."""
        start = page.content[:LOOKED_AT]
        found = [page.url]
        if b"\0" not in start[:4096] and not start.startswith(b"%PDF-"):
            found += _addresses(html.unescape(start.decode("utf-8", "replace")), page.url)
        self.add(found)

    def add(self, urls: Iterable[str]) -> None:
        """Remember addresses."""
        for url in urls:
            key = _key(url)
            with self._lock:
                if key and len(self._known) < MOST:
                    self._known.add(key)

    def knows(self, url: str) -> bool:
        """Whether an address was met."""
        return _key(url) in self._known


def is_host_of(url: str, hosts: Iterable[str]) -> bool:
    """Whether a URL's host is one of these names; ``*.example.org`` stands for all below it."""
    try:
        host = (urlsplit(url).hostname or "").lower().rstrip(".")
    except ValueError:
        return False
    names = [name.lower() for name in hosts]
    return host in names or any(name.startswith("*.") and host.endswith(name[1:]) for name in names)


def _addresses(text: str, base: str) -> Iterable[str]:
    for found in _ADDRESS.finditer(text):
        yield found[0]
        yield found[0].rstrip(_AFTER_AN_ADDRESS)
    for link in _LINK.finditer(text):
        try:
            yield urljoin(base, link[1] or link[2])
        except ValueError:
            continue


def _key(url: str) -> str:
    """The form in which addresses are compared; empty for what is none."""
    try:
        parts = urlsplit(urldefrag(url).url)
    except ValueError:
        return ""
    if parts.scheme.lower() not in ("http", "https") or not parts.netloc:
        return ""
    return parts._replace(scheme="", netloc=parts.netloc.lower(), path=parts.path or "/").geturl()
