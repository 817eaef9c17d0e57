"""One request on the wire: through judged connections or the person's proxy, and in its host's turn."""

from __future__ import annotations

import ssl
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import urlsplit

import httpcore
import httpx

from ml_intern.errors import UsageError
from ml_intern.retry import limits_rate, retry_after, used_up
from ml_intern.secrets.masking import mask
from ml_intern.web.addresses import Doors, GuardedBackend
from ml_intern.web.cache import stamp
from ml_intern.web.errors import Unreachable
from ml_intern.web.manners import Manners, manners_of
from ml_intern.web.pace import Pacer

SENDING = "ml_intern.sending"
PASSING = (408, 425, 429)
"""Statuses below 500 that pass by themselves."""
BEGINNING = 4096
"""Bytes of an error's page that are read."""
_LIMITS = httpx.Limits(max_connections=32, max_keepalive_connections=16, keepalive_expiry=15)


class Later(Exception):
    """An answer that may be another one in a while: a rate limit, an error of the server.

    Attributes:
        response: Its status and headers.
        body: The beginning of what it said.
    """

    def __init__(self, host: str, response: httpx.Response, body: bytes) -> None:
        super().__init__(f"{host} answered with status {response.status_code}")
        self.response = response
        self.body = body


@dataclass(frozen=True)
class Sending:
    """What a request needs on the wire beside itself.

    Attributes:
        body: JSON of a question that is asked by POST; to the cache it is a GET under a key of its own.
        key: The header of a credential. It is put on here, since the cache writes down what it sees.
        stop: True ends the waiting.
        tell: Hears of long waits.
    """

    body: bytes | None = None
    key: Mapping[str, str] = field(default_factory=dict, repr=False)
    stop: Callable[[], bool] = lambda: False
    tell: Callable[[str], None] = lambda text: None


class Wire(httpx.BaseTransport):
    """Sends requests. Redirects are not followed here.

    Args:
        doors: Judge of addresses.
        pacer: Keeper of turns.
        manners: What is known of hosts.
    """

    def __init__(self, doors: Doors, pacer: Pacer, manners: tuple[Manners, ...]) -> None:
        self.sent = 0
        self._doors, self._pacer, self._manners = doors, pacer, manners
        self._lock = threading.Lock()
        self._transports: dict[str, httpx.HTTPTransport] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request and give its answer, whose body is still to be read."""
        sending: Sending = request.extensions.get(SENDING) or Sending()
        manners = manners_of(request.url.host, self._manners)
        transport = self._transport(request.url)
        with ExitStack() as turn:
            turn.enter_context(self._pacer.turn(manners, bool(sending.key), sending.stop, sending.tell))
            with self._lock:
                self.sent += 1
            response = transport.handle_request(_on_the_wire(request, sending))
            if _passes(response):
                raise self._later(request.url.host, manners, response, bool(sending.key))
            if left := used_up(response.headers):  # the next request would be refused
                self._pacer.hold(manners, left, bool(sending.key))
            stamp(response, manners.fresh_s)
            assert isinstance(response.stream, httpx.SyncByteStream)
            response.stream = _WithTurn(response.stream, turn.pop_all())
        return response

    def leave_alone(self, host: str, seconds: float, keyed: bool) -> None:
        """Nobody asks a host before so many seconds have passed, with a key or without one."""
        self._pacer.hold(manners_of(host, self._manners), seconds, keyed)

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            for transport in self._transports.values():
                transport.close()
            self._transports.clear()

    def _later(self, host: str, manners: Manners, response: httpx.Response, keyed: bool) -> Later:
        """Whoever else asks this host waits as well, so that a rate limit is not run into again and again.

        Raised, not answered: the cache would throw its older answer away.
        """
        body = _beginning(response)
        response.close()
        later = Later(host, response, body)
        if asked := retry_after(later):
            self._pacer.hold(manners, asked, keyed)
        return later

    def _transport(self, url: httpx.URL) -> httpx.HTTPTransport:
        proxy = _proxy_for(url)
        if proxy:
            self._check_before_proxy(url)
        with self._lock:
            if proxy not in self._transports:
                self._transports[proxy] = self._make(proxy)
            return self._transports[proxy]

    def _make(self, proxy: str) -> httpx.HTTPTransport:
        if not proxy:
            return _Direct(GuardedBackend(self._doors))
        try:
            return httpx.HTTPTransport(verify=_tls(), proxy=proxy, limits=_LIMITS)
        except (ImportError, ValueError) as error:
            raise UsageError(
                f"The proxy of the environment cannot be used: {mask(str(error))}.",
                "Name one as http://HOST:PORT.",
            ) from None

    def _check_before_proxy(self, url: httpx.URL) -> None:
        """Behind a proxy it is the proxy that resolves; what can be resolved here is judged all the same."""
        try:
            self._doors.addresses(url.host, url.port or 443)
        except Unreachable:
            return


class _Direct(httpx.HTTPTransport):
    """httpx's transport over a pool whose connections are judged; httpx itself takes no backend."""

    def __init__(self, backend: httpcore.NetworkBackend) -> None:
        # httpx would read the certificates again for the pool that is put aside below.
        super().__init__(verify=_tls(), limits=_LIMITS)
        self._pool = httpcore.ConnectionPool(
            ssl_context=_tls(),
            max_connections=_LIMITS.max_connections,
            max_keepalive_connections=_LIMITS.max_keepalive_connections,
            keepalive_expiry=_LIMITS.keepalive_expiry,
            network_backend=backend,
        )


class _WithTurn(httpx.SyncByteStream):
    """A body whose end is the end of its host's turn."""

    def __init__(self, body: httpx.SyncByteStream, turn: ExitStack) -> None:
        self._body, self._turn = body, turn

    def __iter__(self) -> Iterator[bytes]:
        yield from self._body

    def close(self) -> None:
        try:
            self._body.close()
        finally:
            self._turn.close()


@cache
def _tls() -> ssl.SSLContext:
    """Certificates are read once a process: that takes a tenth of a second."""
    return httpx.create_ssl_context()


def _passes(response: httpx.Response) -> bool:
    """Whether an answer may be another one in a while."""
    status = response.status_code
    return status in PASSING or status >= 500 or limits_rate(Later("", response, b""))


def _beginning(response: httpx.Response) -> bytes:
    try:
        return next(response.iter_raw(BEGINNING), b"")
    except httpx.TransportError:
        return b""


def _on_the_wire(request: httpx.Request, sending: Sending) -> httpx.Request:
    extensions = {"timeout": request.extensions["timeout"]} if "timeout" in request.extensions else {}
    headers = httpx.Headers({**request.headers, **sending.key})
    if sending.body is None:
        return httpx.Request("GET", request.url, headers=headers, extensions=extensions)
    headers["content-type"] = "application/json"
    return httpx.Request("POST", request.url, headers=headers, content=sending.body, extensions=extensions)


def _proxy_for(url: httpx.URL) -> str:
    """The proxy that the environment names for a URL; empty for none."""
    proxies = urllib.request.getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all") or ""
    netloc = urlsplit(str(url)).netloc
    if not proxy or urllib.request.proxy_bypass(netloc):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"
