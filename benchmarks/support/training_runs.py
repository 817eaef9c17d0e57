"""Models and data for `throughput.py`, made on the spot, and one training as a process of its own."""

from __future__ import annotations

import ast
import json
import os
import random
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

RECIPES = Path(__file__).resolve().parents[2] / "ml_intern" / "jobs" / "recipes"
PLAIN = Path(__file__).with_name("plain_trl.py")
TIMED = Path(__file__).with_name("timed.py")

Rows = list[dict[str, Any]]


class Run(NamedTuple):
    """What a training took.

    Attributes:
        loop_s: Seconds inside of train(), with the first step and compilation.
        loop_cpu_s: Seconds of processors in there, over all threads.
        whole_s: Seconds from the start of the process to its end.
        cpu_s: Seconds of processors in all.
        peak_mb: The most memory that was resident, in MiB; on a GPU the most that was allocated there.
        loss: The last logged one.
        steps: How many.
        tokens: That were trained on, without padding; 0 where the script does not count.
        parameters: Of the model.
        steady: Tokens a second from the middle of the run to its end; 0 where it is not known.
    """

    loop_s: float
    loop_cpu_s: float
    whole_s: float
    cpu_s: float
    peak_mb: float
    loss: float
    steps: int
    tokens: int
    parameters: int
    steady: float

    @property
    def rate(self) -> float:
        """Tokens a second in train()."""
        return self.tokens / self.loop_s

    @property
    def warmup_s(self) -> float:
        """Seconds that train() took above its steady rate."""
        return max(0.0, self.loop_s - self.tokens / self.steady) if self.steady else 0.0


class Made(NamedTuple):
    """What all trainings start from.

    Attributes:
        model: A folder with a fresh model and its tokenizer.
        config: The model's fields.
        parameters: How many it has.
        data: A jsonl file for each method.
        texts: One with far more texts, of any length.
    """

    model: Path
    config: dict[str, Any]
    parameters: int
    data: dict[str, Path]
    texts: Path


def make(folder: Path, fields: dict[str, Any], rows: int, longest: int) -> Made:
    """A fresh model with a tokenizer, and data of each method's shape from `rows` texts."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    from ml_intern.jobs.recipes._tokenizer import make_tokenizer

    disable_progress_bar()
    folder.mkdir(parents=True)
    draw = random.Random(0)
    texts = functions_of_the_library(draw, 20 * rows)
    tokenizer = make_tokenizer({"type": "bpe", "vocab_size": fields["vocab_size"]}, texts)
    torch.manual_seed(0)
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**fields, **ids))
    for part in (model, tokenizer):
        part.save_pretrained(folder / "model")
    cut = (text.partition("\n") for text in fitting(texts, tokenizer, longest))
    parts = [(first, "\n" + rest) for first, _, rest in cut]
    del parts[rows:]
    answers = [rest for _, rest in parts]
    draw.shuffle(answers)
    shapes = {
        "sft": [{"prompt": first, "completion": rest} for first, rest in parts],
        "dpo": [
            {"prompt": first, "chosen": rest, "rejected": other}
            for (first, rest), other in zip(parts, answers, strict=True)
        ],
        "grpo": [{"prompt": first, "answer": rest.strip()} for first, rest in parts],
        "pretrain": [{"text": first + rest} for first, rest in parts],
    }
    shapes["reward"] = shapes["dpo"]
    data = {method: write(folder / method, made) for method, made in shapes.items()}
    every = write(folder / "texts", [{"text": text} for text in texts])
    return Made(folder / "model", fields, model.num_parameters(), data, every)


def fitting(texts: list[str], tokenizer: Any, longest: int) -> list[str]:
    """Texts of two lines and more, and of fewer tokens than `longest`."""
    lines = [text for text in texts if "\n" in text and len(text) < 20 * longest]
    encoded = tokenizer(lines, add_special_tokens=False)["input_ids"]
    return [text for text, ids in zip(lines, encoded, strict=True) if len(ids) < longest]


def functions_of_the_library(draw: random.Random, most: int) -> list[str]:
    """About so many functions of Python's own standard library: texts of very different lengths."""
    library = Path(sysconfig.get_path("stdlib"))
    files = [
        f for f in sorted(library.rglob("*.py")) if not {"test", "tests", "site-packages"} & set(f.parts)
    ]
    draw.shuffle(files)
    found: dict[str, None] = {}
    while files and len(found) < most:
        found |= dict.fromkeys(_functions(files.pop()))
    texts = list(found)
    draw.shuffle(texts)
    return texts


def _functions(file: Path) -> Iterator[str]:
    source = file.read_text(errors="ignore")
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    lines = source.splitlines()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.end_lineno:
            yield "\n".join(lines[node.lineno - 1 : node.end_lineno])


def write(path: Path, rows: Rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def ours(folder: Path, recipe: str, config: dict[str, Any], env: dict[str, str]) -> Run:
    """The recipe as a job runs it: one process with a config.json."""
    for part in ("output", "checkpoints"):
        (folder / part).mkdir(parents=True)
    metrics = folder / "metrics.jsonl"
    places = {"output_dir": folder / "output", "checkpoint_dir": folder / "checkpoints"}
    asked = _config(folder, {**config, **places, "metrics_file": metrics})
    run = _run([str(RECIPES / f"{recipe}.py"), str(asked)], folder, env)
    return run._replace(steady=steady_rate(metrics))


def plain(folder: Path, method: str, config: dict[str, Any], env: dict[str, str]) -> Run:
    """The same as a plain script of TRL or Transformers."""
    folder.mkdir(parents=True)
    asked = _config(folder, {**config, "output": folder})
    return _run([str(PLAIN), method, str(asked)], folder, env)


def steady_rate(metrics: Path) -> float:
    """Tokens a second from the first log after the middle to the last one; 0 where there are not two."""
    rows = [
        row for row in map(json.loads, metrics.read_text().splitlines()) if "num_input_tokens_seen" in row
    ]
    later = [row for row in rows if row["step"] >= rows[-1]["total_steps"] / 2 and "loss" in row]
    if len(later) < 2:
        return 0.0
    first, last = later[0], later[-1]
    tokens = last["num_input_tokens_seen"] - first["num_input_tokens_seen"]
    return float(tokens / (last["time"] - first["time"]))


def _config(folder: Path, config: dict[str, Any]) -> Path:
    asked = folder / "config.json"
    asked.write_text(json.dumps(config, default=str))
    return asked


def _run(argv: list[str], folder: Path, env: dict[str, str]) -> Run:
    """One process, measured from outside and around its Trainer; its caches are empty, as on a first day."""
    cache, told = str(folder / "cache"), folder / "told.json"
    given = {**os.environ, **env, "HF_HOME": cache, "TORCHINDUCTOR_CACHE_DIR": cache, "HF_HUB_OFFLINE": "1"}
    began = time.monotonic()
    with (folder / "log.txt").open("w") as log:
        child = subprocess.Popen(
            [sys.executable, str(TIMED), str(told), *argv], stdout=log, stderr=subprocess.STDOUT, env=given
        )
        _, status, used = os.wait4(child.pid, 0)
    spent = time.monotonic() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{argv[0]} failed:\n{(folder / 'log.txt').read_text()[-3000:]}")
    found = json.loads(told.read_text())
    peak = found.pop("gpu_mb") or used.ru_maxrss / 1024
    return Run(whole_s=spent, cpu_s=used.ru_utime + used.ru_stime, peak_mb=peak, steady=0.0, **found)
