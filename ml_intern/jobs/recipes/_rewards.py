"""Rewards for completions: a small library, and functions that the user wrote.

A reward is a word, ``"parses"``, or a dict with its options, ``{"type": "exact", "column": "answer", "weight":
2}``. `read_rewards` judges them, before a job starts and inside the recipe alike; `make_rewards` makes of each
a function as TRL calls it. It stands beside the recipes and needs nothing of ML Intern.

    exact    1 where the completion, stripped, is what a column says; `extract` is a pattern whose first group,
             searched for in the completion, is compared in its place; `ignore_case`
    numeric  1 where math-verify finds the completion's answer equal to that of a column: 1/2 is 0.5
    regex    1 where a `pattern` is found, or with `whole` matches all of the completion
    length   1 between `min` and `max` tokens (`unit`: or characters), falling in proportion outside
    parses   1 where the completion is Python that parses and is not empty
    runs     1 where it is Python that runs to its end within `timeout` seconds and `memory_mb`, and then the
             tests of a `column`, where one is named, in the same process
    model    the score of a reward model
    python   what the function in `code` gives:  def reward(completions, answer, **others) -> a list of numbers,
             or  def reward(completion, answer, **others) -> a number;  each name is a column of the data, and
             there are prompts (prompt) and completion_ids; None leaves a completion out
"""

from __future__ import annotations

import ast
import difflib
import math
import re
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
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
_OF_TRL = ("trainer_state", "log_extra", "log_metric")
_PROCESSES = 4
MEMORY_MB = 512
TIMEOUT_S = 2.0

Spec = dict[str, Any]
Rewarding = Callable[..., list[float | None]]


class RewardError(ValueError):
    """Rewards that cannot be given: all that is wrong with them, in one line."""


class RewardFailed(RuntimeError):
    """A reward that went wrong while it was given."""


# What is asked


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
        raise RewardError(f'rewards are missing: a list such as ["exact"]; there are {", ".join(KINDS)}.')
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
        raise RewardError("; ".join(problems) + ".")
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
        return [f"the code does not parse: line {getattr(error, 'lineno', 1)}: {getattr(error, 'msg', error)}"]
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
    known = {*columns, *_GIVEN, *_OF_TRL, *optional}
    return [
        f"{function.name}() asks for {n!r}, no column of the data{_guess(n, columns)}"
        for n in names
        if n not in known
    ]


def _guess(word: Any, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(word), list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else f" (there are {', '.join(sorted(known))})"


# What is given


def make_rewards(specs: list[Spec], device: str = "cpu") -> list[Rewarding]:
    """A function for each reward, as TRL calls it: with lists, and every column of the data by its name."""
    makers: dict[str, Callable[[Spec], Rewarding]] = {
        "exact": _exact,
        "numeric": _numeric,
        "regex": _regex,
        "length": _length,
        "parses": _parses,
        "runs": _runs,
        "model": lambda spec: _model(spec, device),
        "python": _python,
    }
    return [_checked(spec["name"], makers[spec["type"]](spec)) for spec in specs]


def text_of(completion: Any) -> str:
    """The text of a completion or a prompt; of messages that of the last one."""
    if isinstance(completion, str):
        return completion
    return str(completion[-1].get("content") or "") if completion else ""


def _checked(name: str, give: Rewarding) -> Rewarding:
    """A reward under its name, of which nothing but finite numbers and None come.

    TRL takes a reward of None for all as no reward at all, and trains on with a loss of 0.
    """

    def checked(completions: list[Any], **columns: Any) -> list[float | None]:
        columns["prompts"] = [text_of(prompt) for prompt in columns["prompts"]]
        given = give([text_of(completion) for completion in completions], **columns)
        if not isinstance(given, list | tuple) or len(given) != len(completions):
            many = len(given) if isinstance(given, list | tuple) else type(given).__name__
            raise RewardFailed(f"the reward {name!r} gave {many} for {len(completions)} completions")
        for text, value in zip(completions, given, strict=True):
            if value is not None and not (isinstance(value, int | float) and math.isfinite(value)):
                raise RewardFailed(f"the reward {name!r} gave {value!r} for {text_of(text)[:80]!r}")
        if all(value is None for value in given):
            raise RewardFailed(f"the reward {name!r} gave None for all of {len(completions)} completions")
        return [None if value is None else float(value) for value in given]

    checked.__name__ = name
    return checked


def _exact(spec: Spec) -> Rewarding:
    column, fold = spec["column"], spec.get("ignore_case", False)
    pattern = re.compile(spec["extract"], re.S) if "extract" in spec else None

    def plain(text: str) -> str:
        return text.strip().casefold() if fold else text.strip()

    def one(text: str, answer: Any) -> float:
        if pattern is not None:
            found = pattern.search(text)
            if found is None:
                return 0.0
            text = (found[1] if pattern.groups else found[0]) or ""
        return float(plain(text) == plain(str(answer)))

    def give(completions: list[str], **columns: Any) -> list[float | None]:
        return [one(text, answer) for text, answer in zip(completions, columns[column], strict=True)]

    return give


def _numeric(spec: Spec) -> Rewarding:
    """math-verify stops what takes too long with an alarm, which Python allows in the main thread only."""
    from functools import lru_cache

    from math_verify import parse, verify

    @lru_cache(maxsize=65_536)
    def read(answer: str, limit: int | None) -> Any:
        return parse(answer, parsing_timeout=limit)

    def give(completions: list[str], **columns: Any) -> list[float | None]:
        limit = 5 if threading.current_thread() is threading.main_thread() else None
        given: list[float | None] = []
        for text, answer in zip(completions, columns[spec["column"]], strict=True):
            gold = read(str(answer), limit)
            said = parse(text, parsing_timeout=limit) if gold else []
            given.append(float(verify(gold, said, timeout_seconds=limit)) if gold else None)
        return given

    return give


def _regex(spec: Spec) -> Rewarding:
    pattern = re.compile(spec["pattern"], re.S)
    match = pattern.fullmatch if spec.get("whole") else pattern.search

    def give(completions: list[str], **columns: Any) -> list[float | None]:
        return [float(match(text) is not None) for text in _judged(spec, completions, columns)]

    return give


def _length(spec: Spec) -> Rewarding:
    least, most, tokens = spec.get("min", 0), spec.get("max"), spec.get("unit", "tokens") == "tokens"

    def one(length: int) -> float:
        if length < least:
            return length / least
        return most / length if most is not None and length > most else 1.0

    def give(completions: list[str], **columns: Any) -> list[float | None]:
        counted = columns["completion_ids"] if tokens else completions
        return [one(len(each)) for each in counted]

    return give


def _parses(spec: Spec) -> Rewarding:
    def give(completions: list[str], **columns: Any) -> list[float | None]:
        judged = _judged(spec, completions, columns)
        return [float(bool(c.strip()) and _is_python(t)) for c, t in zip(completions, judged, strict=True)]

    return give


def _is_python(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _judged(spec: Spec, completions: list[str], columns: Mapping[str, Any]) -> list[str]:
    if not spec.get("with_prompt"):
        return completions
    return [prompt + text for prompt, text in zip(columns["prompts"], completions, strict=True)]


def _runs(spec: Spec) -> Rewarding:
    from concurrent.futures import ThreadPoolExecutor

    column, seconds = spec.get("column"), float(spec.get("timeout", TIMEOUT_S))
    memory = spec.get("memory_mb", MEMORY_MB)

    def give(completions: list[str], **columns: Any) -> list[float | None]:
        tests = [str(t) for t in columns[column]] if column else [""] * len(completions)
        codes = _judged(spec, completions, columns)
        with ThreadPoolExecutor(_PROCESSES) as pool:
            ran = pool.map(lambda pair: runs_to_its_end(*pair, seconds, memory), zip(codes, tests, strict=True))
        return [
            float(bool(text.strip()) and done) for text, done in zip(completions, list(ran), strict=True)
        ]

    return give


_RUNNER = """
import os, resource, sys
word, memory, seconds = sys.stdin.readline(), int(sys.argv[1]) << 20, int(sys.argv[2])
code, tests = sys.stdin.read(int(sys.argv[3])), sys.stdin.read()
resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 24, 1 << 24))
end, nothing = os.dup(1), os.open(os.devnull, os.O_RDWR)
for number in (0, 1, 2):
    os.dup2(nothing, number)
space = {"__name__": "__main__"}
exec(compile(code, "completion", "exec"), space)
exec(compile(tests, "tests", "exec"), space)
os.write(end, word.encode())
"""


def runs_to_its_end(code: str, tests: str, seconds: float, memory_mb: int) -> bool:
    """Run Python in a process of its own, with limits, in an empty folder, and end all that it leaves.

    Walls against what it may do are the job's: it reaches what the job reaches. The word that it must give
    back tells an end from an early exit, which would step over the tests.
    """
    import os
    import secrets
    import signal
    import subprocess
    import tempfile

    word = secrets.token_hex(16) + "\n"
    code, tests = (t.encode("utf-8", "replace").decode() for t in (code, tests))
    limits = [str(memory_mb), str(math.ceil(seconds) + 1), str(len(code))]
    with tempfile.TemporaryDirectory() as folder:
        child = subprocess.Popen(
            [sys.executable, "-I", "-X", "utf8", "-c", _RUNNER, *limits],
            cwd=folder,
            env={"PATH": os.defpath, "HOME": folder, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
            encoding="utf-8",
        )
        try:
            said, _ = child.communicate(word + code + tests, timeout=seconds)
        except (subprocess.TimeoutExpired, UnicodeDecodeError):
            said = ""
        finally:
            try:
                os.killpg(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            child.kill()
            child.communicate()
    return said == word


def _model(spec: Spec, device: str) -> Rewarding:
    """Read as in its own training: start token, prompt, answer, end token."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = Path(spec["model"])
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval().to(device)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model.config.get_text_config().pad_token_id = pad = tokenizer.pad_token_id or tokenizer.eos_token_id

    @torch.inference_mode()
    def give(completions: list[str], **columns: Any) -> list[float | None]:
        texts = [p + c + tokenizer.eos_token for p, c in zip(columns["prompts"], completions, strict=True)]
        rows = [torch.tensor(tokenizer(text)["input_ids"]) for text in texts]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad)
        lengths = torch.tensor([len(row) for row in rows])
        mask = (torch.arange(ids.shape[1])[None, :] < lengths[:, None]).long()
        scores = model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits[:, 0]
        return list(scores.float().tolist())

    return give


def _python(spec: Spec) -> Rewarding:
    import inspect

    name = spec["name"]
    space: dict[str, Any] = {"__name__": "rewards"}
    try:
        exec(compile(spec["code"], "reward", "exec"), space)
    except Exception as error:  # noqa: BLE001 - it is the user's own code, whatever it raises
        raise RewardFailed(f"the code of the reward {name!r} failed: {_told(error)}") from error
    function = space.get(spec.get("function", "reward")) or _only_function(spec["code"], space)
    taken = inspect.signature(function).parameters
    every = any(p.kind is p.VAR_KEYWORD for p in taken.values())

    def call(values: dict[str, Any]) -> Any:
        try:
            return function(**{k: v for k, v in values.items() if every or k in taken})
        except Exception as error:  # noqa: BLE001 - the same
            raise RewardFailed(f"the reward {name!r} failed: {_told(error)}") from error

    def give(completions: list[str], **columns: Any) -> list[float | None]:
        if "completions" in taken:
            given: list[float | None] = call({"completions": completions, **columns})
            return given
        lists = {k: v for k, v in columns.items() if k not in _OF_TRL} | {"prompt": columns["prompts"]}
        rows = [{k: values[i] for k, values in lists.items()} for i in range(len(completions))]
        return [call({**row, "completion": text}) for row, text in zip(rows, completions, strict=True)]

    return give


def _only_function(code: str, space: dict[str, Any]) -> Any:
    [name] = [node.name for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)]
    return space[name]


def _told(error: Exception) -> str:
    """The error with the line of the user's code that it came from."""
    import traceback

    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "reward"]
    where = f" (line {lines[-1]} of the code)" if lines else ""
    return f"{type(error).__name__}: {error}{where}"
