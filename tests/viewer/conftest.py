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
def make_web(tmp_path: Path) -> Iterator[Callable[[str], Web]]:
    """``make_web(url)`` fetches from a viewer at that address; waits are short."""
    with ExitStack() as stack:

        def make(url: str, **options: Any) -> Web:
            mirrors = {"dataset-viewer": url}
            engine = Engine(tmp_path / "cache", mirrors=mirrors, backoff_s=0.01, manners=(), **options)
            stack.callback(engine.close)
            return Web(engine)

        yield make
