"""lm-eval in a process of its own on the host:  python child.py request.json

It needs nothing of ML Intern and no model. request.json says what is wanted, the answer is one JSON file:

    mode       documents   load a task and tell of its documents and metrics (this may download)
               requests    what a model is to be asked for some documents
               score       what a model's answers are worth, document by document
    task       a name, the path of a YAML file, or a name among the YAML files of `folder`
    folder     where further tasks lie; nothing: only lm-eval's own
    samples    {task: [positions]}, ascending; for all but `documents`
    requests   for `score`: file with one JSON line a request, as `requests` gave them
    answers    for `score`: file with one JSON line an answer, in that order
    output     where the answer goes

Nothing is printed but errors: documents hold what is right, and logs are read by more people than answers.
"""

from __future__ import annotations

import contextlib
import glob
import json
import logging
import random
import sys
from pathlib import Path
from typing import Any

# As lm_eval.simple_evaluate has them: tasks that shuffle options or draw examples do it in this order.
SEED, OTHER_SEED = 0, 1234
WORDS_OF_A_TEXT = 5
LONGEST_PATH, MOST_FILES = 1000, 10_000
MEANS = ("mean",)
RATIOS = ("bits_per_byte",)


class Positions(list):  # type: ignore[type-arg]
    """Positions of documents; lm-eval asks for each document whether it is among them."""

    def __init__(self, given: list[int]) -> None:
        super().__init__(sorted(given))
        self._known = set(given)

    def __contains__(self, position: object) -> bool:
        return position in self._known


class Wrong(Exception):
    """What the person who named the task is told."""


def main() -> None:
    """Answer one request."""
    request = json.loads(Path(sys.argv[1]).read_text())
    logging.disable(logging.WARNING)
    with contextlib.redirect_stdout(sys.stderr):
        answer = {"documents": documents, "requests": requests, "score": score}[request["mode"]](request)
    fresh = Path(request["output"] + ".new")
    fresh.write_text(json.dumps(answer))
    fresh.replace(request["output"])


def load(request: dict[str, Any]) -> dict[str, Any]:
    """The leaf tasks of what was named, by name, set up as lm-eval sets them up."""
    import numpy as np
    from lm_eval.tasks import TaskManager

    random.seed(SEED)
    np.random.seed(OTHER_SEED)
    name, folder = request["task"], request.get("folder") or None
    if folder and not Path(folder).is_dir():
        folder = None  # another lm-eval than the one that said so
    try:
        # A folder's tasks need none of lm-eval's own, of which the list alone takes seconds.
        manager = TaskManager(include_path=folder, include_defaults=folder is None)
        if not Path(name).is_file() and name not in manager.all_tasks:
            raise Wrong(unknown(name, folder, manager.all_tasks))
        loaded = manager.load([name])
    except Wrong:
        raise
    except Exception as error:
        raise Wrong(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}") from error
    tasks: dict[str, Any] = loaded["tasks"]
    request["folder"] = folder or narrow(manager, name, [*tasks, *loaded.get("groups", ())])
    for task in tasks.values():
        if task.get_config("num_fewshot") is None:
            task.set_config(key="num_fewshot", value=0)
        task.set_fewshot_seed(seed=OTHER_SEED)
    return tasks


def narrow(manager: Any, name: str, needed: list[str]) -> str:
    """The folder that has all of a task of lm-eval's own: to look through the others takes seconds."""
    from lm_eval.tasks import TaskManager

    path = manager.task_index[name].yaml_path
    if path is None:
        return ""
    small = TaskManager(include_path=str(path.parent), include_defaults=False)
    return str(path.parent) if {name, *needed} <= set(small.all_tasks) else ""


def unknown(name: str, folder: str | None, known: list[str]) -> str:
    """Which tasks there are instead: a folder's own, or what is spelt alike."""
    import difflib

    if folder:
        return f"there is no task {name!r} in that folder; it has {', '.join(known[:20]) or 'none'}"
    near = difflib.get_close_matches(name, known, n=3)
    return f"lm-eval has no task {name!r}" + (f" (did you mean {' or '.join(near)}?)" if near else "")


# Documents


def documents(request: dict[str, Any]) -> dict[str, Any]:
    """All documents that the task measures on, and the metrics that can be had of each document alone."""
    import lm_eval

    own = yaml_files(request)
    tasks = load(request)
    refuse(tasks)
    rows = [row for name, task in tasks.items() for row in described(name, task)]
    if not rows:
        raise Wrong("the task has no documents")
    metrics, left_out = measured(tasks)
    return {
        "version": lm_eval.__version__,
        "folder": request["folder"],
        "rows": rows,
        "metrics": metrics,
        "left_out": left_out,
        "repositories": sorted({r for task in tasks.values() for r in sources(task)[0]}),
        "files": sorted({f for task in tasks.values() for f in sources(task)[1]}),
        "yaml": own,
        "shots": sorted({task.config.num_fewshot or 0 for task in tasks.values()}),
    }


def yaml_files(request: dict[str, Any]) -> list[str]:
    """Where a task of the person's own is written down, which may quote its documents."""
    if not request.get("folder"):
        return []
    if Path(request["task"]).is_file():
        return [request["task"]]
    return [str(f) for f in Path(request["folder"]).rglob("*.y*ml") if f.stem == request["task"]]


def refuse(tasks: dict[str, Any]) -> None:
    """What is not run here: programs that a model wrote, and pictures."""
    for name, task in tasks.items():
        if getattr(task, "UNSAFE_CODE", False) or task.get_config("unsafe_code"):
            raise Wrong(f"{name} runs programs that a model wrote, beside what is right for them")
        if getattr(task, "MULTIMODAL", False):
            raise Wrong(f"{name} asks about pictures or sounds")
        if task.OUTPUT_TYPE not in (
            "loglikelihood",
            "loglikelihood_rolling",
            "multiple_choice",
            "generate_until",
        ):
            raise Wrong(f"{name} asks for {task.OUTPUT_TYPE}, which is not known here")


def described(name: str, task: Any) -> list[dict[str, Any]]:
    """A row a document: how it is asked, what is right, the texts in which it may stand in training data."""
    docs = list(task.eval_docs)
    telling = columns(docs)
    rows = []
    for index, doc in enumerate(docs):
        asked, right = text_of(task.doc_to_text, doc), right_of(task, doc)
        own = [doc[c] for c in telling if isinstance(doc.get(c), str) and doc[c].strip()]
        texts = [t for t in (asked, *own, right) if t.strip()]
        if not texts:
            raise Wrong(f"document {index} of {name} has no text")
        rows.append({"task": name, "index": index, "text": texts[0], "target": right, "also": texts[1:-1]})
    return rows


def columns(docs: list[Any]) -> list[str]:
    """The columns of text that tell one document from the others; a subject or a licence does not."""
    found = []
    for name in docs[0] if docs and isinstance(docs[0], dict) else ():
        texts = [d[name] for d in docs if isinstance(d.get(name), str)]
        long = [t for t in texts if len(t.split()) >= WORDS_OF_A_TEXT]
        if 2 * len(long) >= len(docs) and 10 * len(set(long)) >= 9 * len(long):
            found.append(name)
    return found


def text_of(template: Any, doc: Any) -> str:
    """What a task's template gives, where that is text."""
    found = template(doc)
    return found if isinstance(found, str) else ""


def right_of(task: Any, doc: Any) -> str:
    """What is right, in words."""
    found = task.doc_to_target(doc)
    if isinstance(found, list):
        found = found[0] if found else ""
    if isinstance(found, int) and task.get_config("doc_to_choice") is not None:
        choices = task.doc_to_choice(doc)
        return str(choices[found]) if 0 <= found < len(choices) else ""
    return str(found)


def sources(task: Any) -> tuple[list[str], list[str]]:
    """Where the documents are from: splits of repositories, and files of this machine."""
    config = task.config
    path = str(config.dataset_path or "")
    given = [f for v in nested(config.dataset_kwargs or {}) for f in files_at(v)]
    if path and Path(path).exists():
        return [], [*files_at(path), *given]
    split = config.test_split or config.validation_split
    open_split = config.training_split and config.training_split != split
    if path.count("/") != 1:
        return [], given
    return [f"{path}:{split}" if open_split else path], given


def files_at(named: str) -> list[str]:
    """The files of this machine that a path, a pattern or a folder names."""
    if len(named) > LONGEST_PATH:
        return []
    # A pattern is relative to where the person is, and may begin at the root: pathlib knows only the one.
    places = map(Path, glob.glob(named, recursive=True))  # noqa: PTH207
    found = [f for p in places for f in (p.rglob("*") if p.is_dir() else [p]) if f.is_file()]
    return [str(f.absolute()) for f in found[:MOST_FILES]]


def nested(value: Any) -> list[str]:
    """All texts in lists and tables."""
    if isinstance(value, dict):
        return [t for v in value.values() for t in nested(v)]
    if isinstance(value, list | tuple):
        return [t for v in value for t in nested(v)]
    return [value] if isinstance(value, str) else []


def measured(tasks: dict[str, Any]) -> tuple[dict[str, bool], list[str]]:
    """Metrics that all tasks give for each document alone, with which way is up; and the others.

    A document is scored with made-up answers to learn what comes back.
    """
    kept: list[dict[str, bool]] = []
    left_out: set[str] = set()
    for name, task in tasks.items():
        found = {}
        for entry in scored({name: task}, {name: Positions([0])}, MadeUp())[name]:
            for metric in entry["metrics"]:
                key = key_of(metric, entry["filter"])
                if parts(metric, entry[metric], task) is None:
                    left_out.add(key)
                else:
                    found[key] = bool(task.higher_is_better().get(metric, True))
        kept.append(found)
    common = {k: up for k, up in kept[0].items() if all(other.get(k) == up for other in kept)}
    return common, sorted(left_out | {k for found in kept for k in found if k not in common})


def key_of(metric: str, chosen: str) -> str:
    """``exact_match,strict-match`` as lm-eval writes it; without the filter where there is none."""
    return metric if chosen == "none" else f"{metric},{chosen}"


def parts(metric: str, value: Any, task: Any) -> tuple[float, float] | None:
    """What a document adds to the two sums whose ratio the metric is; None where it is no such ratio."""
    import math

    rule = task.aggregation().get(metric)
    kind = getattr(rule, "__name__", "mean") if rule is not None else "mean"
    try:
        if kind in MEANS:
            return float(value), 1.0
        if kind in RATIOS:
            nats, size = value
            return -float(nats) / math.log(2), float(size)
    except (TypeError, ValueError):
        return None
    return None


# Requests and scores


def requests(request: dict[str, Any]) -> dict[str, Any]:
    """What a model is to be asked; the same request is asked once."""
    asked: dict[str, dict[str, Any]] = {}
    tasks = load(request)
    for name, positions in request["samples"].items():
        tasks[name].build_all_requests(samples=Positions(positions), rank=0, world_size=1)
        for instance in tasks[name].instances:
            for turn in range(instance.repeats or 1):
                asked.setdefault(*worded(instance, turn))
    return {"requests": list(asked.values())}


def worded(instance: Any, turn: int) -> tuple[str, dict[str, Any]]:
    """A request and its key. Repetitions of one that is drawn at random are requests of their own."""
    kind, given = instance.request_type, instance.args
    if kind == "loglikelihood":
        made = {"kind": kind, "context": given[0], "continuation": given[1]}
    elif kind == "loglikelihood_rolling":
        made = {"kind": kind, "text": given[0]}
    else:
        made = {"kind": kind, "context": given[0], "how": given[1]}
        if given[1].get("do_sample"):
            made["turn"] = turn
    return json.dumps(made, sort_keys=True), made


def score(request: dict[str, Any]) -> dict[str, Any]:
    """What each document adds to each metric, in the order of the tasks and positions that were asked."""
    tasks = load(request)
    chosen = {name: Positions(positions) for name, positions in request["samples"].items()}
    asked, answers = (lines(request[name]) for name in ("requests", "answers"))
    if len(answers) != len(asked):
        raise Wrong(f"{len(answers)} answers to {len(asked)} requests")
    known = {json.dumps(r, sort_keys=True): a for r, a in zip(asked, answers, strict=True)}
    found: dict[tuple[str, int], dict[str, tuple[float, float]]] = {}
    for name, entries in scored(tasks, chosen, Known(known)).items():
        for entry in entries:
            row = found.setdefault((name, entry["doc_id"]), {})
            for metric in entry["metrics"]:
                if (value := parts(metric, entry[metric], tasks[name])) is not None:
                    row[key_of(metric, entry["filter"])] = value
    return {"rows": [found[name, position] for name in chosen for position in chosen[name]]}


def lines(path: str) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines."""
    with Path(path).open() as file:
        return [json.loads(line) for line in file]


def scored(
    tasks: dict[str, Any], chosen: dict[str, Positions], model: Any
) -> dict[str, list[dict[str, Any]]]:
    """lm-eval's own evaluation of documents with a model's answers."""
    from lm_eval.api.model import LM
    from lm_eval.evaluator import evaluate

    class Answering(LM):  # type: ignore[misc]
        """Has its answers from elsewhere."""

        def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
            return [(float(a["nats"]), bool(a["greedy"])) for a in model.answers(requests)]

        def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
            return [float(a["nats"]) for a in model.answers(requests)]

        def generate_until(self, requests: list[Any]) -> list[str]:
            return [str(a["text"]) for a in model.answers(requests)]

    used = {name: tasks[name] for name in chosen}
    found = evaluate(
        lm=Answering(), task_dict={"tasks": used}, samples=dict(chosen), bootstrap_iters=0, log_samples=True
    )
    samples: dict[str, list[dict[str, Any]]] = found["samples"]
    return samples


class MadeUp:
    """Answers that mean nothing."""

    def answers(self, requests: list[Any]) -> list[dict[str, Any]]:
        """One a request; different ones, since some metrics cannot take equal ones."""
        return [{"nats": -1.0 - n, "greedy": False, "text": "0"} for n in range(len(requests))]


class Known:
    """Answers that a model gave."""

    def __init__(self, answers: dict[str, dict[str, Any]]) -> None:
        self._answers = answers

    def answers(self, requests: list[Any]) -> list[dict[str, Any]]:
        """The answer of each request; the n-th repetition has the n-th that was drawn."""
        turns: dict[int, int] = {}
        found = []
        for request in requests:
            turn = turns[id(request)] = turns.get(id(request), -1) + 1
            found.append(self._answers[worded(request, turn)[0]])
        return found


if __name__ == "__main__":
    try:
        main()
    except Wrong as error:
        sys.stderr.write(f"\nWRONG {error}\n")
        sys.exit(3)
