from __future__ import annotations

import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
pytest.register_assert_rewrite("chaos", "long_chaos")

from chaos import done, start, told  # noqa: E402
from long_chaos import check, finish, journal  # noqa: E402


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


@pytest.fixture(scope="session")
def long_whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The long session as it goes when nobody disturbs it."""
    state = tmp_path_factory.mktemp("long")
    found = finish(state)
    assert found["status"] == "done", found
    whole = {**found, "works": len(done(state)), "lines": journal(state)}
    check(state, found, whole)
    return whole


@pytest.fixture
def record_phases(request: pytest.FixtureRequest) -> Iterator[Callable[[list[str]], None]]:
    """Counts where kills fell, and says it at the end."""
    counts: Counter[str] = Counter()
    yield counts.update
    told = ", ".join(f"{phase} {count}" for phase, count in counts.most_common())
    request.config.get_terminal_writer().line(f"\nkills fell: {told}")
