"""A session of forty steps and more, killed at any moment and at chosen ones, ends as if nothing had been."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chaos import told
from long_chaos import begin, check, phases

KILLS = int(os.environ.get("RESUME_LONG_KILLS", "5"))
"""At random moments, in all; the variable asks for more."""
SEED = int(os.environ.get("RESUME_SEED", "1"))
MOST_STARTS = 60


def life(chance: random.Random) -> float:
    """Seconds until the next kill: mostly soon after the start, sometimes late enough for a publication."""
    return chance.uniform(0.7, 3.0) if chance.random() < 0.75 else chance.uniform(3.0, 14.0)


@pytest.mark.slow
@pytest.mark.timeout(60 + 20 * KILLS)
def test_kills_at_any_moment(
    long_whole: dict[str, Any], tmp_path: Path, record_phases: Callable[[list[str]], None]
) -> None:
    chance, kills, run = random.Random(SEED), 0, 0
    while kills < KILLS:
        run += 1
        state, found = tmp_path / str(run), None
        for _ in range(MOST_STARTS):
            process = begin(state)
            try:
                process.wait(life(chance) if kills < KILLS else 200)
            except subprocess.TimeoutExpired:
                process.kill()
            found = told(process)
            if found is not None:
                break
            kills += 1
            record_phases(phases(state))
        assert found is not None
        check(state, found, long_whole)
