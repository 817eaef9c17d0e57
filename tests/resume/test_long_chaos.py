"""A session of forty steps and more, killed at any moment and at chosen ones, ends as if nothing had been."""

from __future__ import annotations

import os
import random
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chaos import told
from long_chaos import begin, check, finish, phases

KILLS = int(os.environ.get("RESUME_LONG_KILLS", "5"))
"""At random moments, in all; the variable asks for more."""
SEED = int(os.environ.get("RESUME_SEED", "1"))
MOST_STARTS = 60

PLACES = (
    "brain:before brain:after cell:before cell:after "
    "decision/rent:before intent/rent:before intent/rent:after result/rent:before result/rent:after "
    "cell_done:before cell_done:after "
    "intent/start_experiment:after result/start_experiment:before "
    "intent/launch_training:after result/launch_training:before mark/training:after "
    "intent/launch_script:before intent/launch_script:after result/launch_script:before mark/job:after "
    "intent/write_file:after result/write_file:before intent/edit_file:before intent/edit_file:after "
    "result/edit_file:before result/edit_file:after "
    "intent/note:after result/note:before:2 intent/run_command:after result/run_command:before "
    "mark/waiting:after result/wait_for_job:before "
    "question/announce:before question/announce:after mark/question:after answer/announce:before "
    "answer/announce:after intent/announce:after result/announce:before "
    "mark/question:after standing:before standing:after intent/announce:before "
    "mark/summary:after compaction:before compaction:after settled:before settled:after "
    "result/rent:before:2 result/finish_experiment:before "
    "intent/publish_dataset:after mark/push:after mark/pushed:after result/publish_dataset:before "
    "mark/question:after answer/publish_model:after intent/publish_model:after mark/push:after "
    "mark/pushed:after result/publish_model:before finished:before finished:after"
).split()
"""Places by name, see `long_child.Aim`, in the order in which a session comes by."""
COUNT = int(os.environ.get("RESUME_PLACES", "12"))
AIMED = [PLACES[n * len(PLACES) // COUNT] for n in range(COUNT)] if COUNT < len(PLACES) else PLACES
"""Those at which it is killed; the variable asks for more, 99 for all."""
MUST_MEET = ("in a summary", "a question is open", "a job runs", "a training runs", "in a push", "in a cell")


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
