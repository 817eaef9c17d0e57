"""Rewards for completions: a small library, and functions that the user wrote.

A reward is a word, ``"parses"``, or a dict with its options, ``{"type": "exact", "weight": 2}``.
`read_rewards` judges them, before a job starts and inside the recipe alike; `_rewarding.py` gives them. It
stands beside the recipes and needs nothing of ML Intern.

    exact    1 where the completion, stripped, is what a `column` says; `extract` is a pattern whose first
             group, searched for in the completion, is compared in its place; `ignore_case`
    numeric  1 where math-verify finds the completion's answer equal to that of a `column`: 1/2 is 0.5
    regex    1 where a `pattern` is found, or with `whole` matches all of the completion
    length   1 between `min` and `max` tokens (`unit`: or characters), falling in proportion outside
    parses   1 where the completion is Python that parses and is not empty
    runs     1 where it is Python that runs to its end within `timeout` seconds and `memory_mb`, and then the
             tests of a `column`, where one is named, in the same process
    model    the score of a reward model
    python   what the function in `code` gives:  def reward(completions, answer, **others) -> a list of
             numbers,  or  def reward(completion, answer, **others) -> a number;  each name is a column of the
             data, and there are prompts (prompt) and completion_ids; None leaves a completion out
"""

from __future__ import annotations

import ast
import difflib
import math
import re
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import Any

_WITH_PROMPT = {"with_prompt": bool}
"""Judge prompt and completion together: a completion may be the end of a program."""
KINDS: dict[str, dict[str, Any]] = {
    "exact": {"column": str, "extract": str, "ignore_case": bool},
    "numeric": {"column": str},
    "regex": {"pattern": str, "whole": bool, **_WITH_PROMPT},
    "length": {"min": int, "max": int, "unit": str},
    "parses": _WITH_PROMPT,
    "runs": {"column": str, "timeout": (int, float), "memory_mb": int, **_WITH_PROMPT},
    "model": {"model": str},
    "python": {"code": str, "function": str},
}
_OF_ALL = {"type": str, "name": str, "weight": (int, float)}
_DEFAULTS: dict[str, dict[str, Any]] = {"exact": {"column": "answer"}, "numeric": {"column": "answer"}}
_NEEDED = {"regex": ("pattern",), "model": ("model",), "python": ("code",)}
_GIVEN = ("prompts", "prompt", "completions", "completion", "completion_ids")
OF_TRL = ("trainer_state", "log_extra", "log_metric")
TIMEOUT_S = 2.0

Spec = dict[str, Any]


class RewardError(ValueError):
    """Rewards that cannot be given: all that is wrong with them, in one line.

    Args:
        problems: The same, one by one.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems).removesuffix(".") + ".")
        self.problems = problems


def read_rewards(given: Any, columns: Iterable[str] | None = None) -> list[Spec]:
    """What rewards mean: each a dict with its type, name, weight and options.

    Args:
        given: What the user wrote: a reward, or a list of them.
        columns: Of the data; None where they are not known.

    Raises:
        RewardError: Names everything that is wrong.
    """
    asked = given if isinstance(given, list) else [given]
    if given is None or not asked:
        told = f'rewards are missing: a list such as ["exact"]; there are {", ".join(KINDS)}'
        raise RewardError([told])
    read, problems = [], []
    known = None if columns is None else set(columns)
    for number, one in enumerate(asked, 1):
        spec: Any = {"type": one} if isinstance(one, str) else one
        found = _problems(spec, known)
        problems += [f"rewards[{number}]: {problem}" for problem in found]
        if not found:
            kind = spec["type"]
            read.append({"name": kind, "weight": 1.0, **_DEFAULTS.get(kind, {}), **spec})
    names = [spec["name"] for spec in read]
    for twice in sorted({name for name in names if names.count(name) > 1}):
        problems.append(f"two rewards are called {twice!r}: give each a name")
    if problems:
        raise RewardError(problems)
    return read


def _problems(spec: Any, columns: set[str] | None) -> list[str]:
    if not isinstance(spec, Mapping):
        return [f"{spec!r} is neither a word nor a dict"]
    kind = spec.get("type")
    if kind not in KINDS:
        return [f"type = {kind!r} is not known{_guess(kind, KINDS)}"]
    takes = {**_OF_ALL, **KINDS[kind]}
    found = [f"{kind} has no option {key!r}{_guess(key, takes)}" for key in spec if key not in takes]
    found += [f"{key} = {spec[key]!r} is of a wrong type" for key in spec if not _fits(spec, key, takes)]
    found += [f"{kind} needs {key}" for key in _NEEDED.get(kind, ()) if key not in spec]
    if found:
        return found
    options = {**_DEFAULTS.get(kind, {}), **spec}
    return [*_missing_column(options, columns), *_of_kind(kind, options, columns)]


def _fits(spec: Mapping[str, Any], key: str, takes: Mapping[str, Any]) -> bool:
    if key not in takes:
        return True
    value, wanted = spec[key], takes[key]
    if isinstance(value, bool):
        return wanted is bool
    return isinstance(value, wanted) and not (isinstance(value, float) and not math.isfinite(value))


def _missing_column(options: Mapping[str, Any], columns: set[str] | None) -> list[str]:
    column = options.get("column")
    if columns is None or column is None or column in columns:
        return []
    return [f"the data has no column {column!r}{_guess(column, columns)}"]


def _of_kind(kind: str, options: Mapping[str, Any], columns: set[str] | None) -> list[str]:
    if kind == "python":
        return _in_code(options, columns)
    if kind == "numeric" and find_spec("math_verify") is None:
        return ["numeric needs the package math-verify"]
    if kind == "length":
        return _in_length(options)
    if kind == "runs" and options.get("timeout", TIMEOUT_S) <= 0:
        return [f"timeout = {options['timeout']!r} must be above zero"]
    for name in ("pattern", "extract"):
        try:
            re.compile(options.get(name, ""))
        except re.error as error:
            return [f"{name} = {options[name]!r} is no regular expression: {error}"]
    return []


def _in_length(options: Mapping[str, Any]) -> list[str]:
    least, most = options.get("min", 0), options.get("max")
    if "min" not in options and most is None:
        return ["length needs min or max"]
    if least < 0 or (most is not None and most < max(least, 1)):
        return [f"min = {least} and max = {most} leave no length"]
    unit = options.get("unit", "tokens")
    return [] if unit in ("tokens", "characters") else [f"unit = {unit!r} is neither tokens nor characters"]


def _in_code(options: Mapping[str, Any], columns: set[str] | None) -> list[str]:
    """What can be seen of a function without running it: it parses, it is there, and so are its columns."""
    try:
        tree = ast.parse(options["code"])
    except (SyntaxError, ValueError) as error:
        return [
            f"the code does not parse: line {getattr(error, 'lineno', 1)}: {getattr(error, 'msg', error)}"
        ]
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    wanted = options.get("function", "reward")
    function = functions.get(wanted)
    if function is None and "function" not in options and len(functions) == 1:
        function = next(iter(functions.values()))
    if function is None:
        return [f"the code defines no function {wanted!r}{_guess(wanted, functions)}"]
    taken = function.args
    names = [a.arg for a in (*taken.posonlyargs, *taken.args, *taken.kwonlyargs)]
    if not {"completions", "completion"} & set(names):
        return [f"{function.name}() takes neither completions nor completion"]
    if columns is None:
        return []
    optional = [a.arg for a in taken.args[len(taken.args) - len(taken.defaults) :]]
    optional += [a.arg for a, d in zip(taken.kwonlyargs, taken.kw_defaults, strict=True) if d is not None]
    known = {*columns, *_GIVEN, *OF_TRL, *optional}
    return [
        f"{function.name}() asks for {n!r}, no column of the data{_guess(n, columns)}"
        for n in names
        if n not in known
    ]


def _guess(word: Any, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(word), list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else f" (there are {', '.join(sorted(known))})"
