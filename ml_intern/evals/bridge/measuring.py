"""A model's scores on a task of lm-eval: lm-eval says what to ask, our job asks it, lm-eval scores the answers.

The job sees requests and no task, so it has the walls, the device and the recipe of every other evaluation,
and what is right never enters it (but where a task asks for the likelihood of that very text).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ml_intern.errors import ToolError
from ml_intern.evals.bridge import process
from ml_intern.evals.bridge.metrics import PREFIX
from ml_intern.evals.bridge.tasks import cache_of, folder_of
from ml_intern.evals.lines import read_lines, write_lines
from ml_intern.ledger.model import ItemScores, Split

if TYPE_CHECKING:
    from ml_intern.evals.model import EvalInfo, Item

MAX_NEW_TOKENS = 256
"""lm-eval's own default."""
KNOWN = frozenset({"until", "do_sample", "temperature", "top_p", "max_length"})
LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")


class Bridge:
    """One evaluation's way to lm-eval.

    Args:
        evals: The folder of all evaluations.
        state: The intern's state folder.
        info: The evaluation.
        cancelled: Ends what runs.
    """

    def __init__(self, evals: Path, state: Path, info: EvalInfo, cancelled: Callable[[], bool]) -> None:
        self.folder = folder_of(evals, info.name)
        self.cache = cache_of(state)
        self.info = info
        self.cancelled = cancelled

    def requests(self, items: Sequence[Item], split: Split) -> list[dict[str, Any]]:
        """What a model is asked for a split; the same for every model, so it is kept."""
        file = self.folder / f"{split}.jsonl"
        if not file.exists():
            found = self._run("requests", samples=self._samples(items, split))
            write_lines(file, found["requests"])
        return read_lines(file)

    def scores(
        self, items: Sequence[Item], split: Split, answers: Sequence[dict[str, Any]]
    ) -> dict[str, ItemScores]:
        """What each item adds to each metric.

        Args:
            items: All items of the evaluation.
            split: Whose were asked.
            answers: One a request.
        """
        file = self.folder / f"{split}-answers-{time.monotonic_ns()}.jsonl"
        write_lines(file, answers)
        try:
            samples = self._samples(items, split)
            asked = str(self.folder / f"{split}.jsonl")
            found = self._run("score", samples=samples, requests=asked, answers=str(file))["rows"]
        finally:
            file.unlink(missing_ok=True)
        rows = self._ordered(items, split, samples, found)
        return {name: _measure(name, rows) for name in self.info.scorers}

    def _run(self, mode: str, **more: Any) -> dict[str, Any]:
        task = self.info.lm_eval
        assert task is not None
        request = {"mode": mode, "task": task.task, "folder": task.folder, **more}
        return process.run(request, self.cache, None, self.cancelled)

    def _places(self, items: Sequence[Item], split: Split) -> list[tuple[str, int]]:
        order = json.loads((self.folder / "order.json").read_text())
        if len(order) != len(items):
            raise ToolError(f"The eval {self.info.name!r} is damaged: it has other documents than items.")
        return [(t, k) for (t, k), item in zip(order, items, strict=True) if item.split == split]

    def _samples(self, items: Sequence[Item], split: Split) -> dict[str, list[int]]:
        samples: dict[str, list[int]] = {}
        for task, position in self._places(items, split):
            samples.setdefault(task, []).append(position)
        return {task: sorted(positions) for task, positions in samples.items()}

    def _ordered(
        self, items: Sequence[Item], split: Split, samples: dict[str, list[int]], found: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """The rows in the order of the items."""
        told = [(task, position) for task, positions in samples.items() for position in positions]
        by_place = dict(zip(told, found, strict=True))
        return [by_place[place] for place in self._places(items, split)]


def _measure(name: str, rows: Sequence[dict[str, Any]]) -> ItemScores:
    key = name.removeprefix(PREFIX)
    if not all(key in row for row in rows):
        raise ToolError(f"lm-eval gave no {key} for some documents.", "Decide by another metric.")
    pairs = np.array([row[key] for row in rows], dtype=np.float64)
    if not np.isfinite(pairs).all():
        raise ToolError(f"lm-eval's {key} is no number for some documents.", "Decide by another metric.")
    return ItemScores(pairs[:, 0], pairs[:, 1])


# From requests to the tasks of a job, and back


def tasks_for(requests: Sequence[dict[str, Any]], folder: Path, seed: int) -> list[dict[str, Any]]:
    """Write the requests where a job reads them, a task for each way of asking.

    Raises:
        ToolError: A task wants answers drawn in a way that the recipe does not know.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tasks = []
    for number, (how, group) in enumerate(_groups(requests).items()):
        file = folder / f"lm-eval-{number}.jsonl"
        write_lines(file, [_row(requests[k]) for k in group])
        tasks.append({"name": f"lm-eval-{number}", "file": str(file), **json.loads(how), "seed": seed})
    return tasks


def answers_from(
    requests: Sequence[dict[str, Any]], folder: Path, tasks: Sequence[dict[str, Any]]
) -> list[Any]:
    """The job's answers, one a request.

    Raises:
        ToolError: A file is missing or broken, or has other rows than were asked for; or the model's
            likelihoods are not finite.
    """
    answers: list[Any] = [None] * len(requests)
    for task, group in zip(tasks, _groups(requests).values(), strict=True):
        try:
            rows = read_lines(folder / f"{task['name']}.jsonl")
        except (OSError, ValueError) as error:
            raise ToolError(f"The evaluation left no readable answers: {error}.") from None
        if len(rows) != len(group):
            raise ToolError(f"The evaluation gave {len(rows)} answers to {len(group)} requests.")
        for k, row in zip(group, rows, strict=True):
            answers[k] = _answer(requests[k], row)
    return answers


def _groups(requests: Sequence[dict[str, Any]]) -> dict[str, list[int]]:
    """Positions of the requests that one task of a job can answer, by the task's options."""
    groups: dict[str, list[int]] = {}
    for k, request in enumerate(requests):
        groups.setdefault(json.dumps(_how(request), sort_keys=True), []).append(k)
    return groups


def _how(request: dict[str, Any]) -> dict[str, Any]:
    if request["kind"] == "loglikelihood_rolling":
        return {"kind": "likelihood"}
    if request["kind"] == "loglikelihood":
        return {"kind": "continuations"}
    return {"kind": "generate", "samples": 1, **_drawn(request["how"])}


def _drawn(how: dict[str, Any]) -> dict[str, Any]:
    """lm-eval's options of a generation as the recipe's; greedy unless it says both how and that it samples."""
    unknown = sorted(k for k in how if k not in KNOWN | set(LENGTHS))
    sampled = bool(how.get("do_sample")) and float(how.get("temperature") or 0) > 0
    if unknown and sampled:
        raise ToolError(f"The task wants answers drawn by {', '.join(unknown)}, which is not known here.")
    until = how.get("until") or []
    return {
        "max_new_tokens": int(next((how[n] for n in LENGTHS if how.get(n)), MAX_NEW_TOKENS)),
        "temperature": float(how["temperature"]) if sampled else 0,
        "stop": [until] if isinstance(until, str) else [word for word in until if word],
        **({"top_p": float(how["top_p"])} if sampled and how.get("top_p") else {}),
    }


def _row(request: dict[str, Any]) -> dict[str, Any]:
    if request["kind"] == "loglikelihood_rolling":
        return {"text": request["text"]}
    if request["kind"] == "loglikelihood":
        return {"prompt": request["context"], "continuation": request["continuation"]}
    return {"prompt": request["context"]}


def _answer(request: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    if request["kind"] == "generate_until":
        return {"text": str(row["text"])}
    if row["nats"] is None or not math.isfinite(row["nats"]):
        raise ToolError(
            "The model gives some texts no finite likelihood: its weights have diverged.",
            "Finish the experiment as crashed; a lower learning rate is the usual cure.",
        )
    return {"nats": -float(row["nats"]), "greedy": bool(row.get("greedy"))}
