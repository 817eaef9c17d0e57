"""Several samples a prompt of a sealed evaluation: one job draws them, a second gives rewards.

The jobs see prompts and the model's own answers, never a target. What they leave is read a few prompts at a
time, so that 500 prompts of 16 long samples need no more memory than a few of them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ml_intern.errors import ToolError
from ml_intern.evals.asking import ask, readable, tasks_for
from ml_intern.evals.model import EvalInfo, Item
from ml_intern.evals.rewarding import Watch, ask_rewards
from ml_intern.evals.scorers import Outputs, Scorer, scorer
from ml_intern.evals.voting import Floats, Ints
from ml_intern.evals.ways import Way, metric_of
from ml_intern.jobs.local import Jobs
from ml_intern.ledger.model import Split

T = TypeVar("T")
LONGEST_REPLY = 50_000
"""Characters of a completion that are read."""
AT_ONCE = 32
"""Prompts whose samples are scored together."""


@dataclass(frozen=True)
class Drawn:
    """What the samples are worth; all of shape (items, samples).

    Attributes:
        answers: Equal numbers of a row are one answer, negative ones are none.
        right: 1 where the scorer says that a sample is right.
        rewards: What the reward model gives it.
        outputs: Shape of what was written.
        cut: Answers whose prompt did not fit into the reward model.
    """

    answers: Ints
    right: Floats
    rewards: Floats | None
    outputs: dict[str, float]
    cut: int = 0


@dataclass(frozen=True)
class Trial:
    """One evaluation in one way.

    `folder` is its own, and hidden from every sandbox; `timeout_s` is for drawing.
    """

    jobs: Jobs
    folder: Path
    info: EvalInfo
    split: Split
    items: Sequence[Item]
    model: Path
    weights: str
    way: Way
    timeout_s: float
    watch: Watch

    def run(self) -> Drawn:
        """Draw, and give rewards.

        Raises:
            ToolError: A job failed, or gave back something else.
            Interrupted: The person stopped it; the same call goes on with its jobs.
        """
        try:
            return self._drawn()
        finally:
            shutil.rmtree(self.folder / "model", ignore_errors=True)

    def _drawn(self) -> Drawn:
        inference = self.way.inference
        metric = metric_of(self.info)
        tasks = tasks_for([metric], self.items, self.split, self.info.asking, self.folder)
        [task] = [t for t in tasks if t["name"] == "completions"]
        task |= {"samples": inference.n, "temperature": inference.temperature}
        key = f"{self.info.name}/{self.split}/{self.weights}/{inference.n} at {inference.temperature!r}"
        given = readable(self.model, self.folder / "model")
        name, watch = f"sample {self.info.name}", self.watch
        status = ask(self.jobs, name, key, given, [task], self.timeout_s, watch.cancelled, watch.on_progress)
        file = self.folder / "answers.jsonl"
        found = read_samples(
            Path(status.output) / "completions.jsonl",
            Path(task["file"]),
            self.items,
            inference.n,
            scorer(metric),
            file,
        )
        if self.way.reward is None:
            return found
        key = f"{key}/{inference.reward_sha256}"
        rewards, cut = ask_rewards(
            self.jobs, f"reward {self.info.name}", key, self.way.reward, file, found.right.size, watch
        )
        return Drawn(found.answers, found.right, np.reshape(rewards, found.right.shape), found.outputs, cut)


def read_samples(
    completions: Path, prompts: Path, items: Sequence[Item], n: int, by: Scorer, answers: Path
) -> Drawn:
    """Score what was drawn, and write each sample with its prompt to `answers`. A job wrote it: no trust.

    Raises:
        ToolError: There are other samples than were asked for.
    """
    codes, right = np.full((len(items), n), -1), np.zeros((len(items), n))
    characters = unfinished = different = 0
    fresh = answers.with_suffix(".new")
    try:
        with prompts.open(encoding="utf-8") as asked, fresh.open("w", encoding="utf-8") as out:
            blocks = _lots(zip(items, asked, _by_prompt(completions, n), strict=True), AT_ONCE)
            first = 0
            for block in blocks:
                texts = [str(row["text"])[:LONGEST_REPLY] for _, _, rows in block for row in rows]
                targets = [item.target or "" for item, _, _ in block for _ in range(n)]
                marks = by.score(Outputs(completions=texts, targets=targets)).numerator
                end = first + len(block)
                right[first:end] = marks.reshape(len(block), n)
                for place, (_, prompt, rows) in enumerate(block):
                    own = texts[place * n : (place + 1) * n]
                    codes[first + place] = coded([by.answer(text) for text in own])
                    row = json.loads(prompt)
                    out.writelines(json.dumps({**row, "completion": text}) + "\n" for text in own)
                    different += len(set(own))
                    unfinished += sum(not sample["finished"] for sample in rows)
                characters += sum(map(len, texts))
                first = end
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ToolError(f"The job left other samples than were asked for: {error}.") from None
    fresh.chmod(0o644)
    fresh.replace(answers)
    shape = {
        "mean_characters": round(characters / right.size, 2),
        "share_different": different / right.size,
        "share_unfinished": unfinished / right.size,
    }
    return Drawn(codes, right, None, shape)


def _by_prompt(file: Path, n: int) -> Iterator[list[dict[str, Any]]]:
    """The samples of one prompt after the other, in the order in which they were drawn."""
    with file.open(encoding="utf-8", errors="replace") as lines:
        for number, rows in enumerate(_lots(map(json.loads, lines), n)):
            if [(row["row"], row["sample"]) for row in rows] != [(number, k) for k in range(n)]:
                raise ValueError(f"prompt {number} has not its {n} samples")
            yield rows


def _lots(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    left = iter(rows)
    while lot := list(islice(left, size)):
        yield lot


def coded(answers: Sequence[Hashable | None]) -> list[int]:
    """Equal answers as equal numbers; none is -1."""
    known: dict[Hashable, int] = {}
    return [-1 if a is None else known.setdefault(a, len(known)) for a in answers]
