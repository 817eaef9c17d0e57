from __future__ import annotations

import math

import pytest

from ml_intern.jobs.diagnosis import diagnose
from ml_intern.jobs.model import Failure, JobStatus


def kinds(losses, state="succeeded", failure=None, norms=None):
    status = JobStatus(id="j-1", name="j", method="pretrain", state=state, failure=failure)
    rows = [{"step": 10 * n, "loss": value} for n, value in enumerate(losses)]
    for row, norm in zip(rows, norms or [], strict=False):
        row["grad_norm"] = norm
    return [f.kind for f in diagnose(status, rows).findings]


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([6 - 0.2 * n for n in range(16)], ["still_falling"]),
        ([3 + 3 * math.exp(-n / 2) for n in range(30)], ["plateau"]),
        ([6, 5, 4, 3.5, 3.4, 4.5, 5.5, 5.8, 5.9], ["divergence"]),
        ([6.25 - 0.005 * n for n in range(16)], ["learned_little"]),
        ([5.0, None, None, None], ["nan"]),
        ([5.0, 4.0], ["too_short"]),
    ],
)
def test_a_curve_is_read(losses, expected):
    assert kinds(losses) == expected


def test_a_running_job_is_not_blamed_for_falling():
    assert kinds([6 - 0.2 * n for n in range(16)], state="running") == []


def test_spikes_of_the_gradient_are_told():
    assert "spikes" in kinds([6 - 0.2 * n for n in range(16)], norms=[1.0] * 15 + [50.0])


def test_a_validation_loss_that_turns_is_overfitting():
    status = JobStatus(id="j-1", name="j", method="pretrain", state="succeeded")
    held = [5.0, 4.0, 3.5, 3.4, 3.6, 3.9]
    rows = [{"step": n, "loss": 6 - 0.03 * n, "eval_loss": held[n // 10]} for n in range(0, 60, 10)]
    [found] = diagnose(status, rows).findings
    assert found.kind == "overfitting" and found.value == 30 and not diagnose(status, rows).healthy
    rows[-1]["eval_loss"] = rows[-2]["eval_loss"] = 3.42
    assert [f.kind for f in diagnose(status, rows).findings] == ["still_falling"]


def test_a_failure_is_part_of_the_diagnosis():
    failure = Failure(kind="out_of_memory", message="no memory", hint="smaller")
    assert kinds([6, 5.5, 5, 4.5], state="failed", failure=failure)[0] == "failed"
