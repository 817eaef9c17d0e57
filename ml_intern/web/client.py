"""What tools fetch pages with: ``ctx.web.get(url)``."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.secrets.credentials import Credential
from ml_intern.web.addresses import Doors
from ml_intern.web.cache import Cache
from ml_intern.web.fetching import Fetcher
from ml_intern.web.flights import Flights
from ml_intern.web.manners import MANNERS, Manners
from ml_intern.web.met import Met
from ml_intern.web.orders import MEGABYTE, Order, url_of
from ml_intern.web.pace import Pacer
from ml_intern.web.page import Page
from ml_intern.web.wire import Wire

if TYPE_CHECKING:
    from ml_intern.settings import Settings

TRIES = 4
PATIENCE_S = 600.0
"""Longest wait for one page, turns and retries included."""


class Engine:
    """The parts that all calls of a session share.

    Args:
        folder: Of the cache; sessions that name the same one share pages and turns.
        size: Bytes that the cache may take.
        offline: Answer from the cache alone.
        private: Hosts and networks that are open though they are not public.
        mirrors: Other addresses of services, by name.
        contact: Where the operator of a server finds the person, for the User-Agent.
        manners: What is known of hosts.
        tries: Further tries after the first.
        backoff_s: Scale of the waits between tries.
    """

    def __init__(
        self,
        folder: Path,
        *,
        size: int = 1024 * MEGABYTE,
        offline: bool = False,
        private: Sequence[str] = (),
        mirrors: Mapping[str, str] | None = None,
        contact: str = "",
        manners: tuple[Manners, ...] = MANNERS,
        tries: int = TRIES,
        backoff_s: float = 1.0,
    ) -> None:
        self.offline = offline
        self.mirrors = {name: url.rstrip("/") for name, url in (mirrors or {}).items()}
        self.flights = Flights()
        self.met = Met()
        self._folder, self._size = folder, size
        self.doors = Doors((*private, *self.mirrors.values()))
        self._agent, self._manners = user_agent(contact), manners
        self._tries, self._backoff_s = tries, backoff_s
        self._lock = threading.Lock()
        self._fetcher: Fetcher | None = None

    @property
    def fetcher(self) -> Fetcher:
        """Made at the first page: a session that reads none leaves no trace."""
        with self._lock:
            if self._fetcher is None:
                folder = _writable(self._folder)
                wire = Wire(self.doors, Pacer(folder / "turns"), self._manners)
                cache = Cache(folder, self._size)
                self._fetcher = Fetcher(
                    wire, cache, self.doors, self._agent, self.offline, self._tries, self._backoff_s
                )
            return self._fetcher

    @property
    def cache(self) -> Cache:
        """Where pages are kept."""
        return self.fetcher.cache

    def close(self) -> None:
        """Close connections and the cache's file; the next page opens them again."""
        with self._lock:
            if self._fetcher is not None:
                self._fetcher.close()


@dataclass(frozen=True)
class Web:
    """Pages of the internet, for one call.

    Attributes:
        engine: Shared.
        stop: True ends all waiting.
        tell: Hears of waits and retries.
    """

    engine: Engine
    stop: Callable[[], bool] = field(default=lambda: False, repr=False)
    tell: Callable[[str], None] = field(default=lambda text: None, repr=False)

    @classmethod
    def of(cls, settings: Settings, env: Mapping[str, str] = os.environ) -> Web:
        """As the settings say; ``HF_HUB_OFFLINE`` counts as well."""
        return cls(
            Engine(
                settings.web_cache.expanduser(),
                size=settings.web_cache_mb * MEGABYTE,
                offline=settings.offline or _is_on(env.get("HF_HUB_OFFLINE", "")),
                private=settings.web_private,
                mirrors=settings.web_mirrors,
                contact=settings.web_contact,
            )
        )

    def for_call(self, stop: Callable[[], bool], tell: Callable[[str], None]) -> Web:
        """The same for a call with its own switch and reporter."""
        return replace(self, stop=stop, tell=tell)

    @property
    def offline(self) -> bool:
        """Whether only the cache answers."""
        return self.engine.offline

    def base(self, service: str, official: str) -> str:
        """Where a service is: a mirror that the settings name, else its own address."""
        return self.engine.mirrors.get(service, official)

    def met(self, url: str) -> bool:
        """Whether a page of this session gave this address, or the person has opened its host."""
        return self.engine.met.knows(url) or self.engine.doors.opens(url)

    def meet(self, urls: Iterable[str]) -> None:
        """Remember addresses that a page gave in a form of its own."""
        self.engine.met.add(urls)

    def get(self, url: str, params: Mapping[str, Any] | None = None, **options: Any) -> Page:
        """Fetch a page, or take it from the cache.

        Args:
            url: http or https, public.
            params: Added to the URL.
            options: `accept`, `credential`, `limit` (bytes), `total_s`, `parse`; see `Order`.

        Raises:
            WebError: It cannot be had.
            Interrupted: `stop` said so.
        """
        return self._fetch(Order(url_of(url, params), **options))

    def get_json(self, url: str, params: Mapping[str, Any] | None = None, **options: Any) -> Page:
        """Fetch JSON; `Page.data` holds it."""
        return self.get(url, params, **{"accept": "application/json", "parse": Page.json, **options})

    def ask_json(
        self,
        url: str,
        question: object,
        params: Mapping[str, Any] | None = None,
        credential: Credential | None = None,
        **options: Any,
    ) -> Page:
        """Ask by POST what only reads. The answer is cached like that of a GET."""
        body = json.dumps(question, sort_keys=True, separators=(",", ":")).encode()
        defaults = {"accept": "application/json", "parse": Page.json}
        return self._fetch(Order(url_of(url, params), body, credential=credential, **{**defaults, **options}))

    def leave_alone(self, url: str, seconds: float, credential: Credential | None = None) -> None:
        """Nobody asks a host before so many seconds have passed: it said so in its own words."""
        keyed = credential is not None and credential.belongs_to(url)
        self.engine.fetcher.leave_alone(url, seconds, keyed)

    def _fetch(self, order: Order) -> Page:
        # A new function each time: who leaves takes only its own away.
        def tell(text: str) -> None:
            self.tell(text)

        engine = self.engine
        page = engine.flights.fetch(
            order.same, lambda flight: engine.fetcher.fetch(order, flight), self.stop, tell, PATIENCE_S
        )
        engine.met.learn(page)
        return page


@cache
def _version() -> str:
    try:
        return version("ml-intern")
    except PackageNotFoundError:
        return "0"


def user_agent(contact: str = "") -> str:
    """Who asks, and where its person can be reached."""
    # What is no printable ASCII could end the header.
    shown = "".join(c for c in contact if " " <= c <= "~" and c not in "()")[:200]
    return f"ml-intern/{_version()} (research assistant{f'; {shown}' if shown else ''})"


def _writable(folder: Path) -> Path:
    """The folder, or one of this process alone where nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return Path(tempfile.mkdtemp(prefix="ml-intern-web-"))


def _is_on(value: str) -> bool:
    return value.strip().upper() in ("1", "ON", "YES", "TRUE")
