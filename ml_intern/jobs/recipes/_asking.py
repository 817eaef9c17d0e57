"""What is wrong with a config of generate.py or score.py.

It stands beside the recipes and needs nothing of ML Intern.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

_TOP: dict[str, Any] = {
    "model": str,
    "tasks": list,
    "batch_size": int,
    "output_dir": str,
    "metrics_file": str,
}
_NEEDED = ("model", "tasks", "output_dir", "metrics_file")
_OF_ALL: dict[str, Any] = {"name": str, "kind": str, "file": str}
_GENERATE: dict[str, Any] = {
    "max_new_tokens": int,
    "temperature": (int, float),
    "top_p": (int, float),
    "samples": int,
    "seed": int,
    "stop": list,
    "only_read": bool,
}
KINDS: dict[str, dict[str, Any]] = {
    # What a likelihood has no use for may stand there, so that a list of tasks can share its options.
    "likelihood": {**_OF_ALL, **_GENERATE},
    "generate": {**_OF_ALL, **_GENERATE},
    "options": {**_OF_ALL, **_GENERATE},
    "continuations": {**_OF_ALL, **_GENERATE},
}
SCORES: dict[str, dict[str, Any]] = {"reward": _OF_ALL}
"""The kinds of score.py."""
_LEAST = {"batch_size": 0, "max_new_tokens": 1, "samples": 1, "temperature": 0, "top_p": 0}
_COLUMNS = {
    "likelihood": (("text",),),
    "generate": (("prompt",), ("messages",)),
    "options": (("prompt", "options"), ("messages", "options")),
    "continuations": (("prompt", "continuation"),),
}


def score_problems(config: Mapping[str, Any], notes: bool = False) -> Iterator[str]:
    """The same as `generate_problems` for score.py, whose tokenizer may be of any kind."""
    own = (p for p in generate_problems(config, notes, SCORES) if "no tokenizer.json" not in p)
    yield from own


def generate_problems(
    config: Mapping[str, Any], notes: bool = False, kinds: Mapping[str, dict[str, Any]] = KINDS
) -> Iterator[str]:
    """Each in a line: fields, tasks, their options and files; `notes` of a host may stand beside them."""
    if not notes:
        yield from (f"unknown field {n!r}{_near(n, [*_TOP, 'checkpoint_dir'])}" for n in _others(config))
    yield from (f"{name} is missing" for name in _NEEDED if config.get(name) is None)
    yield from _values("", config, _TOP)
    folder = config.get("model")
    if isinstance(folder, str) and not (Path(folder) / "config.json").is_file():
        yield f"model = {folder!r} is no folder of a model: there is no config.json in it"
    elif isinstance(folder, str) and not (Path(folder) / "tokenizer.json").is_file():
        yield f"model = {folder!r} has no tokenizer.json: save it with a fast tokenizer"
    tasks = config.get("tasks")
    if isinstance(tasks, list):
        yield from _of_tasks(tasks, kinds)


def _others(config: Mapping[str, Any]) -> list[str]:
    return [name for name in config if name not in _TOP and name != "checkpoint_dir"]


def _of_tasks(tasks: list[Any], kinds: Mapping[str, dict[str, Any]]) -> Iterator[str]:
    if not tasks:
        yield f'tasks is empty: [{{"name": "a", "kind": "{next(iter(kinds))}", "file": "texts.jsonl"}}]'
    names = [task.get("name") for task in tasks if isinstance(task, Mapping)]
    yield from (f"two tasks are called {n!r}: give each a name" for n in sorted(_twice(names)))
    for number, task in enumerate(tasks, 1):
        where = f"tasks[{number}]"
        if not isinstance(task, Mapping):
            yield f"{where} = {task!r:.80} must be a dict"
            continue
        yield from (f"{where}: {name} is missing" for name in _OF_ALL if task.get(name) is None)
        kind = task.get("kind")
        if kind is not None and kind not in kinds:
            yield f"{where}: the kind {kind!r} is not known{_near(str(kind), kinds)}"
            continue
        takes = kinds.get(str(kind), {**_OF_ALL, **_GENERATE})
        yield from (f"{where}: no option {n!r}{_near(n, takes)}" for n in task if n not in takes)
        yield from _values(f"{where}: ", task, takes)
        yield from _of_file(where, task)


def _of_file(where: str, task: Mapping[str, Any]) -> Iterator[str]:
    name, file = task.get("name"), task.get("file")
    if isinstance(name, str) and (not name or "/" in name or name.startswith(".")):
        yield f"{where}: name = {name!r} becomes the name of a file: letters, digits and hyphens"
    if isinstance(file, str) and not Path(file).is_file():
        yield f"{where}: file = {file!r} is no file"


def _values(where: str, given: Mapping[str, Any], takes: Mapping[str, Any]) -> Iterator[str]:
    for name, kind in takes.items():
        value = given.get(name)
        if value is None:
            continue
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            yield f"{where}{name} = {value!r:.80} must be {_word(kind)}"
        elif isinstance(value, float) and not math.isfinite(value):
            yield f"{where}{name} = {value!r} must be a finite number"
        elif name in _LEAST and value < _LEAST[name]:
            yield f"{where}{name} = {value!r} must be {_LEAST[name]} or above"
        elif name == "top_p" and not 0 < value <= 1:
            yield f"{where}{name} = {value!r} must be above 0 and at most 1"
        elif name == "stop" and not all(isinstance(word, str) and word for word in value):
            yield f"{where}stop must be a list of words"


def _word(kind: Any) -> str:
    return "float" if isinstance(kind, tuple) else str(kind.__name__)


def _twice(names: list[Any]) -> set[str]:
    return {name for name in names if isinstance(name, str) and names.count(name) > 1}


def _near(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else f" (there are {', '.join(known)})"
