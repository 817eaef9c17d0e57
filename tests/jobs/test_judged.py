"""A diagnosis beside what the ledger knows: a run that was measured to be worse is never healthy."""

from __future__ import annotations

import pytest

from ml_intern.jobs.diagnosis import diagnose
from ml_intern.jobs.judged import held_against_parent
from ml_intern.jobs.model import JobSpec, JobStatus
from ml_intern.ledger import Comparison, Ledger, Measured, Scores

WELL = [{"step": n, "loss": 2 + 4 * 0.8**n} for n in range(60)]


@pytest.fixture
def ledger(tmp_path):
    made = Ledger(tmp_path / "ledger.sqlite")
    yield made
    made.close()


def measure(ledger, id, value, job):
    ledger.attach(id, job=job)
    score = Measured(value=value, low=value - 0.03, high=value + 0.03, n=213, higher_is_better=True)
    ledger.record(
        id,
        "reverse",
        "dev",
        Scores(
            eval="reverse",
            split="dev",
            model=f"m-{id}",
            primary="exact_match",
            metrics={"exact_match": score},
        ),
    )


def diagnosed(ledger, own, job="dpo-1", rate=1e-4):
    parent = ledger.start("begins", "nothing", None, 0)
    measure(ledger, parent.id, 0.95, "sft-1")
    child = ledger.start("better by pairs", "dpo", parent.id, 0)
    if own is not None:
        measure(ledger, child.id, own, "dpo-1")
    spec = JobSpec(name="dpo", method="dpo", experiment=child.id, config={"trainer": {"learning_rate": rate}})
    status = JobStatus(id=job, name="dpo", method="dpo", state="succeeded")
    return held_against_parent(diagnose(status, WELL, spec), spec, ledger)


def test_a_run_that_scores_worse_than_its_parent_is_not_healthy(ledger):
    found = diagnosed(ledger, 0.535)
    assert not found.healthy and "dev exact_match 0.535 against 0.95 of exp-1: worse." in found.cause
    assert found.findings[-1].kind == "worse" and found.change == {"learning_rate": 1e-5}


def test_a_better_one_says_so_beside_its_curves(ledger):
    found = diagnosed(ledger, 1.05)
    assert found.healthy and found.evidence[-1].endswith("of exp-1: better.") and not found.change


def test_what_was_compared_item_by_item_counts_more_than_intervals(ledger):
    ledger.record_comparison(
        Comparison(
            a="exp-1", b="exp-2", eval="reverse", metric="exact_match", value_a=0.95, value_b=0.94,
            difference=-0.01, low=-0.015, high=-0.005, p=0.001, n=213, higher_is_better=True, verdict="worse",
            method="paired bootstrap",
        )
    )  # fmt: skip
    assert not diagnosed(ledger, 0.94).healthy


def test_overlapping_intervals_are_not_called_worse(ledger):
    found = diagnosed(ledger, 0.94)
    assert found.healthy and found.evidence[-1].endswith("not clearly apart.")


def test_a_job_whose_model_was_not_the_one_measured_is_left_alone(ledger):
    found = diagnosed(ledger, 0.5, job="dpo-2")
    assert found.healthy and "exact_match" not in " ".join(found.evidence)


def test_without_a_score_the_curves_alone_speak(ledger):
    assert diagnosed(ledger, None).healthy


def test_the_luck_of_a_seed_is_no_worse_model(ledger):
    parent = ledger.start("begins", "nothing", None, 0)
    measure(ledger, parent.id, 0.95, "sft-1")
    again = ledger.start("does not hang on its seed", "seed 7", parent.id, 7)
    measure(ledger, again.id, 0.5, "sft-2")
    for id in (parent.id, again.id):
        ledger.attach(id, config={"method": "sft", "learning_rate": 1e-4})
    spec = JobSpec(name="sft", method="sft", experiment=again.id)
    status = JobStatus(id="sft-2", name="sft", method="sft", state="succeeded")
    assert held_against_parent(diagnose(status, WELL, spec), spec, ledger).healthy


def test_a_comparison_counts_for_all_seeds_of_a_configuration(ledger):
    parent = ledger.start("begins", "nothing", None, 0)
    measure(ledger, parent.id, 0.95, "sft-1")
    rows = [ledger.start("better by pairs", "dpo", parent.id, 0)]
    rows += [ledger.start("holds", "seed 5", parent.id, 5, replicates=rows[0].id)]
    for number, row in enumerate(rows):
        ledger.attach(row.id, config={"method": "dpo", "learning_rate": 1e-4})
        measure(ledger, row.id, 0.94, f"dpo-{number}")
    ledger.record_comparison(
        Comparison(
            a=parent.id, b=rows[0].id, eval="reverse", metric="exact_match", value_a=0.95, value_b=0.94,
            difference=-0.01, low=-0.015, high=-0.005, p=0.001, n=213, higher_is_better=True, verdict="worse",
            method="paired bootstrap",
        )
    )  # fmt: skip
    spec = JobSpec(name="dpo", method="dpo", experiment=rows[1].id)
    status = JobStatus(id="dpo-1", name="dpo", method="dpo", state="succeeded")
    assert not held_against_parent(diagnose(status, WELL, spec), spec, ledger).healthy
