from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from research_kit import Talks, session
from support.fixtures import scripted_server  # noqa: F401

from ml_intern.session.session import Session

Begin = Callable[..., Session]


@pytest.fixture
def begin(own_state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Begin:
    """A session over a brain, with a workspace that holds two files; with a folder, one that goes on."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "alpha.txt").write_text("alpha is 1\n")
    (tmp_path / "work" / "beta.txt").write_text("beta is 2\n")

    def make(brain: Talks, **given: Any) -> Session:
        return session(own_state, brain, **{"workspace": tmp_path / "work", **given})

    return make
