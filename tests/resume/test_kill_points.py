"""Killed before or after a line of the journal, and resumed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from chaos import check, start, told

POINTS = int(os.environ.get("RESUME_POINTS", "8"))
"""Lines at which the run is killed, evenly spread; the variable asks for more."""


@pytest.mark.thorough
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_a_line(whole: dict[str, Any], tmp_path: Path, when: str) -> None:
    lines = whole["lines"]
    points = sorted({1 + n * (lines - 1) // max(1, POINTS - 1) for n in range(POINTS)})
    for point in points:
        state = tmp_path / str(point)
        state.mkdir()
        assert told(start(state, KILL_AT=f"{point}:{when}")) is None
        found = told(start(state))
        assert found is not None
        check(state, found, whole)
