"""Fetches a page: cache, turns, redirects, retries, and an older copy where none can be fetched."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from urllib.parse import urljoin

import httpx

from ml_intern.retry import LONGEST_WAIT_S, limits_rate, retry_after, run_with_retry
from ml_intern.secrets.masking import mask
from ml_intern.web.addresses import Doors
from ml_intern.web.bodies import ACCEPTED, Truncated, read_bounded
from ml_intern.web.cache import Cache, fetched_at, raw_body
from ml_intern.web.errors import BadAnswer, Missing, NotCached, Throttled, TooLarge, Unreachable, WebError
from ml_intern.web.flights import Flight
from ml_intern.web.orders import Order, url_of
from ml_intern.web.page import Page, age_in_words
from ml_intern.web.wire import BEGINNING, SENDING, Later, Sending, Wire

MOST_HOPS = 5
DAMAGED_TRIES = 2
"""How often an answer that cannot be read is asked for again."""
LARGEST_ERROR = 1 << 20
CONNECT_S = 10.0
SILENCE_S = 30.0
_REDIRECTS = (301, 302, 303, 307, 308)


class Damaged(httpx.RemoteProtocolError):
    """An answer that cannot be read, which may be whole the next time."""


class Fetcher:
    """Fetches orders.

    Args:
        wire: Where requests go.
        cache: Where pages are kept.
        doors: Judge of URLs.
        agent: Our name.
        offline: Answer from the cache alone.
        tries: Further tries after the first.
        backoff_s: Scale of the waits between tries where the server names none.
    """

    def __init__(
        self, wire: Wire, cache: Cache, doors: Doors, agent: str, offline: bool, tries: int, backoff_s: float
    ) -> None:
        self.offline = offline
        self.cache = cache
        self._doors, self._agent, self._tries, self._backoff_s = doors, agent, tries, backoff_s
        self._wire = wire
        self._transport = cache.over(wire)

    def close(self) -> None:
        """Close connections and the cache's file."""
        self._wire.close()
        self.cache.close()

    def leave_alone(self, url: str, seconds: float, keyed: bool) -> None:
        """Nobody asks a URL's host before so many seconds have passed, with a key or without one."""
        self._wire.leave_alone(_host(url), seconds, keyed)

    def fetch(self, order: Order, flight: Flight) -> Page:
        """The page.

        Raises:
            WebError: It cannot be had; says why.
        """
        if self.offline:
            return self._remembered(order, "offline")
        damaged: list[str] = []
        try:
            return run_with_retry(
                lambda: self._follow(order, flight, damaged),
                tries=self._tries if order.tries is None else min(self._tries, order.tries),
                report=flight.tell,
                stop=flight.abandoned,
                base_s=self._backoff_s,
            )
        except (Later, httpx.TransportError, Unreachable, Throttled, BadAnswer) as error:
            failure = _explained(error, order)
            try:
                return self._remembered(order, failure.message.rstrip("."))
            except (NotCached, BadAnswer, TooLarge):
                raise failure from None

    def _follow(self, order: Order, flight: Flight, damaged: list[str]) -> Page:
        """Fetch, and go where the answers lead, each address judged anew."""
        url = order.url
        for _ in range(MOST_HOPS + 1):
            self._doors.check(url)
            page = self._asked(order, url, flight)
            target = _target(page, order)
            if target is None:
                return self._judged(order, page, damaged)
            url = target
        raise BadAnswer(f"{order.url} leads from one address to the next, more than {MOST_HOPS} times.")

    def _asked(self, order: Order, url: str, flight: Flight) -> Page:
        """One address; whoever asks for more patience than a call has is not asked again."""
        try:
            return self._one(order, url, flight)
        except Later as later:
            if (retry_after(later) or 0) > LONGEST_WAIT_S:
                raise _explained(later, order) from None
            raise

    def _one(self, order: Order, url: str, flight: Flight) -> Page:
        """One address, from the cache or the wire."""
        response = self._transport.handle_request(self._request(order, url, flight))
        begun = time.monotonic()

        def look() -> None:
            if flight.abandoned():
                raise WebError("Nobody waits for this page any more.")
            if time.monotonic() - begun > order.total_s:
                raise Unreachable(f"{url} took longer than {order.total_s:.0f} s.", "Try again later.")

        try:
            content = _body(response, order, _host(url), look)
        except Truncated as error:
            self.cache.drop(order.key(url))
            raise Damaged(f"{_host(url)}: {error}") from None
        except (RuntimeError, sqlite3.Error) as error:  # hishel's: another process cleaned up meanwhile
            raise Damaged(f"the cache lost a page of {_host(url)} ({error})") from None
        finally:
            response.close()
        age = _age(response.headers.get("x-ml-intern-fetched"))
        cached = bool((response.extensions.get("caching") or {}).get("from_cache"))
        return Page(
            url, response.status_code, dict(response.headers), content, cached, age if cached else 0.0
        )

    def _request(self, order: Order, url: str, flight: Flight) -> httpx.Request:
        own = order.credential.headers_for(url) if order.credential else {}
        headers = {"User-Agent": self._agent, "Accept": order.accept, "Accept-Encoding": ACCEPTED}
        sending = Sending(order.body, own, flight.abandoned, flight.tell)
        extensions = {
            "caching": {"key": order.key(url)},
            "timeout": httpx.Timeout(SILENCE_S, connect=CONNECT_S).as_dict(),
            SENDING: sending,
        }
        return httpx.Request("GET", url, headers=headers, extensions=extensions)

    def _judged(self, order: Order, page: Page, damaged: list[str]) -> Page:
        """A page that can be read.

        Raises:
            Damaged: It cannot, but may be whole the next time.
            WebError: It is an error of its own, or could never be read.
        """
        if page.status >= 300:
            raise _refusal(page)
        if order.parse is None:
            return page
        try:
            return replace(page, data=order.parse(page))
        except ValueError as error:
            self.cache.drop(order.key(page.url))
            damaged.append(str(error))
            told = f"The answer of {_host(page.url)} cannot be read: {_short(str(error))}"
            if len(damaged) > DAMAGED_TRIES:
                raise BadAnswer(f"{told}.", "It may be whole later.", page.status, page.content) from None
            raise Damaged(told) from None

    def _remembered(self, order: Order, why: str) -> Page:
        """What the cache holds, however old.

        Raises:
            NotCached: Nothing.
        """
        url = order.url
        for _ in range(MOST_HOPS + 1):
            self._doors.check(url)
            page = self._kept(order, url)
            target = _target(page, order)
            if target is None:
                note = f"{why}: this is a copy from the cache, {age_in_words(page.age_s)} old"
                return _parsed(order, replace(page, note=mask(note)))
            url = target
        raise NotCached(f"{order.url} is not in the cache.")

    def _kept(self, order: Order, url: str) -> Page:
        entry = self.cache.newest(order.key(url))
        if entry is None:
            raise NotCached(
                f"{_host(url)} cannot be asked offline, and the cache does not hold {_shown(url)}.",
                "Ask again online (setting offline, variable HF_HUB_OFFLINE).",
            )
        headers = httpx.Headers(list(entry.response.headers.items()))
        encoding = headers.get("content-encoding", "")
        try:
            content = read_bounded(raw_body(entry), encoding, order.limit, _host(url), lambda: None)
        except Truncated as error:
            raise NotCached(f"What the cache holds of {_host(url)} cannot be read: {error}.") from None
        age = max(0.0, time.time() - fetched_at(entry))
        return Page(url, entry.response.status_code, dict(headers), content, True, age)


def _parsed(order: Order, page: Page) -> Page:
    """A page from the cache; one that cannot be read counts as none.

    Raises:
        NotCached: It cannot be read.
    """
    if page.status >= 300:
        raise NotCached(f"The cache holds an error of {_host(page.url)} only.")
    try:
        return replace(page, data=order.parse(page)) if order.parse else page
    except ValueError as error:
        raise NotCached(f"What the cache holds of {_host(page.url)} cannot be read: {error}.") from None


def _body(response: httpx.Response, order: Order, host: str, look: Callable[[], None]) -> bytes:
    """An answer whole, an error's page only as far as anybody reads it."""
    encoding = response.headers.get("content-encoding", "")
    if response.status_code < 400:
        return read_bounded(response.iter_raw(), encoding, order.limit, host, look)
    return read_bounded(islice(response.iter_raw(BEGINNING), 1), encoding, LARGEST_ERROR, host, look)


def _target(page: Page, order: Order) -> str | None:
    """Where an answer sends us; None where it is the page itself.

    Raises:
        BadAnswer: To where nobody should follow.
    """
    location = page.headers.get("location")
    if page.status not in _REDIRECTS or not location:
        return None
    target = url_of(_joined(page.url, location))
    if page.url.startswith("https:") and not target.startswith("https:"):
        raise BadAnswer(f"{_host(page.url)} leads from https to {target[:200]}, which is not followed.")
    if order.body is not None and page.status not in (307, 308):
        raise BadAnswer(f"{_host(page.url)} sends a question that was asked by POST elsewhere.")
    return target


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        return location


def _refusal(page: Page) -> WebError:
    """An error for a status that no further try changes."""
    said = _said(page.content)
    about = f": {said}" if said else ""
    body = page.content[:BEGINNING]
    if page.status in (404, 410):
        return Missing(
            f"{_shown(page.url)} does not exist{about}.", "Check the name or the id.", page.status, body
        )
    hint = "A key or a token may be missing or wrong." if page.status in (401, 403) else ""
    told = f"{_host(page.url)} refuses the request with status {page.status}{about}."
    return WebError(told, hint, page.status, body)


def _explained(error: Exception, order: Order) -> WebError:
    """A failure that outlived all tries, in one line."""
    host = _host(order.url)
    if isinstance(error, WebError):
        return error
    if isinstance(error, Later):
        status = error.response.status_code
        asked = retry_after(error)
        when = f"; it asks to wait {asked:.0f} s" if asked else ""
        if limits_rate(error):
            return Throttled(
                f"{host} limits the rate of requests (status {status}){when}.", "Ask less, or later.", status
            )
        told = f"{host} answers with status {status}{when}."
        return Unreachable(told, "Try again later.", status, error.body)
    told = _short(str(error)) or type(error).__name__
    return Unreachable(f"{host} gives no answer ({told}).", "Check the network, or try again later.")


def _said(body: bytes) -> str:
    """What an error's page says, where it is one line of JSON; markup is left out."""
    try:
        found = httpx.Response(200, content=body).json()
    except (ValueError, RecursionError):
        return ""
    if isinstance(found, dict):
        said = found.get("error") or found.get("message") or found.get("detail") or ""
        return _short(str(said.get("message", "") if isinstance(said, dict) else said)).rstrip(".")
    return ""


def _short(text: str, limit: int = 200) -> str:
    line = mask(" ".join(text.split()))
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def _shown(url: str) -> str:
    """An address without its parameters, which may be a line of field names."""
    return url.partition("?")[0][:300]


def _host(url: str) -> str:
    return httpx.URL(url).host if "://" in url else url[:100]


def _age(fetched: str | None) -> float:
    try:
        return max(0.0, time.time() - float(fetched or 0))
    except ValueError:
        return 0.0
