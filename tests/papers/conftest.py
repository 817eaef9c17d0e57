from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.web_fixtures import make_web, serve  # noqa: F401

from ml_intern.context import Services, ToolContext
from ml_intern.settings import Settings
from ml_intern.web.client import Web


@pytest.fixture
def make_context(tmp_path: Path, make_web: Callable[..., Web]) -> Callable[..., ToolContext]:  # noqa: F811
    """``make_context(url)`` is what a tool gets; all services are at the address."""

    def make(url: str, **options: Any) -> ToolContext:
        nothing: Any = None
        names = ("arxiv", "arxiv-site", "semantic-scholar", "openalex", "huggingface")
        mirrors = dict.fromkeys(names, url)
        services = Services(
            session="s",
            folder=tmp_path / "session",
            settings=Settings(),
            files=nothing,
            datasets=nothing,
            jobs=nothing,
            ledger=nothing,
            evals=nothing,
            hub=nothing,
            emit=lambda event: None,
            web=make_web(mirrors=mirrors, manners=(), **options),
        )
        return ToolContext(services, "call-1", "key-1")

    return make
