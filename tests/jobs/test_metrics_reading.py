from __future__ import annotations

import json

import pytest

from ml_intern.errors import ToolError
from ml_intern.jobs import metrics


def write(path, *rows, tail=""):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + tail)
    return path


def test_after_a_resume_the_last_value_of_a_step_wins(tmp_path):
    path = write(
        tmp_path / "m",
        {"step": 10, "loss": 5.0},
        {"step": 20, "loss": 4.0},
        {"step": 10, "total_steps": 30},
        {"step": 20, "loss": 4.1},
        {"step": 30, "loss": 3.0},
    )
    rows = metrics.rows(path)
    assert [(r["step"], r["loss"]) for r in rows] == [(10, 5.0), (20, 4.1), (30, 3.0)]
    assert metrics.newest(path) == {"step": 30, "total_steps": 30, "metrics": {"loss": 3.0}}


def test_a_line_that_is_cut_or_foreign_is_left_out(tmp_path):
    path = write(tmp_path / "m", {"step": 1, "loss": 2.0}, ["no"], {"loss": 1.0}, tail='{"step": 2, "lo')
    path.write_bytes(b"\xff not json\n" + path.read_bytes())
    assert metrics.rows(path) == [{"step": 1, "loss": 2.0}]


def test_the_summary_has_the_slope_of_the_last_quarter():
    rows = [{"step": n, "loss": 10.0 - n if n < 75 else -60.0 - 2 * n} for n in range(101)]
    found = metrics.summary([*rows, {"step": 101, "loss": None}])["loss"]
    assert (found["first"], found["last"], found["count"], found["not_finite"]) == (10.0, -260.0, 102, 1)
    assert found["slope"] == pytest.approx(-2.0)


def test_the_summary_is_short_numbers_and_slopes_only_of_what_is_steered_by():
    rows = [
        {"step": n, "loss": 10 / (n + 3), "learning_rate": 1e-3 / 7, "grad_norm": 2 / 3, "train_runtime": 1.5}
        for n in range(8)
    ]
    found = metrics.summary(rows)
    assert found["loss"]["first"] == 3.33333 and found["loss"]["count"] == 8
    assert found["learning_rate"]["last"] == 0.000142857
    assert [name for name in found if "slope" in found[name]] == ["loss"]


def test_names_are_filtered_with_a_guess():
    rows = [{"step": 1, "loss": 2.0, "grad_norm": 1.0}, {"step": 2, "grad_norm": 1.0}]
    assert metrics.select(rows, ["loss"]) == [{"step": 1, "loss": 2.0}]
    with pytest.raises(ToolError, match="did you mean 'grad_norm'"):
        metrics.select(rows, ["grad_nrm"])
