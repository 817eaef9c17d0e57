from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from support.web_fixtures import make_web, serve  # noqa: F401

from ml_intern.context import Services, ToolContext
from ml_intern.documentation.library import Documentation
from ml_intern.sandbox.bare import BareSandbox
from ml_intern.sandbox.base import Limits, Mounts
from ml_intern.sandbox.run import run_in_sandbox
from ml_intern.settings import Settings
from ml_intern.workspace.files import Files


@pytest.fixture
def desk(tmp_path: Path) -> ToolContext:
    """A tool's context with a sandbox that contains nothing; packages may lie in its workspace."""
    return _desk(tmp_path)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> ToolContext:
    """The same for all tests of a file that only read: what one of them had indexed, the others find."""
    return _desk(tmp_path_factory.mktemp("shelf"))


def _desk(tmp_path: Path) -> ToolContext:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (tmp_path / "project").mkdir()
    nothing: Any = None
    services = Services(
        session="s",
        folder=tmp_path,
        settings=Settings(),
        files=Files(workspace, tmp_path / "project"),
        datasets=nothing,
        jobs=nothing,
        ledger=nothing,
        evals=nothing,
        hub=nothing,
        emit=lambda event: None,
        python=sys.executable,
        docs=Documentation(tmp_path / "cache", "tests"),
    )
    sandbox = BareSandbox()
    services.run_in_sandbox = lambda argv, timeout: run_in_sandbox(
        sandbox, Mounts(workspace), Limits(), argv, timeout
    )
    return ToolContext(services, "call-1", "key-1")
