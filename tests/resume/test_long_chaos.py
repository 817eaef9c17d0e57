"""A session of forty steps and more, killed at any moment and at chosen ones, ends as if nothing had been."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chaos import done, told
from long_places import PLACES

pytest.register_assert_rewrite("long_chaos")
from long_chaos import begin, check, finish, journal, killed_at, phases  # noqa: E402

KILLS = int(os.environ.get("RESUME_LONG_KILLS", "3"))
"""At random moments, in all; the variable asks for more."""
SEED = int(os.environ.get("RESUME_SEED", "1"))
A_RUN = 10
"""Kills of one session; then it goes on to its end."""

COUNT = int(os.environ.get("RESUME_PLACES", "10"))
AIMED = [PLACES[n * len(PLACES) // COUNT] for n in range(COUNT)] if len(PLACES) > COUNT else PLACES
"""Those at which it is killed; the variable asks for more, 99 for all."""
AHEAD = 8
"""A summary may come a few steps sooner or later: so many of the next places count."""
MUST_MEET = ("in a summary", "a question is open", "a job runs", "a training runs", "in a push", "in a cell")


@pytest.fixture(scope="module")
def long_whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The long session as it goes when nobody disturbs it."""
    state = tmp_path_factory.mktemp("long")
    began = time.monotonic()
    found = finish(state)
    assert found["status"] == "done", found
    whole = {**found, "took": time.monotonic() - began, "works": len(done(state)), "lines": journal(state)}
    check(state, found, whole)
    return whole


@pytest.fixture
def record_phases(request: pytest.FixtureRequest) -> Iterator[Callable[[list[str]], None]]:
    """Counts where kills fell, and says it at the end."""
    counts: Counter[str] = Counter()
    yield counts.update
    told = ", ".join(f"{phase} {count}" for phase, count in counts.most_common())
    request.config.get_terminal_writer().line(f"\nkills fell: {told}")


def killed(state: Path, chance: random.Random, took: float) -> dict[str, Any] | None:
    """Go on for a while: so many lines of the journal, or so many seconds. What came of it, if it ended."""
    if chance.random() < 0.5:
        return told(
            begin(state, KILL_AT=f"line:{chance.choice(['before', 'after'])}:{chance.randint(1, 150)}")
        )
    process = begin(state)
    try:
        process.wait(chance.uniform(0.05, 0.4) * took)
    except subprocess.TimeoutExpired:
        process.kill()
    return told(process)


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.timeout(120 + 20 * KILLS)
def test_kills_at_any_moment(
    long_whole: dict[str, Any], tmp_path: Path, record_phases: Callable[[list[str]], None]
) -> None:
    chance, kills, run = random.Random(SEED), 0, 0
    while kills < KILLS:
        run += 1
        state, found = tmp_path / str(run), None
        for _ in range(min(A_RUN, KILLS - kills)):
            found = killed(state, chance, long_whole["took"])
            if found is not None:
                break
            kills += 1
            record_phases(phases(state))
        check(state, found or finish(state), long_whole)


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.timeout(120 + 20 * len(AIMED))
def test_kills_at_chosen_places(long_whole: dict[str, Any], tmp_path: Path) -> None:
    """One session, killed at one place after the other, each of them in the process that the last kill left."""
    left, met, found = list(AIMED), Counter[str](), None
    while left:
        found = told(begin(tmp_path, KILL_AT=" ".join(left[:AHEAD])))
        if found is not None:
            break
        left.remove(killed_at(tmp_path))
        met.update(phases(tmp_path))
    check(tmp_path, found or finish(tmp_path), long_whole)
    assert left == []
    for phase in () if len(AIMED) < len(PLACES) else MUST_MEET:
        assert met[phase], (phase, met)
