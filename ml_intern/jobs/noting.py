"""What the caller of a training should know, though nothing is wrong: it starts all the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ml_intern.jobs.curves import is_number
from ml_intern.jobs.thresholds import Thresholds

if TYPE_CHECKING:
    import polars as pl

_BY_THE_RATE = ("adam", "lion", "lamb", "adafactor")
"""Optimizers whose steps are about as large as the rate, however large the gradient."""


def notes_on(
    method: str, trainer: Mapping[str, Any], rows: pl.DataFrame, limits: Thresholds
) -> Iterator[str]:
    """Each in a line without a full stop: a learning rate beyond all use, pairs without a difference."""
    yield from _rate(trainer, limits)
    if method in ("dpo", "reward"):
        yield from alike(rows)


def _rate(trainer: Mapping[str, Any], limits: Thresholds) -> Iterator[str]:
    rate, optimizer = trainer.get("learning_rate"), str(trainer.get("optim", "adamw"))
    if not is_number(rate) or not any(name in optimizer for name in _BY_THE_RATE):
        return
    if rate is not None and rate > limits.absurd_rate:
        yield (
            f"learning_rate {rate:g} is far beyond what works with {optimizer}: a step moves each weight by "
            f"about the rate, and weights begin at about 0.02; {limits.usual_rate:g} is high already"
        )


def alike(rows: pl.DataFrame) -> Iterator[str]:
    """How many pairs have the same answer twice: they teach nothing, and say that something is wrong."""
    count = int((rows["chosen"] == rows["rejected"]).fill_null(False).sum())
    if count:
        yield f"{count} of {rows.height} pairs have a chosen answer that equals the rejected one"
