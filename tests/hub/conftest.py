from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants

from ml_intern.hub.server import ServerThread


@pytest.fixture(autouse=True)
def plain_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a user sets in the environment: the client reads it at import, so it is set where it went."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "storage"


@pytest.fixture
def server(root: Path) -> Iterator[ServerThread]:
    running = ServerThread(root)
    yield running
    running.stop()


@pytest.fixture
def api(server: ServerThread) -> HfApi:
    return HfApi(endpoint=server.endpoint, token="any")


@pytest.fixture
def in_child(server: ServerThread, tmp_path: Path) -> Callable[..., str]:
    """Run a script as a user would: a fresh process that knows the Hub from ``HF_ENDPOINT`` alone."""

    def run(script: str, **more: str) -> str:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "HF_HOME": str(tmp_path / "hf"),
            "HF_ENDPOINT": server.endpoint,
            "HF_HUB_DISABLE_XET": "1",
            "HF_TOKEN": "any",
            "NO_PROXY": "127.0.0.1,localhost",
            "OMP_NUM_THREADS": "1",
            **more,
        }
        done = subprocess.run(
            [sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=200, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
