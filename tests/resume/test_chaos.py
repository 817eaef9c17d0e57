"""A run is killed again and again and resumed: the same answer, and nothing done twice."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
from chaos import check, start, told

KILLS = int(os.environ.get("RESUME_KILLS", "12"))
"""In all; the variable asks for more."""
MOST_STARTS = 60


@pytest.mark.thorough
def test_the_run_itself_is_as_meant(whole: dict[str, Any]) -> None:
    assert whole["answer"].endswith("succeeded 1") and whole["works"] == 7
    assert whole["spent"]["jobs"] == 1 and whole["spent"]["usd"] > 1 and whole["jobs"][0][1] == "succeeded"


@pytest.mark.slow
@pytest.mark.thorough
def test_kills_at_any_moment(whole: dict[str, Any], tmp_path: Path) -> None:
    chance, kills, run = random.Random(KILLS), 0, 0
    while kills < KILLS:
        run += 1
        state = tmp_path / str(run)
        state.mkdir()
        for _ in range(MOST_STARTS):
            process = start(state)
            try:
                process.wait(chance.uniform(0.3, 1.0) * whole["took"] if kills < KILLS else 120)
            except subprocess.TimeoutExpired:
                process.kill()
            found = told(process)
            if found is not None:
                break
            kills += 1
        assert found is not None
        check(state, found, whole)
