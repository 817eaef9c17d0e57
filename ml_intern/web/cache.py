"""Pages on disk, shared by all sessions of a person: RFC 9111 by hishel, with a ceiling on the size.

hishel keeps entries in SQLite (WAL, so several processes may use one file), revalidates by ETag and
Last-Modified, and drops what was not used for longest. Ours is what it does not do: the age of an entry,
answers without a server, and a file that is damaged.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from hishel import Entry, SqliteStorage

FILE = "pages-2.db"
FETCHED = "x-ml-intern-fetched"
"""Our own header in stored answers: when it was fetched or last found unchanged, seconds since the epoch."""
LARGEST_PAGE = 256 << 20


class Cache:
    """The pages of one folder. Opened at the first use.

    Args:
        folder: Where the file is.
        size: Bytes that it may take.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.path = folder / FILE
        self._size = size
        self._lock = threading.Lock()
        self._opened: SqliteStorage | None = None

    @property
    def storage(self) -> SqliteStorage:
        """hishel's."""
        with self._lock:
            if self._opened is None:
                self._opened = self._open()
            return self._opened

    def over(self, transport: httpx.BaseTransport) -> httpx.BaseTransport:
        """A transport that looks here first."""
        from hishel import CacheOptions
        from hishel.httpx import CacheTransport

        rules = CacheOptions(shared=False, supported_methods=["GET", "HEAD"], allow_stale=False)
        return _Late(lambda: CacheTransport(transport, self.storage, rules))

    def newest(self, key: str) -> Entry | None:
        """The youngest entry under a key, fresh or not."""
        return max(self.storage.get_entries(key), key=fetched_at, default=None)

    def drop(self, key: str) -> None:
        """Forget the youngest entry under a key: it turned out to be unreadable. An older one stays."""
        if entry := self.newest(key):
            self.storage.remove_entry(entry.id)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    def _open(self) -> SqliteStorage:
        from hishel import SqliteStorage

        # Without a handler its warnings, a full disk say, would go to the person's terminal.
        logging.getLogger("hishel").addHandler(logging.NullHandler())
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _set_aside_damaged(self.path)
        return SqliteStorage(
            database_path=self.path, max_size=self._size, max_stream_size=min(LARGEST_PAGE, self._size)
        )


class _Late(httpx.BaseTransport):
    """Makes its transport anew for each request, so that a cache that was closed is opened again."""

    def __init__(self, make: Callable[[], httpx.BaseTransport]) -> None:
        self._make = make

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._make().handle_request(request)


def fetched_at(entry: Entry) -> float:
    """Seconds since the epoch; 0 where that is not known."""
    try:
        return float(entry.response.headers.get(FETCHED) or 0)
    except ValueError:
        return 0.0


def raw_body(entry: Entry) -> Iterator[bytes]:
    """An entry's body as it came from the wire."""
    for chunk in entry.response.stream or ():  # type: ignore[union-attr]
        yield bytes(chunk)


def stamp(response: httpx.Response, fresh_s: float) -> None:
    """Note the time of an answer in it, and how long it keeps where its server does not say."""
    headers = response.headers
    headers[FETCHED] = f"{time.time():.3f}"
    if response.status_code >= 400:
        headers["cache-control"] = "no-store"
    elif response.status_code == 304:
        return  # what stands in the stored answer stays
    elif "cache-control" not in headers and "expires" not in headers and "pragma" not in headers:
        headers["cache-control"] = f"max-age={fresh_s:.0f}"


def _set_aside_damaged(path: Path) -> None:
    """A file that is no database is moved out of the way: a cache is never worth an error."""
    if not path.exists():
        return
    try:
        connection = sqlite3.connect(path, timeout=5)
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        if not isinstance(error, sqlite3.OperationalError):
            path.replace(path.with_suffix(".damaged"))
