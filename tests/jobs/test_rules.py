"""Rules on curves: the ill are found, and the healthy, however noisy, are left alone."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.curves import healthy, policy

from ml_intern.jobs.curves import rows
from ml_intern.jobs.diagnosis import diagnose
from ml_intern.jobs.model import Failure, JobSpec, JobStatus
from ml_intern.jobs.rules import look
from ml_intern.jobs.runs import NOTES, Run
from ml_intern.jobs.thresholds import Thresholds

SAME = settings(max_examples=60, derandomize=True, deadline=None, database=None)


def alarms(rows, over=True):
    return [seen.kind for seen in look(Run(rows, over)) if seen.kind not in NOTES]


def looks(rows):
    """As somebody watches: again and again while it grows, and once at the end."""
    for count in range(8, len(rows), max(1, len(rows) // 15)):
        yield from alarms(rows[:count], over=False)
    yield from alarms(rows)


@SAME
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(24, 240),
    spread=st.floats(0, 0.1),
    lasting=st.sampled_from([0.0, 0.3]),
    power=st.booleans(),
)
def test_a_healthy_loss_raises_no_alarm_however_often_one_looks(seed, count, spread, lasting, power):
    assert not list(looks(healthy(seed, count, spread, lasting, power)))


@SAME
@given(seed=st.integers(0, 10_000), count=st.integers(30, 150))
def test_a_healthy_policy_raises_no_alarm(seed, count):
    assert not list(looks(policy(seed, count)))


@pytest.mark.parametrize(
    "ill", ["zero_variance", "kl_blow_up", "entropy_collapse", "length_collapse", "reward_drop"]
)
def test_each_collapse_of_a_reward_is_found(ill):
    found = [ill in alarms(policy(seed, 80, ill)) for seed in range(40)]
    assert sum(found) >= 36, f"{sum(found)} of 40"


@pytest.mark.parametrize("spread", [0.0, 0.03, 0.08])
def test_a_divergence_is_found_under_noise(spread):
    def diverging(seed):
        rows = healthy(seed, 100, spread)
        for n, row in enumerate(rows):
            row["loss"] *= 1 + 8 * max(0.0, n / 100 - 0.6)
        return alarms(rows)

    assert all("divergence" in diverging(seed) for seed in range(20))


@pytest.mark.parametrize("spread", [0.0, 0.05])
def test_overfitting_is_found_where_the_held_out_loss_turns(spread):
    def overfitting(seed):
        rows = healthy(seed, 200, spread)
        for n, row in enumerate(rows):
            if "eval_loss" in row:
                row["eval_loss"] = 2.0 + abs(n / 200 - 0.4) * 2
        return alarms(rows)

    assert all("overfitting" in overfitting(seed) for seed in range(20))


def test_a_plateau_is_a_note_and_falling_curves_have_none():
    rng = random.Random(0)
    flat = [{"step": n, "loss": 2 + 4 * math.exp(-n / 6) + 0.02 * rng.gauss(0, 1)} for n in range(100)]
    falling = [{"step": n, "loss": 6 * (1 + n) ** -0.3 + 0.02 * rng.gauss(0, 1)} for n in range(100)]
    assert [s.kind for s in look(Run(flat))] == ["plateau"]
    assert not any(look(Run(falling[:count])) for count in range(8, 100))


def test_a_flat_start_is_warmup_and_no_plateau():
    rows = [{"step": n, "total_steps": 400, "loss": 9.01 + 0.001 * (n % 3)} for n in range(40)]
    assert not look(Run(rows))


def test_learning_to_stop_is_no_collapse_of_length():
    """Completions that were cut off at first and end by themselves later are shorter, and well."""
    rows = policy(3, 80)
    for n, row in enumerate(rows):
        row["completions/mean_length"] = 64 * math.exp(-n / 15) + 6
        row["completions/clipped_ratio"] = max(0.0, 1 - n / 30)
    assert not alarms(rows)


def test_a_loss_of_exactly_nothing_is_no_success():
    rows = [{"step": n, "loss": 4.0 - n if n < 3 else 0.0} for n in range(12)]
    assert alarms(rows) == ["zero_loss"]


CURVES = Path(__file__).with_name("curves")
"""Of real trainings on a CPU: a model of 0.3M parameters on short Python statements, and GRPO from it with the
reward that what it writes parses; held by a KL term and a length, free, and with a rate a hundred times too high."""


@pytest.mark.parametrize("name", ["pretrain_healthy", "grpo_healthy", "grpo_held", "grpo_repaired"])
def test_real_trainings_that_went_well_raise_no_alarm(name):
    assert not list(looks(rows(CURVES / f"{name}.jsonl")))


def test_a_real_collapse_is_seen_within_ten_steps_and_to_the_end():
    """Within five steps it wrote one and the same text, cut off at the limit, that always parses."""
    table = rows(CURVES / "grpo_collapsed.jsonl")
    assert "entropy_collapse" in alarms(table[:10], over=False)
    for count in range(30, len(table)):
        assert {"entropy_collapse", "zero_variance"} <= set(alarms(table[:count], over=False)), count
    found = diagnose(status(), table)
    assert "without the task being done" in found.cause and "nats a token" in " ".join(found.evidence)


def test_a_very_long_curve_is_read_in_no_time_and_to_the_same_end():
    table = healthy(0, 30_000, 0.05)
    for n, row in enumerate(table):
        row["loss"] *= 1 + 8 * max(0.0, n / 30_000 - 0.6)
    assert "divergence" in alarms(table) and not alarms(healthy(0, 30_000, 0.05))


def test_thresholds_are_settings_with_help_on_bad_ones():
    rows = policy(1, 80, "kl_blow_up")
    assert "kl_blow_up" not in [
        s.kind for s in look(Run(rows, True, limits=Thresholds.of({"kl_limit": 1e9})))
    ]
    with pytest.raises(ValueError, match="no threshold 'kl'"):
        Thresholds.of({"kl": 1})
    with pytest.raises(ValueError, match="no number above zero"):
        Thresholds.of({"kl_limit": -1})


def status(**more):
    return JobStatus(id="j-1", name="j", method="grpo", state="succeeded", **more)


def test_a_collapsed_reward_is_explained_with_numbers_and_a_change():
    spec = JobSpec(name="j", method="grpo", config={"asked": {"lr": 1e-4, "rewards": ["parses"]}})
    rows = policy(2, 80, "length_collapse")
    found = diagnose(status(), rows, spec)
    assert not found.healthy and "without the task being done" in found.cause
    [shrank] = [f for f in found.findings if f.kind == "length_collapse"]
    assert shrank.evidence["last"] < 0.2 * shrank.evidence["first"] and "reward went from" in shrank.message
    assert found.change["beta"] > 0
    assert found.change["rewards"][0] == "parses" and found.change["rewards"][1]["type"] == "length"


def test_a_nan_names_the_learning_rate_to_try():
    spec = JobSpec(name="j", method="sft", config={"asked": {"learning_rate": 3e-2}})
    rows = [{"step": n, "loss": 5.0, "grad_norm": 10.0**n} for n in range(4)] + [{"step": 4, "loss": None}]
    found = diagnose(status(failure=Failure(kind="nan", message="x")), rows, spec)
    assert found.findings[0].kind == "nan" and found.findings[0].evidence["last_grad_norm"] == 1000
    assert found.change["learning_rate"] == 3e-3 and found.cause
