"""Reading ``samples.jsonl``: what a policy wrote from early to late, kept by its job for somebody to read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from ml_intern.errors import ToolError
from ml_intern.jobs.curves import is_number
from ml_intern.outside.words import clean
from ml_intern.workspace.safe_files import open_file

FILE = "samples.jsonl"
LONGEST = 500
_MOST_BYTES = 2**19
_MOST = 200
_NAME = 64


class Sample(BaseModel):
    """One completion.

    Attributes:
        step: Of the training, when it was drawn.
        prompt: Its end, where it is long.
        completion: Its beginning, where it is long.
        tokens: Of the completion.
        rewards: What each reward gave for it; one that had nothing to say is left out.
    """

    step: int
    prompt: str
    completion: str
    tokens: int | None = None
    rewards: dict[str, float] = Field(default_factory=dict)


def read_samples_of(output: Path) -> list[Sample]:
    """What the job in whose output folder this is has kept, by step; empty where it kept nothing.

    The job may have written anything there, or laid a link: none is followed, what is no sample is left
    out, and what is one is bounded and without what cannot be seen.
    """
    found = [sample for row in _rows(output / FILE) if (sample := _read(row))]
    return sorted(found, key=lambda sample: sample.step)[:_MOST]


def early_and_late(samples: list[Sample], each: int = 2) -> list[Sample]:
    """Some of the first step and some of the last."""
    if not samples:
        return []
    first, last = samples[0].step, samples[-1].step
    early = [s for s in samples if s.step == first][:each]
    return early if first == last else early + [s for s in samples if s.step == last][:each]


def _rows(path: Path) -> Iterator[Any]:
    try:
        opened = os.fdopen(open_file(path.parent, path), "rb")
    except ToolError:
        return
    with opened as file:
        for line in file.read(_MOST_BYTES).split(b"\n")[:-1]:
            try:
                yield json.loads(line)
            except (ValueError, RecursionError):
                continue  # cut by a kill, or written to do harm


def _read(row: Any) -> Sample | None:
    if not isinstance(row, dict):
        return None
    step, prompt, completion = (row.get(name) for name in ("step", "prompt", "completion"))
    if type(step) is not int or not isinstance(prompt, str) or not isinstance(completion, str):
        return None
    earned, tokens = row.get("rewards"), row.get("tokens")
    rewards = list(earned.items())[:20] if isinstance(earned, dict) else []
    return Sample(
        step=step,
        prompt=clean(prompt, LONGEST),
        completion=clean(completion, LONGEST),
        tokens=tokens if type(tokens) is int else None,
        rewards={clean(name, _NAME): float(value) for name, value in rewards if is_number(value)},
    )
