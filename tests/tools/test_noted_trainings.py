"""What is noted of a training before it starts stands in the result of the launch, and goes with the job."""

from __future__ import annotations

import polars as pl
import pytest
from support.sweep_services import TINY, services_in

from ml_intern.context import Services, ToolContext
from ml_intern.data.formats import reformat
from ml_intern.tools.jobs import job_status
from ml_intern.tools.training import launch_training


@pytest.fixture
def services(tmp_path) -> Services:
    return services_in(tmp_path)


def test_a_rate_of_three_is_noted_where_the_model_reads_it(services):
    ctx = ToolContext(services, "call-1", "call-1", needs=("hub:read",))
    config = {"learning_rate": 3.0, "max_steps": 1}
    status = launch_training(ctx, "pretrain", TINY, "train", config)
    services.jobs.cancel(status.id)
    assert [note.startswith("learning_rate 3 is far beyond") for note in status.notes] == [True]
    assert job_status(ctx, status.id).notes == status.notes


def test_a_usual_rate_is_not(services):
    ctx = ToolContext(services, "call-1", "call-1", needs=("hub:read",))
    status = launch_training(ctx, "pretrain", TINY, "train", {"learning_rate": 3e-3, "max_steps": 1})
    services.jobs.cancel(status.id)
    assert status.notes == []


def test_pairs_without_a_difference_are_counted_when_they_are_made():
    rows = pl.DataFrame({"q": ["a", "b", "c"], "good": ["x", "y", "z"], "bad": ["x", "n", "m"]})
    _, notes = reformat(rows, "preference", {"prompt": "q", "chosen": "good", "rejected": "bad"})
    assert any(note.startswith("1 of 3 pairs have a chosen answer that equals") for note in notes)
