"""A held-out curve of the training data: rows set apart before the first step, which are measured as it goes.

It tells overfitting from learning. It is no evaluation: the rows come from the training data.
"""

from __future__ import annotations

import hashlib
from typing import Any, TypeVar

from _common import wrong

Row = TypeVar("Row")


def set_apart(rows: list[Row], share: float | None) -> tuple[list[Row], list[Row]]:
    """The rows to train on, and a `share` of them that is set apart: one at the least.

    Which ones follows from the rows alone, so that the curves of two seeds are about the same rows.
    """
    if not share:
        return rows, []
    count = max(1, round(len(rows) * share))
    if count >= len(rows):
        raise wrong("bad_data", f"{len(rows)} rows are too few to set some apart for validation.")
    order = sorted(range(len(rows)), key=lambda index: hashlib.sha1(repr(rows[index]).encode()).digest())
    apart = set(order[:count])
    kept = [row for index, row in enumerate(rows) if index not in apart]
    return kept, [rows[index] for index in order[:count]]


def validation_fields(config: dict[str, Any]) -> dict[str, Any]:
    """The trainer's fields for a curve of the start, ten points and the end; none without `validation`."""
    if not config.get("validation"):
        return {}
    fields = {
        "eval_strategy": "steps",
        "eval_steps": 0.1,
        "eval_on_start": True,
        "prediction_loss_only": True,
    }
    return {name: value for name, value in fields.items() if name not in config.get("trainer", {})}
