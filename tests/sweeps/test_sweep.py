"""A sweep over real trainings, tiny ones: trials side by side, killed in the middle, picked by dev scores."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.sweep_services import services_in
from sweeping_child import ASKED, BASE

from ml_intern.context import ToolContext
from ml_intern.errors import Interrupted, ToolError
from ml_intern.tooling import specs_in
from ml_intern.tools import sweeping
from ml_intern.tools.sweeping import sweep

WAIT_S = 240
SPACE = {"lr": {"low": 1e-4, "high": 1e-1, "log": True}}
[SPEC] = specs_in(sweeping)


@pytest.mark.slow
@pytest.mark.thorough
def test_killed_with_9_it_goes_on_and_trains_nothing_twice(tmp_path: Path):
    child = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("sweeping_child.py")), str(tmp_path)]
    )
    services = services_in(tmp_path)
    deadline = time.monotonic() + WAIT_S
    while not any(e.facts for e in services.ledger.list()):  # until the first trial has ended
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    before = {job.id: job.created for job in services.jobs.list()}

    # The router asks the tool what came of the call; that is where it goes on.
    ctx = ToolContext(services, "call-1", "the-key", needs=("hub:read",))
    found = SPEC.reconcile(ctx, "the-key")
    assert [t.state for t in found.trials] == ["complete"] * 4
    jobs = services.jobs.list()
    assert len(jobs) == 4 and {j.id: j.created for j in jobs if j.id in before} == before
    assert all(j.state == "succeeded" for j in jobs)
    assert found.best.value == min(t.value for t in found.trials) and found.best is not None
    rows = services.ledger.list()
    assert len(rows) == 4 and {e.verdict for e in rows if e.id != found.best.experiment} == {"discarded"}
    assert services.ledger.get(found.best.experiment).verdict == "open"
    assert (
        services.ledger.get(found.best.experiment).config["learning_rate"]
        == found.best.params["learning_rate"]
    )
    assert found.best.experiment in found.next and "new seeds" in found.next
    assert "training rows" in found.notes[0]

    # Asked once more with the same key it tells the same and starts nothing.
    assert sweep(ctx, **ASKED) == found and len(services.jobs.list()) == 4


@pytest.mark.slow
@pytest.mark.thorough
def test_the_dev_measure_picks_and_interrupted_jobs_run_on(services, ctx):
    items = [{"text": f"y_{n} = {n} * {n + 1}"} for n in range(30)]
    services.evals.register("held", items, ["bits_per_byte"], "bits_per_byte", input="text")
    stop = []
    asked = {"base": BASE, "space": SPACE, "metric": "bits_per_byte", "trials": 2}
    with pytest.raises(Interrupted):
        sweep(ctx("k", lambda: bool(stop or stop.append(1) or services.jobs.list())), **asked)
    found = sweep(ctx("k"), **asked)
    assert found.eval == "held" and not found.higher_is_better and not found.notes
    assert len(services.jobs.list()) == 2
    measured = [t for t in found.trials if t.state == "complete"]
    for trial in measured:
        assert services.ledger.get(trial.experiment).dev["bits_per_byte"].value == trial.value
    assert found.best.value == min(t.value for t in measured)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"base": {**BASE, "methd": "x"}}, "did you mean 'method'"),
        ({"base": {"method": "pretrain"}}, "missing 'model'; missing 'dataset'"),
        ({"base": {**BASE, "method": "pretran"}}, "did you mean 'pretrain'"),
        ({"base": {**BASE, "config": {"learning_rat": 1}}}, "did you mean 'learning_rate'"),
        ({"base": "job-9"}, "no job 'job-9'"),
        ({"space": {"learning_rat": [1e-3, 1e-2]}}, "did you mean 'learning_rate'"),
        ({"space": {"lr": [1e-3, "fast"]}}, "learning_rate = 'fast' must be"),
        ({"space": {"lr": [1e-3, 1e-2], "learning_rate": [1, 2]}}, "names learning_rate twice"),
        ({"space": {"batch_size": {"low": 0, "high": 8}}}, "must be above zero"),
        ({"space": {"model": {"low": 0, "high": 8}}}, "from a list only"),
        ({"space": {"report_to": ["none", "all"]}}, "report_to is set by the job"),
        ({"metric": "eval_loss"}, "rows that are set apart"),
        ({"metric": "niceness"}, "which way is up"),
        ({"eval": "nothing"}, "nothing"),
        ({"trials": 0}, "between 1 and 500"),
        ({"parallel": 0}, "at least 1"),
        ({"parent": "exp-7"}, "no experiment 'exp-7'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_told_before_anything_starts(services, ctx, change, words):
    asked = {"base": BASE, "space": SPACE, "metric": "loss", **change}
    with pytest.raises(ToolError) as caught:
        sweep(ctx(), **asked)
    assert words in str(caught.value)
    assert not services.jobs.list() and not services.ledger.list()


def test_more_trials_than_dev_queries_are_refused(services, ctx):
    items = [{"text": f"y_{n} = {n} * {n + 1}"} for n in range(30)]
    services.evals.register("held", items, ["bits_per_byte"], "bits_per_byte", input="text")
    with pytest.raises(ToolError, match="dev queries left"):
        sweep(ctx(), BASE, SPACE, "bits_per_byte", trials=400)


def test_trials_that_all_fail_end_the_sweep_with_the_reason(services, ctx):
    """The dataset is no dataset: each trial fails before its job starts."""
    with pytest.raises(ToolError, match="trials failed") as caught:
        sweep(ctx(), {**BASE, "dataset": "nowhere"}, SPACE, "loss", trials=9, parallel=1)
    assert "nowhere" in str(caught.value)
    rows = services.ledger.list()
    assert len(rows) == 3 and {e.verdict for e in rows} == {"crashed"} and not services.jobs.list()


def test_the_price_is_that_of_all_trials(ctx):
    given = SPEC.validate({"base": BASE, "space": SPACE, "metric": "loss", "trials": 7})
    price = SPEC.price(ctx(), given)
    assert (price.jobs, price.usd) == (7, 0.0)
