"""Conditions to wait for: what is understood, what is not, and what they hold on."""

from __future__ import annotations

import json

import pytest
from support.curves import policy

from ml_intern.errors import ToolError
from ml_intern.jobs.conditions import condition
from ml_intern.jobs.model import JobStatus


def met(text, rows, tmp_path):
    (tmp_path / "output").mkdir(exist_ok=True)
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    newest = {k: v for row in rows for k, v in row.items() if isinstance(v, float)}
    status = JobStatus(id="j-1", name="j", method="sft", state="running", output=str(tmp_path / "output"))
    found = condition(text).met(status.model_copy(update={"step": rows[-1]["step"], "metrics": newest}))
    return found.why if found else ""


FALLS = [{"step": n, "loss": 6.0 - 0.05 * n} for n in range(60)]
FLAT = [{"step": n, "loss": 2.0 + 4.0 * 0.8**n} for n in range(60)]


@pytest.mark.parametrize(
    ("text", "rows", "holds"),
    [
        ("loss < 3.2", FALLS, True),
        ("loss<3", FALLS, False),
        ("loss <= 3.05", FALLS, True),
        ("step >= 59", FALLS, True),
        ("loss > 1e1", FALLS, False),
        ("missing > 0", FALLS, False),
        ("loss plateau", FALLS, False),
        ("loss plateau", FLAT, True),
        ("plateau", FLAT, True),
        ("Loss Plateau", FLAT, False),
        ("reward collapse", policy(1, 80, "length_collapse"), True),
        ("reward collapse", policy(1, 80), False),
        ("reward plateau", policy(1, 80), False),
        ("kl blow-up", policy(1, 80, "kl_blow_up"), True),
        ("Entropy_Collapse", policy(1, 80, "entropy_collapse"), True),
        ("alert", FLAT, False),
        ("any alert", policy(1, 80, "zero_variance"), True),
        ("loss < 1 or step > 50", FALLS, True),
        ("loss < 1 and step > 50", FALLS, False),
        ("nan", [*FALLS, {"step": 60, "loss": None}], True),
    ],
    ids=lambda value: value if isinstance(value, str | bool) else "",
)
def test_what_a_condition_holds_on(text, rows, holds, tmp_path):
    assert bool(met(text, rows, tmp_path)) == holds


def test_what_held_is_told_with_numbers(tmp_path):
    assert met("loss < 3.2", FALLS, tmp_path) == "loss is 3.05, < 3.2, at step 59"
    assert "flat since step" in met("loss plateau", FLAT, tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("loss == 2", "compare with <"),
        ("loss = 2", "compare with <"),
        ("loss <", "a number on its right"),
        ("2 < loss", "a number on its right"),
        ("loss platau", "did you mean 'loss plateau'"),
        ("reward colapse", "did you mean 'reward collapse'"),
        ("divergance", "did you mean 'divergence'"),
        ("", "is not understood"),
        ("when it is good", "'loss < 2.0'"),
        ("loss < 2 or", "is not understood"),
        ("loss < two", "a number on its right"),
    ],
)
def test_one_that_is_not_understood_says_what_can_be_written(text, words):
    with pytest.raises(ToolError, match="is not understood") as caught:
        condition(text)
    assert words in str(caught.value)
