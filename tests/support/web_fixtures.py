"""Fixtures of tests that fetch pages: a server on loopback, and what fetches from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.loopback import Answer, Loopback

from ml_intern.web.client import Engine, Web


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], Loopback]]:
    """``serve(answer)`` starts a server that ends with the test."""
    with ExitStack() as stack:
        yield lambda answer: stack.enter_context(Loopback(answer))


@pytest.fixture
def make_web(tmp_path: Path) -> Iterator[Callable[..., Web]]:
    """``make_web()`` is a fetcher with a cache of the test's own; loopback is open, waits are short."""
    with ExitStack() as stack:

        def make(**options: Any) -> Web:
            tell = options.pop("tell", lambda text: None)
            stop = options.pop("stop", lambda: False)
            folder = options.pop("folder", tmp_path / "cache")
            engine = Engine(folder, **{"private": ["127.0.0.1"], "backoff_s": 0.02, **options})
            stack.callback(engine.close)
            return Web(engine, stop, tell)

        yield make
