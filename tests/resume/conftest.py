from __future__ import annotations

import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from chaos import done, start, told


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What comes of the run that nobody disturbs, how long it takes, and its lines in the journal."""
    state = tmp_path_factory.mktemp("whole")
    began = time.monotonic()
    found = told(start(state))
    assert found is not None and found["status"] == "done", found
    [journal] = state.glob("sessions/*/journal.sqlite")
    lines = sqlite3.connect(journal).execute("select count(*) from journal").fetchone()[0]
    return {**found, "took": time.monotonic() - began, "lines": lines, "works": len(done(state))}
