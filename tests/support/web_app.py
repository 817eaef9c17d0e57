"""The web app as a process of its own, and a browser that looks at it."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
WAIT_MS = 120_000
"""Ceiling of each wait; a machine may be slow, and every wait ends with what it waits for."""

_MISSING = [name for name in ("gradio", "playwright") if importlib.util.find_spec(name) is None]
needs_browser = pytest.mark.skipif(
    bool(_MISSING) or CHROMIUM is None,
    reason=f"missing: {', '.join([*_MISSING, *([] if CHROMIUM else ['chromium'])])}",
)


@dataclass
class Served:
    """A running web app."""

    url: str
    state: Path
    process: subprocess.Popen[str]

    def home(self, user: str) -> Path:
        """A user's state folder."""
        return self.state / "users" / user


@contextmanager
def served(
    folder: Path, *options: str, env: Mapping[str, str] | None = None, port: int = 0
) -> Iterator[Served]:
    """``ml-intern web`` on a port, or a free one, until the end of the block."""
    state = folder / "state"
    words = [sys.executable, "-m", "ml_intern", "web", "--port", str(port), "--state", str(state), *options]
    (folder / "home").mkdir(exist_ok=True)
    given = {**os.environ, "HOME": str(folder / "home"), **(env or {})}
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=folder, env=given)
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found, f"the web app ended with {process.wait(60)}"
        yield Served(found[0], state, process)
    finally:
        process.terminate()
        try:
            process.wait(60)
        finally:
            process.kill()


def add_user(file: Path, name: str, password: str) -> None:
    """Add a user as a script does."""
    words = [sys.executable, "-m", "ml_intern", "web", "--users", str(file), "--add-user", name]
    subprocess.run(words, input=password, text=True, check=True, capture_output=True)


_BROWSERS_OWN = re.compile(
    r"CONNECT (content-autofill|optimizationguide-pa|update|safebrowsing|clientservices|clients\d|accounts)"
    r"\.google(apis)?\.com:443 "
)
"""What Chromium asks its maker by itself, as what a login form's fields mean; fonts are not among it."""


class Elsewhere(ThreadingHTTPServer):
    """A proxy for every host but the app's: it writes down what is asked and refuses it.

    Playwright can tell of requests too, but loses count of them now and then, and then a test fails for it.
    """

    daemon_threads = True

    def __init__(self) -> None:
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), _Refusing)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def but(self, host: str) -> dict[str, str]:
        """The proxy as Playwright wants it; `host` (with its port) is reached directly."""
        return {"server": f"http://127.0.0.1:{self.server_address[1]}", "bypass": f"<-loopback>,{host}"}


class _Refusing(BaseHTTPRequestHandler):
    server: Elsewhere

    def handle_one_request(self) -> None:
        self.close_connection = True
        asked = self.rfile.readline(65537).decode("latin-1").strip()
        if asked and not _BROWSERS_OWN.match(asked):
            self.server.asked.append(asked)
        if asked:
            self.wfile.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


@dataclass
class Visitor:
    """A person at a page.

    Attributes:
        page: Playwright's.
        strayed: Requests that were made to others than the app's server.
    """

    page: Any
    url: str
    strayed: list[str] = field(default_factory=list)

    def log_in(self, name: str, password: str) -> None:
        """Fill in the login page and come to the app."""
        self.page.goto(self.url)
        self.page.fill("input[name=name]", name)
        self.page.fill("input[name=password]", password)
        self.page.click("button")
        self.ready()

    def ready(self) -> None:
        """Wait until the server has told the page what is there."""
        self.page.wait_for_selector("#mi-status .mi-what", timeout=WAIT_MS)

    def choose(self, model: str) -> None:
        """Take a model for the next new session."""
        field_ = self.page.locator("#mi-model input")
        if not field_.is_visible():
            self.page.get_by_text("Model and budget").click()
        field_.click(timeout=WAIT_MS)
        self.page.get_by_role("option", name=model).click()

    def say(self, words: str) -> None:
        """Write into the box and send it."""
        self.page.fill("#mi-prompt textarea", words)
        self.page.click("#mi-send")

    def sees(self, selector: str, words: str = "") -> None:
        """Wait until an element with these words is there."""
        found = self.page.locator(selector).filter(has_text=words) if words else self.page.locator(selector)
        found.first.wait_for(state="visible", timeout=WAIT_MS)

    def waits_for(self, state: str) -> None:
        """Wait until the session is in a state: new, working, asks, waiting, over."""
        self.page.wait_for_selector(f'body[data-mi="{state}"]', timeout=WAIT_MS)

    @property
    def session(self) -> str:
        """The id of the session that the page shows, as its address has it."""
        return parse_qs(urlsplit(self.page.url).query).get("session", [""])[0]

    def leave(self) -> None:
        """Close the person's pages."""
        with in_time():
            self.page.context.close()

    def shoot(self, folder: Path, name: str) -> None:
        """A picture; also into $ML_INTERN_SCREENSHOTS, for the docs."""
        for place in filter(None, (str(folder), os.environ.get("ML_INTERN_SCREENSHOTS"))):
            Path(place).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=str(Path(place) / f"{name}.png"))


def requests_of(page: Any) -> list[str]:
    """The addresses that a page asks from now on, as Chromium itself tells them."""
    asked: list[str] = []
    told = page.context.new_cdp_session(page)
    told.on("Network.requestWillBeSent", lambda event: asked.append(event["request"]["url"]))
    told.send("Network.enable")
    return asked


@contextmanager
def browsing() -> Iterator[Any]:
    """A browser."""
    from playwright.sync_api import sync_playwright

    manager = sync_playwright()
    browser = manager.__enter__().chromium.launch(executable_path=CHROMIUM, args=FLAGS)
    try:
        yield browser
    finally:
        try:
            with in_time():
                browser.close()
        finally:
            with in_time():
                manager.__exit__(None, None, None)
            # A driver that had to be ended can leave its loop marked as running: no later test could have one.
            asyncio._set_running_loop(None)


CLOSING_S = 15.0
"""How long a close may take; it takes a fifth of a second."""


@contextmanager
def in_time(seconds: float = CLOSING_S) -> Iterator[None]:
    """Close things of the browser, without its driver where that does not answer.

    Seen seldom: the driver stood still in a lock of its own for signals, after Chromium had ended and all was
    tested, and the tests waited for it without end.
    """
    from playwright.sync_api import Error

    timer = threading.Timer(seconds, _end_drivers)
    timer.start()
    try:
        yield
    except Error:
        if _children(os.getpid()):
            raise
        warnings.warn("The browser's driver did not answer and was ended.", stacklevel=3)
    finally:
        timer.cancel()


def _end_drivers() -> None:
    for driver in _children(os.getpid()):
        for pid in (*_children(driver, named=b"chrom"), driver):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _children(of: int, named: bytes = b"playwright") -> list[int]:
    """The children of a process, by a part of their command line; of this one, the drivers that it has started."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == of and named in (place / "cmdline").read_bytes():
                found.append(int(place.name))
    return found


def visit(browser: Any, url: str, width: int = 1280, height: int = 860, **options: Any) -> Visitor:
    """A person with cookies of their own."""
    elsewhere = Elsewhere()
    context = browser.new_context(
        viewport={"width": width, "height": height}, proxy=elsewhere.but(urlsplit(url).netloc), **options
    )
    context.on("close", lambda _: elsewhere.shutdown())
    page = context.new_page()
    visitor = Visitor(page, url, elsewhere.asked)
    page.set_default_timeout(WAIT_MS)
    return visitor
