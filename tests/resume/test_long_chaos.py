"""A session of forty steps and more, killed at any moment and at chosen ones, ends as if nothing had been."""

from __future__ import annotations

import os
import random
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chaos import done, told
from long_places import PLACES

pytest.register_assert_rewrite("long_chaos")
from long_chaos import begin, check, finish, journal, phases  # noqa: E402

KILLS = int(os.environ.get("RESUME_LONG_KILLS", "5"))
"""At random moments, in all; the variable asks for more."""
SEED = int(os.environ.get("RESUME_SEED", "1"))
MOST_STARTS = 60

COUNT = int(os.environ.get("RESUME_PLACES", "12"))
AIMED = [PLACES[n * len(PLACES) // COUNT] for n in range(COUNT)] if len(PLACES) > COUNT else PLACES
"""Those at which it is killed; the variable asks for more, 99 for all."""
MUST_MEET = ("in a summary", "a question is open", "a job runs", "a training runs", "in a push", "in a cell")


@pytest.fixture(scope="module")
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


@pytest.mark.slow
@pytest.mark.timeout(120 + 20 * len(AIMED))
def test_kills_at_chosen_places(long_whole: dict[str, Any], tmp_path: Path) -> None:
    """One session, killed at one place after the other, each of them in the process that the last kill left."""
    met = Counter[str]()
    for place in AIMED:
        found = told(begin(tmp_path, KILL_AT=place))
        assert found is None, f"it was not killed at {place}"
        met.update(phases(tmp_path))
    check(tmp_path, finish(tmp_path), long_whole)
    for phase in () if len(AIMED) < len(PLACES) else MUST_MEET:
        assert met[phase], (phase, met)
