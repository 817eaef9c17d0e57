"""A credential and the hosts that it belongs to: requests to any other go out without it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

import httpx

from ml_intern.secrets.masking import SHORTEST

_PORTS = {"https": 443, "http": 80}
_HEADERS = ("authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-goog-api-key")
"""Headers that carry credentials, as the providers call them."""
_ORIGIN = "ml_intern.origin"

C = TypeVar("C", bound=httpx.Client)


@dataclass(frozen=True)
class Credential:
    """A secret value that is shown to nobody but its own hosts.

    Attributes:
        value: The secret.
        hosts: Where it may go. ``api.example.com`` is that host over https, ``.example.com`` the domain and
            all below it, ``http://127.0.0.1:8000`` exactly this address.
        header: The header that carries it.
        prefix: What stands before it in the header.
    """

    value: str = field(repr=False)
    hosts: tuple[str, ...]
    header: str = "Authorization"
    prefix: str = "Bearer "

    def belongs_to(self, url: str) -> bool:
        """Whether a request to a URL may carry it."""
        try:
            parts = urlsplit(url)
            return any(_fits(host, parts) for host in self.hosts)
        except ValueError:
            return False

    def headers_for(self, url: str) -> dict[str, str]:
        """The header for a request to a URL; none where it does not belong."""
        return {self.header: f"{self.prefix}{self.value}"} if self.belongs_to(url) else {}

    def auth(self) -> httpx.Auth:
        """For httpx: adds the header to requests to the credential's hosts, and takes it off all others."""
        return _OwnHosts(self)

    def __str__(self) -> str:
        return repr(self)


class _OwnHosts(httpx.Auth):
    def __init__(self, credential: Credential) -> None:
        self._credential = credential

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers.pop(self._credential.header, None)
        request.headers.update(self._credential.headers_for(str(request.url)))
        yield request


class Keeper:
    """Knows credentials that libraries of others send, and takes them off requests to foreign hosts.

    httpx strips ``Authorization`` where a server redirects to another origin. That is not enough: libraries
    follow redirects and links by themselves, and other headers carry keys as well.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, Credential] = {}

    def keep(self, credential: Credential) -> None:
        """From now on it goes to its hosts only; hosts told earlier stay. A short word is no secret."""
        if len(credential.value) < SHORTEST:
            return
        with self._lock:
            before = self._known.get(credential.value)
            hosts = dict.fromkeys((*(before.hosts if before else ()), *credential.hosts))
            self._known = self._known | {credential.value: Credential(credential.value, tuple(hosts))}

    def check(self, request: httpx.Request) -> None:
        """Take off what does not belong; a hook that httpx calls for each request, redirected ones too."""
        url = str(request.url)
        origin = request.extensions.setdefault(_ORIGIN, origin_of(url))
        foreign = origin != origin_of(url)
        for name, value in list(request.headers.items()):
            kept = [c for secret, c in self._known.items() if secret in value]
            strayed = any(not c.belongs_to(url) for c in kept)
            if strayed or (foreign and name.lower() in _HEADERS and not kept):
                del request.headers[name]

    def guard(self, client: C) -> C:
        """Have a client's requests checked; the client."""
        hooks = client.event_hooks
        if self.check not in hooks["request"]:
            client.event_hooks = {**hooks, "request": [*hooks["request"], self.check]}
        return client

    def guarding(self, factory: Callable[..., C]) -> Callable[..., C]:
        """A maker of clients whose clients are guarded."""

        def make(*arguments: object, **options: object) -> C:
            return self.guard(factory(*arguments, **options))

        return make


KEEPER = Keeper()
"""The one of this process: libraries keep their clients for the whole of it."""


def origin_of(url: str) -> str:
    """``scheme://host:port``, in small letters, the port always said; empty where the URL is none."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return ""
    host = (parts.hostname or "").rstrip(".")
    return f"{parts.scheme}://{host}:{port}" if host and port else ""


def hosts_of(urls: Iterable[str]) -> tuple[str, ...]:
    """URLs as hosts of a credential: exactly these addresses."""
    return tuple(origin for url in urls if (origin := origin_of(url)))


def _fits(host: str, parts: SplitResult) -> bool:
    if "://" in host:
        return origin_of(host) == origin_of(parts.geturl())
    if parts.scheme != "https" or (parts.port or 443) != 443:
        return False
    name = (parts.hostname or "").rstrip(".")
    if host.startswith("."):
        return name == host[1:] or name.endswith(host)
    return name == host
