"""Fine-tunings that ruin what they began with, and such as go well: real curves of small models on a CPU.

One was asked for a learning rate of 3; of two DPO trainings one lost half of its dev score; one pretraining
learned its rows by heart; two fine-tunings of a converged model jump to fifty times its loss and are well.
"""

from __future__ import annotations

import random
from pathlib import Path

import polars as pl
import pytest

from ml_intern.jobs.curves import rows
from ml_intern.jobs.diagnosis import diagnose
from ml_intern.jobs.model import JobSpec, JobStatus
from ml_intern.jobs.noting import notes_on
from ml_intern.jobs.rules import look
from ml_intern.jobs.runs import NOTES, Run
from ml_intern.jobs.thresholds import Thresholds

CURVES = Path(__file__).with_name("curves")
WELL = ["dpo_healthy", "sft_converged", "sft_jumps_at_first"]


def table(name):
    return rows(CURVES / f"{name}.jsonl")


def first_alarm(name, kind):
    """The step at which somebody who looks at each row sees it."""
    every = table(name)
    for count in range(1, len(every)):
        if kind in [seen.kind for seen in look(Run(every[:count]))]:
            return every[count - 1]["step"]
    return None


def ended(name, rate=None, method="sft", state="succeeded"):
    every = table(name)
    status = JobStatus(
        id="j-1", name="j", method=method, state=state, step=every[-1]["step"], total_steps=300
    )
    asked = {"learning_rate": rate} if rate else {}
    return diagnose(status, every, JobSpec(name="j", method=method, config={"asked": asked}))


@pytest.mark.parametrize("name", WELL)
def test_what_went_well_raises_no_alarm_at_any_time(name):
    every = table(name)
    for count in range(1, len(every) + 1):
        found = look(Run(every[:count], over=count == len(every)))
        assert not [seen for seen in found if seen.kind not in NOTES], count


@pytest.mark.parametrize("name", WELL)
def test_what_went_well_says_so_in_numbers(name):
    found = ended(name)
    assert found.healthy and found.cause.startswith("Nothing looks wrong: loss 0.") and "→" in found.cause
    assert "ended before it was done" not in found.cause and not found.change


def test_a_converged_fine_tuning_is_called_so_however_it_falls_by_shares_of_nothing():
    found = ended("sft_converged")
    assert "loss 0.0373 → 0.00129, eval_loss 0.0717 → 0.0266" in found.cause and "converged" in found.cause
    assert [f.kind for f in found.findings] == ["plateau"]


def test_a_rate_of_three_is_seen_within_ten_steps():
    assert first_alarm("sft_blown_up", "divergence") <= 10


def test_a_rate_of_three_is_told_to_the_end_against_the_start_with_the_rate_to_try():
    found = ended("sft_blown_up", 3.0)
    assert not found.healthy and found.findings[0].kind == "divergence"
    assert "from 0.0717 to 689 by step 10 and ends at 2.24, 31 times where it began" in found.evidence[0]
    assert "learning_rate 3 is too high for this, about 1,000 times: try 0.003" in found.cause
    assert found.change["learning_rate"] == 0.003 and "max_steps" not in found.change


def test_it_is_told_at_every_step_between_as_well():
    """Its loss falls for two hundred steps below what blind guessing costs, and is ruined all the same."""
    every = table("sft_blown_up")
    for count in range(5, len(every)):
        assert "divergence" in [seen.kind for seen in look(Run(every[:count]))], count


def test_a_loss_that_ends_above_its_start_is_told_though_it_never_was_far():
    rng = random.Random(0)
    every = [
        {"step": n + 1, "loss": 1.0 + (0.5 if n > 4 else 0.1 * n) + rng.gauss(0, 0.02)} for n in range(60)
    ]
    [found] = [seen for seen in look(Run(every, over=True)) if seen.kind == "divergence"]
    assert 1.4 < found.evidence["ratio"] < 1.6


def test_chosen_answers_that_become_less_likely_are_seen_half_way():
    assert first_alarm("dpo_displaced", "displaced") <= 50


def test_chosen_answers_that_become_less_likely_are_explained_with_a_gentler_rate():
    found = ended("dpo_displaced", 1e-4, "dpo")
    assert (
        not found.healthy and "likelihood displacement" in found.cause and '["sigmoid", "sft"]' in found.cause
    )
    assert "from -0.00491 to -1.83" in found.evidence[0] and "margin grew" in found.evidence[0]
    assert found.change == {"learning_rate": 1e-5}


def test_without_rows_set_apart_the_batches_tell():
    every = [{k: v for k, v in row.items() if not k.startswith("eval_")} for row in table("dpo_displaced")]
    assert "displaced" in [seen.kind for seen in look(Run(every, over=True))]


def test_long_answers_may_lose_some_nats():
    every = [
        {
            "step": 10 * n,
            "loss": 0.69 - 0.03 * n,
            "eval_logps/chosen": -150.0 - 2 * n,
            "rewards/margins": 0.1 * n,
        }
        for n in range(11)
    ]
    assert not [seen for seen in look(Run(every)) if seen.kind == "displaced"]


def test_overfitting_is_seen_at_the_second_rise():
    """0.841 at step 210, 0.893 at 240, 0.932 at 270; second differences of its uneven fall called it noise."""
    assert first_alarm("pretrain_overfit", "overfitting") == 270


def test_eval_loss_that_wanders_is_not_taken_for_a_turn():
    """Down to a floor and about it by a percent: of many such curves next to none is called overfitting."""
    alarms = 0
    for seed in range(200):
        rng = random.Random(seed)
        every = [
            {"step": n, "loss": 1 + 4 * 0.9**n + rng.gauss(0, 0.01)}
            | ({"eval_loss": (1.1 + 4 * 0.9**n) * (1 + rng.gauss(0, 0.01))} if n % 5 == 0 else {})
            for n in range(100)
        ]
        alarms += any(
            seen.kind == "overfitting" for count in range(10, 100, 5) for seen in look(Run(every[:count]))
        )
    assert alarms <= 8


def test_what_was_best_before_the_first_step_is_told_at_the_end():
    every = [{"step": n + 1, "loss": 1.0 * 0.97**n} for n in range(60)]
    every += [{"step": n, "eval_loss": 1.0 + n / 60} for n in range(0, 61, 10)]
    every.sort(key=lambda row: row["step"])
    spec = JobSpec(name="j", method="sft", config={"asked": {"lr": 1e-3}})
    found = diagnose(JobStatus(id="j-1", name="j", method="sft", state="succeeded"), every, spec)
    assert [f.kind for f in found.findings] == ["overfitting"] and found.change == {"lr": 1e-4}
    assert not look(Run(every[:40]))


def test_no_fall_is_told_as_more_than_all():
    every = [{"step": n, "loss": 100 * 0.8**n} for n in range(30)]
    [found] = look(Run(every, over=True))
    assert found.kind == "still_falling" and 0.5 < found.evidence["share"] < 1


def test_a_job_that_runs_well_says_how_far_it_is():
    every = table("sft_converged")[:12]
    status = JobStatus(id="j-1", name="j", method="sft", state="running", step=90, total_steps=300)
    found = diagnose(status, every)
    assert found.healthy and found.cause.startswith(
        "Nothing looks wrong so far, at step 90 of 300: loss 0.0373"
    )


PAIRS = pl.DataFrame({"prompt": ["a", "b", "c"], "chosen": ["x", "y", "z"], "rejected": ["x", "n", "m"]})


@pytest.mark.parametrize(
    ("trainer", "count"),
    [
        ({"learning_rate": 3.0}, 1),
        ({"learning_rate": 3.0, "optim": "sgd"}, 0),
        ({"learning_rate": 0.05}, 0),
        ({}, 0),
    ],
    ids=["adam", "sgd", "high", "none"],
)
def test_a_rate_beyond_all_use_is_noted(trainer, count):
    assert len(list(notes_on("sft", trainer, PAIRS, Thresholds()))) == count


def test_pairs_without_a_difference_are_counted():
    [note] = notes_on("dpo", {}, PAIRS, Thresholds())
    assert note.startswith("1 of 3 pairs")
