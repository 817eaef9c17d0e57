"""Does each method make a model better than it was, on rows that it was not trained on? Three seeds each.

The task is honest and on every machine: how many calls are in a line of Python's own standard library, none,
one or two, as `ast` counts them; as many lines of each, so that guessing is right once in three. Each
seed makes a model of 0.2M parameters from nothing and goes the whole way: `pretrain` on the lines, `sft` on
lines with counts of which two in five are wrong, and from there `dpo`, `reward` and `grpo` with the right
ones. The recipes run by hand, as processes of their own, on one thread.

    pretrain   loss of lines set apart, nats a token
    sft        lines set apart whose count is right, greedy
    dpo        the same; and pairs set apart whose better answer gained on the other
    reward     pairs set apart whose better answer has the higher score
    grpo       drawn counts that are right, of lines set apart; and greedy

    python benchmarks/training_methods.py [--seeds 3] [--lines 6000]
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

RECIPES = Path(__file__).resolve().parents[1] / "ml_intern" / "jobs" / "recipes"
MODEL = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 192,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}
LONGEST = 56
COUNTS = ("0", "1", "2")
NOISE = 0.4
HELD_OUT = 200

Rows = list[dict[str, Any]]


def lines_of_the_library(count: int) -> list[tuple[str, str]]:
    """Single lines that parse, once each, with their number of calls; as many of each number."""
    found: dict[str, set[str]] = {number: set() for number in COUNTS}
    library = Path(sysconfig.get_path("stdlib"))
    files = [f for f in library.rglob("*.py") if not {"test", "tests", "site-packages"} & set(f.parts)]
    for line in (line.strip() for file in files for line in file.read_text(errors="ignore").splitlines()):
        if len(line) <= LONGEST and line.isascii() and (calls := calls_in(line)) in found:
            found[calls].add(line)
    each = min(count // len(COUNTS), *map(len, found.values()))
    draw = random.Random(0)
    lines = [(line, calls) for calls in COUNTS for line in draw.sample(sorted(found[calls]), each)]
    draw.shuffle(lines)
    return lines


def calls_in(line: str) -> str:
    try:
        return str(sum(isinstance(node, ast.Call) for node in ast.walk(ast.parse(line))))
    except (SyntaxError, ValueError):
        return ""


def write(path: Path, rows: Rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(folder: Path, recipe: str, name: str = "", **config: Any) -> Path:
    """One recipe in a folder of its own; where its output lies."""
    here = folder / (name or recipe)
    for part in ("output", "checkpoints"):
        (here / part).mkdir(parents=True)
    places = {"output_dir": "output", "checkpoint_dir": "checkpoints", "metrics_file": "metrics.jsonl"}
    told = config | {key: str(here / part) for key, part in places.items()}
    (here / "config.json").write_text(json.dumps(told, default=str))
    argv = [sys.executable, str(RECIPES / f"{recipe}.py"), str(here / "config.json")]
    done = subprocess.run(argv, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if done.returncode:
        sys.exit(f"{recipe} failed:\n{done.stderr[-3000:]}")
    return here / "output"


def fields(steps: int, rate: float, **more: Any) -> dict[str, Any]:
    return {
        "max_steps": steps,
        "learning_rate": rate,
        "per_device_train_batch_size": 32,
        "save_strategy": "no",
        "eval_steps": 0.5,
        **more,
    }


def greedy(folder: Path, name: str, model: Path, prompts: Path, answers: list[str]) -> float:
    """Share of held-out lines whose count is right."""
    task = {"name": "g", "kind": "generate", "file": str(prompts), "max_new_tokens": 3}
    output = run(folder, "generate", f"{name}-greedy", model=str(model), tasks=[task])
    said = [json.loads(line)["text"].strip() for line in (output / "g.jsonl").open()]
    return statistics.mean(s == a for s, a in zip(said, answers, strict=True))


def held(output: Path, measure: str) -> tuple[float, float]:
    found = json.loads((output / "result.json").read_text())["held_out"][measure]
    return found["start"], found["end"]


def one_seed(folder: Path, seed: int, lines: list[tuple[str, str]]) -> dict[str, tuple[float, float]]:
    draw = random.Random(seed)
    apart, rest = lines[:HELD_OUT], lines[HELD_OUT:]
    draw.shuffle(rest)
    asked = [{"prompt": f"{line} # calls: ", "answer": count} for line, count in rest]
    counts = [count for _, count in rest]
    heard = [draw.choice(counts) if draw.random() < NOISE else row["answer"] for row in asked]
    examples = [{"prompt": r["prompt"], "completion": a} for r, a in zip(asked, heard, strict=True)]
    others = [draw.choice([c for c in COUNTS if c != row["answer"]]) for row in asked]
    pairs = [
        {"prompt": r["prompt"], "chosen": r["answer"], "rejected": o}
        for r, o in zip(asked, others, strict=True)
    ]
    texts = write(folder / "texts", [{"text": line} for line, _ in rest])
    prompts = write(folder / "prompts", [{"prompt": f"{line} # calls: "} for line, _ in apart])
    answers = [count for _, count in apart]
    more: dict[str, Any] = {"seed": seed, "validation": 0.05}

    found = {}
    output = run(
        folder, "pretrain", model={"config": MODEL}, tokenizer="byte", data=texts, max_length=64,
        trainer=fields(120, 3e-3), **more,
    )  # fmt: skip
    found["pretrain loss"] = held(output, "loss")
    before = greedy(folder, "pretrain", output / "model", prompts, answers)
    data = write(folder / "examples", examples)
    output = run(
        folder, "sft", model=output / "model", data=data, trainer=fields(300, 3e-3, max_length=64), **more
    )
    base = output / "model"
    start = greedy(folder, "sft", base, prompts, answers)
    found["sft greedy"] = (before, start)
    data = write(folder / "pairs", pairs)
    output = run(
        folder, "dpo", model=base, data=data, trainer=fields(60, 3e-4, max_length=64, beta=0.1), **more
    )
    found["dpo greedy"] = (start, greedy(folder, "dpo", output / "model", prompts, answers))
    found["dpo gained"] = (0.5, held(output, "rewards/accuracies")[1])
    output = run(folder, "reward", model=base, data=data, trainer=fields(120, 1e-3, max_length=64), **more)
    found["reward accuracy"] = held(output, "accuracy")
    data = write(folder / "asked", asked)
    told = fields(40, 1e-3, num_generations=8, max_completion_length=3) | {"per_device_train_batch_size": 64}
    output = run(folder, "grpo", model=base, data=data, rewards=["exact"], trainer=told, **more)
    found["grpo drawn"] = held(output, "rewards/exact/mean")
    found["grpo greedy"] = (start, greedy(folder, "grpo", output / "model", prompts, answers))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--lines", type=int, default=6000)
    args = parser.parse_args()
    lines = lines_of_the_library(args.lines)
    print(f"{len(lines)} lines, {args.seeds} seeds; guessing a count is right at 0.33, a pair at 0.5")
    print(f"{'measure':<18}{'start':>8}{'end':>8}{'gain':>8}   by seed")
    every = []
    for seed in range(args.seeds):
        began = time.time()
        with tempfile.TemporaryDirectory() as folder:
            every.append(one_seed(Path(folder), seed, lines))
        told = ", ".join(f"{name} {start:.3f}-{end:.3f}" for name, (start, end) in every[-1].items())
        print(f"seed {seed}, {time.time() - began:.0f} s: {told}", file=sys.stderr)
    for measure in every[0]:
        starts, ends = ([one[measure][at] for one in every] for at in (0, 1))
        start, end = statistics.mean(starts), statistics.mean(ends)
        each = "  ".join(f"{s:.3f}-{e:.3f}" for s, e in zip(starts, ends, strict=True))
        print(f"{measure:<18}{start:>8.3f}{end:>8.3f}{end - start:>+8.3f}   {each}")


if __name__ == "__main__":
    main()
