"""Giving the rewards that `_rewards.py` has read: a function for each, as TRL calls it.

It stands beside the recipes and needs nothing of ML Intern.
"""

from __future__ import annotations

import ast
import math
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from _rewards import OF_TRL, TIMEOUT_S
from _validation import Watch

Spec = dict[str, Any]
Rewarding = Callable[..., "list[float | None]"]
_PROCESSES = 4
_MEMORY_MB = 512


class RewardFailed(RuntimeError):
    """A reward that went wrong while it was given."""


def make_rewards(specs: list[Spec], device: str = "cpu", watch: Watch | None = None) -> list[Rewarding]:
    """A function for each reward, as TRL calls it: with lists, and every column of the data by its name.

    A reward of weight 0 is given and not climbed: its mean is logged as unrewarded/NAME, too.
    """
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
    silent = {spec["name"]: False for spec in specs}
    return [_checked(spec, makers[spec["type"]](spec), silent, watch) for spec in specs]


def text_of(completion: Any) -> str:
    """The text of a completion or a prompt; of messages that of the last one."""
    if isinstance(completion, str):
        return completion
    return str(completion[-1].get("content") or "") if completion else ""


def _checked(spec: Spec, give: Rewarding, silent: dict[str, bool], watch: Watch | None) -> Rewarding:
    """A reward under its name, of which nothing but finite numbers and None come.

    None says that a reward has nothing to do with a row. Where all rewards say so of all rows, TRL goes on
    training with a loss of 0; so `silent`, which the rewards share, tells when to stop.
    """
    name = spec["name"]

    def checked(completions: list[Any], **columns: Any) -> list[float | None]:
        columns["prompts"] = [text_of(prompt) for prompt in columns["prompts"]]
        columns["prompt"] = columns["prompts"]  # A column of the data like any other, and TRL leaves it out.
        texts = [text_of(completion) for completion in completions]
        given = give(texts, **columns)
        if not isinstance(given, list | tuple) or len(given) != len(completions):
            many = len(given) if isinstance(given, list | tuple) else type(given).__name__
            raise RewardFailed(f"the reward {name!r} gave {many} for {len(completions)} completions")
        for text, value in zip(completions, given, strict=True):
            if value is not None and not (isinstance(value, int | float) and math.isfinite(value)):
                raise RewardFailed(f"the reward {name!r} gave {value!r} for {text_of(text)[:80]!r}")
        silent[name] = all(value is None for value in given)
        if all(silent.values()):
            raise RewardFailed(f"{', '.join(silent)} gave None for all of {len(completions)} completions")
        earned = [None if value is None else float(value) for value in given]
        if not spec["weight"] and columns.get("log_metric"):
            some = [value for value in earned if value is not None]
            columns["log_metric"](f"unrewarded/{name}", sum(some) / len(some) if some else math.nan)
        if watch is not None:
            watch.see(name, texts, earned, columns)
        return earned

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
        above: float = most / length if most is not None and length > most else 1.0
        return length / least if length < least else above

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
    memory = spec.get("memory_mb", _MEMORY_MB)

    def runs(code: str, tests: str) -> bool:
        return runs_to_its_end(code, tests, seconds, memory)

    def give(completions: list[str], **columns: Any) -> list[float | None]:
        tests = [str(t) for t in columns[column]] if column else [""] * len(completions)
        codes = _judged(spec, completions, columns)
        with ThreadPoolExecutor(_PROCESSES) as pool:
            ran = list(pool.map(runs, codes, tests))
        return [float(bool(text.strip()) and done) for text, done in zip(completions, ran, strict=True)]

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
    return said.startswith(word)


def _model(spec: Spec, device: str) -> Rewarding:
    """Read as in its own training: start token, prompt, answer, end token."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = Path(spec["model"])
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval().to(device)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model.config.get_text_config().pad_token_id = pad = tokenizer.pad_token_id or tokenizer.eos_token_id

    def give(completions: list[str], **columns: Any) -> list[float | None]:
        texts = [p + c + tokenizer.eos_token for p, c in zip(columns["prompts"], completions, strict=True)]
        rows = [torch.tensor(tokenizer(text)["input_ids"]) for text in texts]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad)
        lengths = torch.tensor([len(row) for row in rows])
        mask = (torch.arange(ids.shape[1])[None, :] < lengths[:, None]).long()
        with torch.inference_mode():
            scores = model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits[:, 0]
        return list(scores.float().tolist())

    return give


def _python(spec: Spec) -> Rewarding:
    import inspect

    name = spec["name"]
    space: dict[str, Any] = {"__name__": "rewards"}
    try:
        exec(compile(spec["code"], "reward", "exec"), space)
    except Exception as error:  # the user's own code, whatever it raises
        raise RewardFailed(f"the code of the reward {name!r} failed: {_told(error)}") from error
    function = space.get(spec.get("function", "reward")) or _only_function(spec["code"], space)
    taken = inspect.signature(function).parameters
    every = any(p.kind is p.VAR_KEYWORD for p in taken.values())

    def call(values: dict[str, Any]) -> Any:
        try:
            return function(**{k: v for k, v in values.items() if every or k in taken})
        except Exception as error:
            raise RewardFailed(f"the reward {name!r} failed: {_told(error)}") from error

    def give(completions: list[str], **columns: Any) -> list[float | None]:
        if "completions" in taken:
            given: list[float | None] = call({"completions": completions, **columns})
            return given
        lists = {k: v for k, v in columns.items() if k not in OF_TRL} | {"prompt": columns["prompts"]}
        rows = [{k: values[i] for k, values in lists.items()} for i in range(len(completions))]
        return [call({**row, "completion": text}) for row, text in zip(rows, completions, strict=True)]

    return give


def _only_function(code: str, space: dict[str, Any]) -> Any:
    [name] = [node.name for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)]
    return space[name]


def _told(error: Exception) -> str:
    """The error with the line of the user's code that it came from."""
    import traceback

    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "reward"
    ]
    where = f" (line {lines[-1]} of the code)" if lines else ""
    return f"{type(error).__name__}: {error}{where}"
