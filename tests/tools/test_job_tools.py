"""wait_for_job with rules, resume_job, cancel_job that keeps the model, diagnose_job, and Trackio's dashboard."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.curves import healthy, policy
from support.sweep_services import TINY, services_in

from ml_intern.context import Services, ToolContext
from ml_intern.errors import ToolError, UsageError
from ml_intern.jobs.model import JobSpec, JobStatus
from ml_intern.settings import Settings
from ml_intern.tools.jobs import cancel_job, diagnose_job, resume_job, wait_for_job
from ml_intern.tools.training import launch_training

WAIT_S = 240


@pytest.fixture
def services(tmp_path: Path) -> Services:
    return services_in(tmp_path)


@pytest.fixture
def ctx(services: Services) -> ToolContext:
    return ToolContext(services, "call-1", "call-1", needs=("hub:read",))


def writes(
    ctx: ToolContext, rows: list[dict], then: str = "time.sleep(600)", name: str = "curve"
) -> JobStatus:
    """A job that measures these rows, one after the other, and goes on."""
    code = f"""
import json, os, time
for row in json.loads({json.dumps(rows)!r}):
    with open(os.environ["ML_INTERN_METRICS"], "a") as file:
        file.write(json.dumps(row) + chr(10))
{then}
"""
    return ctx.jobs.submit(JobSpec(name=name, method="script", config={"code": code}))


def test_waiting_ends_when_a_rule_holds_and_says_why(ctx):
    job = writes(ctx, policy(2, 80, "length_collapse")).id
    status = wait_for_job(ctx, job, WAIT_S, "loss < -5 or reward collapse")
    assert status.state == "running" and status.met.startswith("length collapse: Completions shrank from")
    found = diagnose_job(ctx, job)
    assert "reward is had" in found.cause and found.change["beta"] == 0.04 and found.evidence
    assert cancel_job(ctx, job).state == "cancelled"


def test_a_condition_on_a_metric_that_no_job_has_is_refused(ctx):
    job = writes(ctx, healthy(0, 30, 0.0)).id
    ctx.jobs.wait([job], WAIT_S, "step >= 290")
    with pytest.raises(ToolError, match=r"No job has a metric 'los' \(did you mean 'loss'\?\)"):
        wait_for_job(ctx, job, WAIT_S, "los < 2")
    with pytest.raises(ToolError, match="is not understood"):
        wait_for_job(ctx, job, WAIT_S, "when it is done")
    ctx.jobs.cancel(job)


def test_what_would_fail_again_is_not_resumed(ctx):
    job = writes(ctx, [], "raise ValueError('no')").id
    ctx.jobs.wait([job], WAIT_S)
    with pytest.raises(ToolError, match="would end as it did"):
        resume_job(ctx, job)
    done = writes(ctx, [], "", "done").id
    ctx.jobs.wait([done], WAIT_S)
    with pytest.raises(ToolError, match="nothing to resume"):
        resume_job(ctx, done)


def test_only_a_training_has_a_model_to_keep(ctx):
    job = writes(ctx, []).id
    with pytest.raises(ToolError, match="no training"):
        cancel_job(ctx, job, keep_model=True)
    ctx.jobs.cancel(job)


def test_a_bad_condition_starts_no_training(ctx):
    with pytest.raises(ToolError, match="did you mean 'loss plateau'"):
        launch_training(ctx, "pretrain", TINY, "train", {"max_steps": 2}, stop_when="loss platau")
    assert not ctx.jobs.list()


@pytest.mark.slow
@pytest.mark.thorough
def test_killed_cancelled_resumed_and_ended_early_it_keeps_its_model(ctx, services):
    config = {"max_steps": 50_000, "logging_steps": 5, "save_steps": 20}
    services.ledger.start("h", "c", key="e")
    launched = launch_training(ctx, "pretrain", TINY, "train", config, experiment="exp-1")
    folder = services.jobs.folder_of(launched.id)
    wait_for_job(ctx, launched.id, WAIT_S, "step >= 30")
    os.kill(json.loads((folder / "status.json").read_text())["pid"], signal.SIGKILL)
    while not services.jobs.status(launched.id).recoveries:
        time.sleep(0.05)
    assert cancel_job(ctx, launched.id).state == "cancelled"
    assert resume_job(ctx, launched.id).state in ("queued", "running")
    wait_for_job(ctx, launched.id, WAIT_S, "step >= 60")
    status = cancel_job(ctx, launched.id, keep_model=True)
    assert status.state == "succeeded" and status.stopped and services.jobs.model_path(launched.id)
    told = services.ledger.get("exp-1").config
    assert told["stopped_early"] == status.stopped and told["recoveries"][0].startswith("killed at step")
    found = diagnose_job(ctx, launched.id)
    assert found.memory.peak_mb > 200 and abs(found.memory.error) < 0.5


def test_the_dashboard_has_each_row_once_and_the_alerts(tmp_path):
    pytest.importorskip("trackio")
    services = services_in(tmp_path)
    services.settings.trackio = True
    ctx = ToolContext(services, "call-1", "call-1")
    job = writes(ctx, [*policy(2, 80, "length_collapse"), {"step": 81, "loss": float("nan")}], "").id
    wait_for_job(ctx, job, WAIT_S)
    (services.jobs.folder_of(job) / "tracked").unlink()
    wait_for_job(ctx, job, WAIT_S)  # Told again, it adds nothing.
    code = (
        "import json, sys; from trackio.sqlite_storage import SQLiteStorage as s;"
        f"print(json.dumps([len(s.get_logs('session', {job!r})), [a['title'] for a in s.get_alerts('session')]]))"
    )
    env = {**os.environ, "TRACKIO_DIR": str(services.settings.state / "trackio")}
    shown = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    rows, alerts = json.loads(shown.stdout.strip().splitlines()[-1])
    assert rows == 80 and "length collapse" in alerts and len(alerts) == len(set(alerts))


def test_alerts_are_settings(monkeypatch):
    monkeypatch.setenv("ML_INTERN_ALERTS", '{"kl_limit": 3}')
    assert Settings.load().alerts == {"kl_limit": 3}
    monkeypatch.setenv("ML_INTERN_ALERTS", '{"kl": 3}')
    with pytest.raises(UsageError, match="there is no threshold 'kl'"):
        Settings.load()


def test_what_was_measured_on_rows_set_apart_stands_in_the_ledger(ctx):
    row = ctx.ledger.start("it learns", "more steps", None, 0)
    held = {"loss": {"start": 4.5, "end": 1.25}, "odd": {"end": "x"}, "rewards/parses/mean": {"end": 0.5}}
    code = f"import json; json.dump({{'final_loss': 2.0, 'held_out': {held!r}}}, open('result.json', 'w'))"
    spec = JobSpec(name="t", method="script", config={"code": code}, experiment=row.id)
    wait_for_job(ctx, ctx.jobs.submit(spec).id, WAIT_S)
    told = {"final_loss": 2.0, "held_out_loss": 1.25, "held_out_loss_at_start": 4.5}
    assert ctx.ledger.get(row.id).facts == told | {"held_out_rewards/parses/mean": 0.5}
