"""A model's scores on a task of lm-eval: lm-eval says what to ask, our job asks, lm-eval scores.

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
from ml_intern.evals.model import LmEval
from ml_intern.ledger.model import ItemScores, Split

if TYPE_CHECKING:
    from ml_intern.evals.model import EvalInfo, Item

MAX_NEW_TOKENS = 256
"""lm-eval's own default."""
KNOWN = frozenset({"until", "do_sample", "temperature", "top_p", "max_length"})
LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")


class Bridge:
    """One evaluation's way to lm-eval and back.

    Args:
        evals: The folder of all evaluations.
        state: The intern's state folder.
        info: The evaluation.
        items: All of its items.
        split: The split that is measured.
        cancelled: Ends what runs.
    """

    def __init__(
        self,
        evals: Path,
        state: Path,
        info: EvalInfo,
        items: Sequence[Item],
        split: Split,
        cancelled: Callable[[], bool],
    ) -> None:
        self.folder = folder_of(evals, info.name)
        self.cache = cache_of(state)
        self.info = info
        self.split = split
        self.cancelled = cancelled
        order = json.loads((self.folder / "order.json").read_text())
        if len(order) != len(items):
            raise ToolError(f"The eval {info.name!r} is damaged: it has other documents than items.")
        self.places = [(t, k) for (t, k), item in zip(order, items, strict=True) if item.split == split]
        self.samples: dict[str, list[int]] = {}
        for task, position in sorted(self.places):
            self.samples.setdefault(task, []).append(position)

    def tasks(self, folder: Path) -> list[dict[str, Any]]:
        """The tasks of a job that answers all requests; its files go to a folder.

        The requests are the same for every model, so they are kept.
        """
        if not self._requests.exists():
            write_lines(self._requests, self._run("requests")["requests"])
        return tasks_for(read_lines(self._requests), folder, self.info.asking.seed_of(self.split))

    def rows(self, output: Path, tasks: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """What the items contributed to each metric, and the texts that were written.

        Args:
            output: The job's.
            tasks: What it was asked.
        """
        requests = read_lines(self._requests)
        drawn = _drawn_rows(requests, output, tasks)
        file = self.folder / f"{self.split}-answers-{time.monotonic_ns()}.jsonl"
        write_lines(file, [_answer(r, row) for r, row in zip(requests, drawn, strict=True)])
        try:
            found = self._run("score", requests=str(self._requests), answers=str(file))["rows"]
        finally:
            file.unlink(missing_ok=True)
        told = [(task, position) for task, positions in self.samples.items() for position in positions]
        by_place = dict(zip(told, found, strict=True))
        rows = [by_place[place] for place in self.places]
        written = [row for r, row in zip(requests, drawn, strict=True) if r["kind"] == "generate_until"]
        return {"lm_eval": {name: _measure(name, rows) for name in self.info.scorers}, "completions": written}

    @property
    def _requests(self) -> Path:
        return self.folder / f"{self.split}.jsonl"

    def _run(self, mode: str, **more: str) -> dict[str, Any]:
        task = self.info.lm_eval or LmEval(task="")
        request = {"mode": mode, "task": task.task, "folder": task.folder, "samples": self.samples, **more}
        return process.run(request, self.cache, None, self.cancelled)


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


def _drawn_rows(
    requests: Sequence[dict[str, Any]], folder: Path, tasks: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The job's rows, one a request.

    Raises:
        ToolError: A file is missing or broken, or has other rows than were asked for.
    """
    found: list[dict[str, Any]] = [{} for _ in requests]
    for task, group in zip(tasks, _groups(requests).values(), strict=True):
        try:
            rows = read_lines(folder / f"{task['name']}.jsonl")
        except (OSError, ValueError) as error:
            raise ToolError(f"The evaluation left no readable answers: {error}.") from None
        if len(rows) != len(group):
            raise ToolError(f"The evaluation gave {len(rows)} answers to {len(group)} requests.")
        for k, row in zip(group, rows, strict=True):
            found[k] = row
    return found


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
    """lm-eval's options of a generation as the recipe's; greedy unless it says that it samples, and how."""
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
    """A row as lm-eval takes it.

    Raises:
        ToolError: The model's likelihoods are not finite.
    """
    if request["kind"] == "generate_until":
        return {"text": str(row["text"])}
    if row["nats"] is None or not math.isfinite(row["nats"]):
        raise ToolError(
            "The model gives some texts no finite likelihood: its weights have diverged.",
            "Finish the experiment as crashed; a lower learning rate is the usual cure.",
        )
    return {"nats": -float(row["nats"]), "greedy": bool(row.get("greedy"))}
