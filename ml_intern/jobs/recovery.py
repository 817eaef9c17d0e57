"""What a training does about a failure by itself. Standard library only: a job's supervisor uses it.

Killed: it goes on from its last whole checkpoint. Out of memory: half the batch and twice the accumulation,
which keeps the effective batch, until a batch is one row; then activation checkpointing, which pays for
memory with time. Nothing else is changed, ever: not the method, the data, the length or the number of
steps. What cannot be mended so is left to whoever reads the failure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TRAININGS = frozenset({"pretrain", "sft", "dpo", "reward", "grpo"})
USUAL_BATCH = 8
"""Of Transformers' TrainingArguments and TRL's, where the config names none."""
NEARLY = 0.8
"""A job that something killed while it held this share of its memory was killed for that."""


@dataclass(frozen=True)
class Step:
    """What to do next.

    Attributes:
        action: In words, with the numbers.
        changes: Fields of the trainer that differ from then on.
    """

    action: str
    changes: dict[str, Any] = field(default_factory=dict)


def next_step(
    kind: str, config: Mapping[str, Any], method: str, past: Sequence[Mapping[str, Any]], checkpoint: int
) -> Step | None:
    """What mends a failure, or None where nothing does.

    Args:
        kind: The class of the failure.
        config: The job's ``config.json``.
        method: The recipe.
        past: What was done before, as `ml_intern.jobs.model.Recovery` has it.
        checkpoint: Step of the newest checkpoint; 0 where there is none.
    """
    if method not in TRAININGS:
        return None
    from_where = f"from checkpoint {checkpoint}" if checkpoint else "from the beginning"
    if kind == "out_of_memory":
        smaller = less_memory(config.get("trainer") or {})
        return smaller and Step(f"{smaller.action}; {from_where}", smaller.changes)
    if kind == "killed" and not _stands_still(past, checkpoint):
        return Step(f"went on {from_where}")
    return None


def less_memory(trainer: Mapping[str, Any]) -> Step | None:
    """The next smaller way to do the same: the same rows in each step, the same length, the same loss."""
    batch = int(trainer.get("per_device_train_batch_size", USUAL_BATCH))
    repeats = int(trainer.get("gradient_accumulation_steps", 1))
    if batch > 1:
        rows = batch * repeats
        fewer = next(size for size in range(batch // 2, 0, -1) if rows % size == 0)
        changes = {
            "per_device_train_batch_size": fewer,
            "per_device_eval_batch_size": min(fewer, int(trainer.get("per_device_eval_batch_size", fewer))),
            "gradient_accumulation_steps": rows // fewer,
        }
        if trainer.get("steps_per_generation"):  # Of GRPO: as many completions are drawn at once as before.
            changes["steps_per_generation"] = int(trainer["steps_per_generation"]) * batch // fewer
        return Step(
            f"batches of {fewer} rows in place of {batch}, accumulated {rows // fewer} times in place of "
            f"{repeats}: {rows} rows a step as before",
            changes,
        )
    if not trainer.get("gradient_checkpointing"):
        return Step(
            "activation checkpointing, which saves memory and costs time; a batch is one row already",
            {"gradient_checkpointing": True},
        )
    return None


def newest_checkpoint(folder: Path) -> int:
    """The step of the newest checkpoint that has its last part; 0 where there is none."""
    steps = [
        int(path.parent.name.rpartition("-")[2])
        for path in folder.glob("checkpoint-*/trainer_state.json")
        if path.parent.name.rpartition("-")[2].isdecimal()
    ]
    return max(steps, default=0)


def apply(config: Path, changes: Mapping[str, Any]) -> None:
    """Change fields of the trainer in a ``config.json``; readers see the old file or the new one."""
    found = json.loads(config.read_text())
    found["trainer"] = {**(found.get("trainer") or {}), **changes}
    fresh = config.with_name(f"{config.name}.new")
    fresh.write_text(json.dumps(found, indent=1))
    fresh.replace(config)


def _stands_still(past: Sequence[Mapping[str, Any]], checkpoint: int) -> bool:
    """Whether it was killed before and has come no further since: it would be killed again."""
    return any(p["kind"] == "killed" and p.get("checkpoint", 0) >= checkpoint for p in past)
