"""Fixtures that several folders of tests share; a conftest takes them by importing the names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from support.openai_server import ScriptedServer


@pytest.fixture
def scripted_server() -> Iterator[Callable[..., ScriptedServer]]:
    """``scripted_server(["a reply", {"status": 429}])`` starts a server that ends with the test."""
    with ExitStack() as stack:

        def start(replies: list[str | dict[str, Any]] | None = None, **options: Any) -> ScriptedServer:
            return stack.enter_context(ScriptedServer(replies or [], **options))

        yield start
