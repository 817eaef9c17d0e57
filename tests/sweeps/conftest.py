"""The services of a session, real ones, in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.sweep_services import services_in

from ml_intern.context import Services, ToolContext


@pytest.fixture
def services(tmp_path: Path) -> Services:
    return services_in(tmp_path)


@pytest.fixture
def ctx(services: Services) -> Callable[..., ToolContext]:
    """`ctx("k")` is the context of one call with its key."""

    def make(key: str = "call-1", cancelled: Callable[[], bool] = lambda: False) -> ToolContext:
        return ToolContext(services, key, key, cancelled, ("hub:read",))

    return make
