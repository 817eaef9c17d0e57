"""A card as publish_model writes it, small, to be changed by tests."""

from __future__ import annotations

from typing import Any

from ml_intern.jobs.record import recipe_hash

SHA = "ab" * 32


def measured(value: float) -> dict[str, Any]:
    """A measured value with an interval around it."""
    return {"value": value, "low": value - 0.05, "high": value + 0.05, "n": 100, "higher_is_better": False}


def card() -> dict[str, Any]:
    """Text to a split to a pretrained model to a fine-tuned one."""
    common = {"threads": 1, "compute": "local", "on_cpu": True, "seconds": 8.5, "fingerprint": SHA}
    return {
        "session": "20261121-001659-ab12",
        "experiment": {
            "id": "exp-1",
            "seed": 7,
            "config": {"method": "sft", "model": "base-1", "max_steps": 8},
            "data": {"train": {"id": "words@1", "rows": 60, "sha256": SHA}},
            "code_hash": recipe_hash("sft"),
            "environment": {"python": "3.11.2", "packages": {"torch": "2.13.0"}},
            "facts": {"parameters": 100_000.0, "final_loss": 1.25},
            "dev": {"bits_per_byte": measured(3.5)},
            "test": {"bits_per_byte": measured(3.6)},
            "primary": "bits_per_byte",
            "model": SHA,
        },
        "comparisons": [],
        "data": [
            row("words@1", "reformat_dataset", "words.jsonl", target="prompt_completion", mapping=None),
            row("lines@1", "split_dataset", "lines.txt", fractions={"train": 0.8, "dev": 0.1, "test": 0.1},
                seed=3, group=None, max_rows=None, seal_where=None, own_splits=False, eval="held",
                split="train"),
        ],
        "trainings": [
            {
                "name": "base-1", "method": "pretrain", "model": {"scratch": "scratch:0.1M"},
                "dataset": "lines@1", "datasets": ["lines@1"], "config": {"max_steps": 12}, "seed": 5,
                "code_sha256": recipe_hash("pretrain"), **common,
            },
            {
                "name": "tuned-1", "method": "sft", "model": {"job": "base-1"}, "dataset": "words@1",
                "datasets": ["words@1"], "config": {"max_steps": 8}, "seed": 7,
                "code_sha256": recipe_hash("sft"), **common,
            },
        ],
        "evals": [
            {"name": "held", "splits": ["dev", "test"], "sha256": SHA, "scorers": ["bits_per_byte"],
             "primary": "bits_per_byte"},
        ],
    }  # fmt: skip


def row(id: str, operation: str, source: str, **arguments: Any) -> dict[str, Any]:
    """A dataset of the card."""
    return {
        "id": id, "rows": 60, "rows_before": 60, "operation": operation, "arguments": arguments,
        "source": source, "sha256": SHA, "revision": "", "source_sha256": SHA, "parents": [], "created": 1.0,
    }  # fmt: skip
