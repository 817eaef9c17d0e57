from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from outside_kit import Loopback, Make, Start
from support.gated import FakeJobs

from ml_intern.events import Event
from ml_intern.journal.journal import Journal
from ml_intern.router.budget import Budget, parse_budget
from ml_intern.router.gate import Gate
from ml_intern.router.router import Router
from ml_intern.settings import Settings
from ml_intern.tooling import ToolSpec
from ml_intern.workspace.files import Files


@pytest.fixture
def start() -> Iterator[Start]:
    """Start servers; they are ended with the test."""
    pytest.importorskip("mcp", reason="the package mcp is not installed")
    from ml_intern.outside.mcp_servers import McpServers

    running: list[McpServers] = []

    def begin(servers: dict[str, Any], **env: str) -> McpServers:
        running.append(McpServers(servers, env))
        return running[-1]

    yield begin
    for servers in running:
        servers.close()


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A real router, gate, budget and journal around some tools."""

    def build(specs: list[ToolSpec], budget: str = "", approver: Any = None, **settings: Any) -> Router:
        events: list[Event] = []
        workspace = tmp_path / "workspace"
        workspace.mkdir(exist_ok=True)
        services: Any = SimpleNamespace(
            session="s1",
            settings=Settings.load(**settings),
            emit=events.append,
            events=events,
            files=Files(workspace, project=workspace),
            jobs=FakeJobs(),
            evals=SimpleNamespace(jobs=FakeJobs()),
        )
        ceiling = Budget(parse_budget(budget))
        gate = Gate(services.settings.policy, ceiling, services.settings.yes)
        return Router(specs, services, gate, ceiling, Journal(tmp_path / "journal.sqlite"), approver)

    return build


@pytest.fixture
def serve() -> Iterator[Callable[..., Loopback]]:
    pytest.importorskip("mcp", reason="the package mcp is not installed")
    running: list[Loopback] = []

    def begin(token: str | None = None) -> Loopback:
        running.append(Loopback(token))
        return running[-1]

    yield begin
    for server in running:
        server.stop()
