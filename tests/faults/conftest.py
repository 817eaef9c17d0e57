from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from provider import Provider
from scripted_run import TEXTS, Run


@pytest.fixture
def provider() -> Iterator[Callable[..., Provider]]:
    """``provider([status(429)])`` starts one that plays these faults, then the script of the run."""
    running: list[Provider] = []

    def start(faults: Any = (), texts: Any = TEXTS, **more: Any) -> Provider:
        running.append(Provider(texts, faults, **more))
        return running[-1]

    yield start
    for one in running:
        one.stop()


@pytest.fixture
def run(tmp_path: Path, own_state: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run whose first wait is short."""
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    monkeypatch.setattr("ml_intern.brains.waiting.FIRST_BACKOFF_S", 0.05)
    return Run(tmp_path)
