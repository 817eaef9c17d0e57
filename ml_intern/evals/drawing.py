"""Several samples a prompt of a sealed evaluation: one job draws them, a second gives rewards.

The jobs see prompts and the model's own answers, never a target. What they leave is read a few prompts at a
time, so that 500 prompts of 16 long samples need no more memory than a few of them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ml_intern.errors import ToolError
from ml_intern.evals.asking import ask, key_of, readable, tasks_for
from ml_intern.evals.means import Means
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
        notes: What the scorer said of its work.
    """

    answers: Ints
    right: Floats
    rewards: Floats | None
    outputs: dict[str, float]
    cut: int = 0
    notes: Sequence[str] = ()


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
    means: Means

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
        key = key_of([task], self.weights)
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
            replace(self.means, notes=[], asking=self.info.asking),
            file,
        )
        if self.way.reward is None:
            return found
        key = f"{key}/{inference.reward_sha256}"
        rewards, cut = ask_rewards(
            self.jobs, f"reward {self.info.name}", key, self.way.reward, file, found.right.size, watch
        )
        return replace(found, rewards=np.reshape(rewards, found.right.shape), cut=cut)


@dataclass(frozen=True)
class Prompted:
    """One item's samples, in the order in which they were drawn."""

    item: Item
    prompt: dict[str, Any]
    texts: list[str]
    finished: int


def read_samples(
    completions: Path, prompts: Path, items: Sequence[Item], n: int, by: Scorer, means: Means, answers: Path
) -> Drawn:
    """Score what was drawn, and write each sample with its prompt to `answers`.

    Raises:
        ToolError: There are other samples than were asked for.
    """
    answer, marks, codes, shape = by.answer or (lambda text: text), [], [], np.zeros(3)
    fresh = answers.with_suffix(".new")
    with fresh.open("w", encoding="utf-8") as out:
        for lot in _lots(_prompted(completions, prompts, items, n), AT_ONCE):
            marks.append(_marks(lot, n, by, means))
            for one in lot:
                codes.append(coded([answer(text) for text in one.texts]))
                out.writelines(json.dumps({**one.prompt, "completion": text}) + "\n" for text in one.texts)
                shape += sum(map(len, one.texts)), len(set(one.texts)), n - one.finished
    fresh.chmod(0o644)
    fresh.replace(answers)
    names = ("mean_characters", "share_different", "share_unfinished")
    outputs = dict(zip(names, (shape / (len(items) * n)).round(4).tolist(), strict=True))
    return Drawn(np.array(codes), np.concatenate(marks), None, outputs, notes=means.notes)


def _marks(lot: Sequence[Prompted], n: int, by: Scorer, means: Means) -> Floats:
    """What the scorer gives each sample."""
    asked = [one.item for one in lot for _ in range(n)]
    found = by.score(
        Outputs(
            completions=[text for one in lot for text in one.texts],
            targets=[item.answer or "" for item in asked],
            items=asked,
            means=means,
        )
    )
    return found.numerator.reshape(len(lot), n)


def _prompted(completions: Path, prompts: Path, items: Sequence[Item], n: int) -> Iterator[Prompted]:
    """Item after item. A job wrote the completions, so nothing is taken on trust."""
    try:
        with prompts.open(encoding="utf-8") as asked, completions.open(encoding="utf-8") as drawn:
            lots = _lots(map(json.loads, drawn), n)
            for number, (item, prompt, rows) in enumerate(zip(items, asked, lots, strict=True)):
                if [(row["row"], row["sample"]) for row in rows] != [(number, k) for k in range(n)]:
                    raise ValueError(f"prompt {number} has not its {n} samples")
                texts = [str(row["text"])[:LONGEST_REPLY] for row in rows]
                yield Prompted(item, json.loads(prompt), texts, sum(bool(row["finished"]) for row in rows))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ToolError(f"The job left other samples than were asked for: {error}.") from None


def _lots(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    left = iter(rows)
    while lot := list(islice(left, size)):
        yield lot


def coded(answers: Sequence[Hashable | None]) -> list[int]:
    """Equal answers as equal numbers; none is -1."""
    known: dict[Hashable, int] = {}
    return [-1 if a is None else known.setdefault(a, len(known)) for a in answers]
