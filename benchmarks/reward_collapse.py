"""A reward that is had without the task being done: is it seen and explained, and does the repair help?

The data are the demo's: statements of Python's own standard library. Each seed makes a model of 0.3M
parameters from nothing and then rewards it, by GRPO, for statements that parse, and for nothing else. What it
really does is measured on statements of files that it never saw, in bits per byte, and by what it writes.

The rest is what an agent would do: read the alerts and the diagnosis of that run, and try the change that it
names, a minimum length and a KL term, each alone and both, as jobs side by side; then what the diagnosis of
that says, a larger KL term where the held-out texts still suffer; and, since samples show names that nobody
ever defined, a reward for known names.

    parses     share of drawn statements that parse        length   tokens of them
    distinct   share of them that differ                   names    share of their names that the library has
    entropy    nats a token                                KL       nats a token from the model of the start
    bits       a byte of statements of other files         alerts   what the rules said, and when first

What came out, of three seeds (benchmarks/README.md has the table):

- Each seed finds a trick of its own: single words, short assignments of nothing, one letter to the limit. The
  alert on held-out texts sees all of them at step 12 of 60; length, entropy and groups that earn the same see
  some, and later.
- A minimum length alone repairs nothing: held-out texts suffer as before.
- What repairs is the KL term, and its size is a price: the smaller, the more statements parse, and the more
  is lost of what the model knew. Together with a minimum length it is not clearly better than alone.
- A reward for known names, in place of both, is fooled the most: `self`, `s = None`.

    python benchmarks/reward_collapse.py [--seeds 3] [--steps 60] [--parallel 2]
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ml_intern.data.sources import stdlib_folder
from ml_intern.data.units import parses_python, statements
from ml_intern.jobs.diagnosis import Diagnosis, diagnose
from ml_intern.jobs.local import Jobs
from ml_intern.jobs.model import JobSpec, JobStatus
from ml_intern.jobs.rules import NOTES, Run, look
from ml_intern.settings import Settings

MODEL = "scratch:0.3M"
LONGEST = 24
HELD_OUT = 400
DRAWN = 512
WAIT_S = 3600.0
USUAL = 0.04
"""The KL term that is found in most recipes."""
NAME = re.compile(r"[^\W\d]\w*")

Measures = dict[str, float]


# The data


def statements_apart() -> tuple[list[str], list[str]]:
    """Statements that parse, once each: of nine files in ten, and of the others."""
    skipped = {"test", "tests", "site-packages", "dist-packages", "idlelib", "lib2to3", "encodings"}
    files = sorted(f for f in stdlib_folder().rglob("*.py") if not skipped & set(f.parts))
    random.Random(0).shuffle(files)
    apart = len(files) // 10
    held, train = (unique(part) for part in (files[:apart], files[apart:]))
    known = set(train)
    return train, [line for line in held if line not in known][:HELD_OUT]


def unique(files: Iterable[Path]) -> list[str]:
    found = dict.fromkeys(line for f in files for line in statements(f.read_text(errors="ignore")))
    lines = [line for line in found if line.isascii() and parses_python(line)]
    random.Random(1).shuffle(lines)
    return lines


def names_in(lines: Iterable[str]) -> set[str]:
    return {name for line in lines for name in NAME.findall(line)}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


# Jobs


class Bench:
    """The jobs of one seed.

    Args:
        folder: Where everything goes.
        seed: Of the weights, of the order of the data, of what is drawn.
        steps: Of each GRPO.
        parallel: Jobs at one time.
        data: Statements to train on, those of other files.
    """

    def __init__(
        self, folder: Path, seed: int, steps: int, parallel: int, data: tuple[list[str], list[str]]
    ) -> None:
        settings = Settings(state=folder / "state", job_slots=parallel)
        self.jobs = Jobs(folder / "jobs", None, settings, lambda event: None)
        self.seed, self.steps = seed, steps
        train, self.held = data
        self.names = names_in(train)
        self.texts = write(folder / "texts.jsonl", [{"text": line} for line in train])
        self.apart = write(folder / "apart.jsonl", [{"text": line} for line in self.held])
        self.prompts = write(folder / "prompts.jsonl", [{"prompt": ""}] * 200)

    def submit(self, name: str, method: str, **config: Any) -> str:
        spec = JobSpec(name=name, method=method, config={"seed": self.seed, **config}, timeout_s=WAIT_S)
        return self.jobs.submit(spec).id

    def done(self, job: str) -> JobStatus:
        [status] = self.jobs.wait([job], WAIT_S)
        if status.state != "succeeded":
            sys.exit(f"{job} {status.state}: {status.failure}")
        return status

    def pretrain(self) -> Path:
        trainer = fields(300, 3e-3, per_device_train_batch_size=32)
        job = self.submit("base", "pretrain", model=MODEL, data=str(self.texts), trainer=trainer)
        return Path(self.done(job).output) / "model"

    def grpo(self, name: str, base: Path, rewards: list[Any], beta: float = 0.0) -> str:
        trainer = fields(
            self.steps, 1e-3, per_device_train_batch_size=64, num_generations=8,
            max_completion_length=LONGEST, logging_steps=1, beta=beta,
        )  # fmt: skip
        return self.submit(
            name, "grpo", model=str(base), data=str(self.prompts), rewards=rewards,
            held_out_texts=str(self.apart), trainer=trainer, asked={**trainer, "rewards": rewards},
        )  # fmt: skip

    def asked(self, job: str) -> Arm:
        config = self.jobs.spec(job).config
        return config["rewards"], config["trainer"]["beta"]

    def diagnosis(self, job: str) -> Diagnosis:
        """What the tool diagnose_job gives."""
        return diagnose(self.jobs.status(job), self.jobs.metrics(job), self.jobs.spec(job))

    def alerts(self, job: str) -> dict[str, int]:
        """Each alert with the step at which it was first to be seen by somebody who watches."""
        table, first = self.jobs.metrics(job), {}
        for count in range(1, len(table) + 1):
            for seen in look(Run(table[:count], over=count == len(table))):
                if seen.kind not in NOTES:
                    first.setdefault(seen.kind, table[count - 1]["step"])
        return first


def fields(steps: int, rate: float, **more: Any) -> dict[str, Any]:
    return {"max_steps": steps, "learning_rate": rate, "save_strategy": "no", **more}


def known_names(names: set[str]) -> dict[str, Any]:
    """Share of the names in a completion that the library has; its code holds them all."""
    code = f"""
import re
known = set({" ".join(sorted(names))!r}.split())
def reward(completion):
    said = re.findall(r"[^\\W\\d]\\w*", completion)
    return sum(name in known for name in said) / len(said) if said else 0.0
"""
    return {"type": "python", "name": "known_names", "code": code}


# Measures


class Judge:
    """Measures models alike, apart from what their jobs logged."""

    def __init__(self, base: Path, held: list[str], names: set[str]) -> None:
        import torch

        torch.set_num_threads(1)
        self.base, self.held, self.names = self.load(base), held, names

    @staticmethod
    def load(folder: Path) -> tuple[Any, Any]:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)

    def measure(self, folder: Path) -> tuple[Measures, list[str]]:
        """All measures of a model, and what it wrote."""
        import torch

        model, tokenizer = self.load(folder)
        torch.manual_seed(0)
        start = torch.full((DRAWN, 1), tokenizer.bos_token_id)
        with torch.inference_mode():
            ids = model.generate(
                start, attention_mask=torch.ones_like(start), do_sample=True, top_k=0, max_new_tokens=LONGEST,
                pad_token_id=tokenizer.pad_token_id,
            )  # fmt: skip
            ended = (ids[:, 1:] == tokenizer.eos_token_id).cumsum(1)
            written = (ended == 0) | ((ended == 1) & (ids[:, 1:] == tokenizer.eos_token_id))
            own, before = (m(ids[:, :-1]).logits.log_softmax(-1) for m in (model, self.base[0]))
            entropy = -(own.exp() * own).sum(-1)[written].mean()
            away = (own.exp() * (own - before)).sum(-1)[written].mean()
            bits = self.bits(model, tokenizer)
        texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
        said = [name for text in texts for name in NAME.findall(text)]
        return {
            "parses": statistics.mean(map(parses_python, texts)),
            "length": float(written.sum(1).float().mean()),
            "distinct": len(set(texts)) / len(texts),
            "names": sum(name in self.names for name in said) / max(1, len(said)),
            "entropy": float(entropy),
            "KL": float(away),
            "bits": bits,
        }, texts

    def bits(self, model: Any, tokenizer: Any) -> float:
        """A byte, of every held-out statement after the start token."""
        import torch

        rows = [
            [tokenizer.bos_token_id, *tokenizer(t, add_special_tokens=False)["input_ids"]] for t in self.held
        ]
        table = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(r) for r in rows], batch_first=True, padding_value=-100
        )
        logits = model(table[:, :-1].clamp(min=0)).logits.transpose(1, 2)
        nats = torch.nn.functional.cross_entropy(logits, table[:, 1:], reduction="sum")
        return float(nats) / math.log(2) / sum(len(t.encode()) for t in self.held)


# The experiment


Arm = tuple[list[Any], float]
"""Rewards and KL term of a run."""


def repairs(change: dict[str, Any], start: Measures, names: set[str]) -> dict[str, Arm]:
    """The change that the diagnosis names, taken apart; where it names no length, half of the start's."""
    beta = change["beta"]
    rewards = change.get("rewards", ["parses", {"type": "length", "min": round(start["length"] / 2)}])
    return {
        "+ length": (rewards, 0.0),
        "+ KL": (["parses"], beta),
        "+ length + KL": (rewards, beta),
        f"+ length + KL {USUAL}": (rewards, USUAL),
        "+ names": (["parses", known_names(names)], 0.0),
    }


def one_seed(bench: Bench) -> dict[str, tuple[Measures, dict[str, int]]]:
    """What each run came to, with its alerts."""
    base = bench.pretrain()
    judge = Judge(base, bench.held, bench.names)
    measured = {"start": (judge.measure(base)[0], {})}
    jobs = {"parses": bench.grpo("parses", base, ["parses"])}
    bench.done(jobs["parses"])
    found = told(bench, jobs["parses"])
    for name, (rewards, beta) in repairs(found.change, measured["start"][0], bench.names).items():
        jobs[name] = bench.grpo(name, base, rewards, beta)
    bench.done(jobs["+ length + KL"])
    rewards, beta = bench.asked(jobs["+ length + KL"])
    beta = told(bench, jobs["+ length + KL"]).change.get("beta", beta)
    jobs["+ length + more KL"] = bench.grpo("more KL", base, rewards, beta)
    jobs["+ names + length + more KL"] = bench.grpo(
        "names, more KL", base, [*rewards, known_names(bench.names)], beta
    )
    for name, job in jobs.items():
        numbers, texts = judge.measure(Path(bench.done(job).output) / "model")
        measured[name] = (numbers, bench.alerts(job))
        shown = " ".join(f"{key} {value:.3g}" for key, value in numbers.items())
        _, beta = bench.asked(job)
        tell(f"seed {bench.seed} {name}, beta {beta}: {shown}", str(measured[name][1]), str(texts[:6]))
    return measured


def told(bench: Bench, job: str) -> Diagnosis:
    """The diagnosis of a run, shown."""
    found = bench.diagnosis(job)
    early = [sample.completion for sample in found.samples]
    tell(f"seed {bench.seed} {job}: {found.cause}", *found.evidence, f"to try {found.change}", str(early))
    return found


def tell(*lines: str) -> None:
    sys.stderr.write("\n  ".join(lines) + "\n")


def spread(values: list[float]) -> str:
    about = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.2f} ± {about:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--parallel", type=int, default=2)
    args = parser.parse_args()
    data = statements_apart()
    print(f"{len(data[0])} statements, {len(data[1])} of other files; {args.seeds} seeds, {args.steps} steps")
    every = []
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        began = time.time()
        with tempfile.TemporaryDirectory() as folder:
            every.append(one_seed(Bench(Path(folder), seed, args.steps, args.parallel, data)))
        tell(f"seed {seed}: {time.time() - began:.0f} s")
    names = list(every[0]["start"][0])
    print("| rewards | " + " | ".join(names) + " | alerts |\n" + "|---" * (len(names) + 2) + "|")
    for run in every[0]:
        cells = [spread([seed[run][0][name] for seed in every]) for name in names]
        alerts = [
            f"{kind} {sorted(seed[run][1][kind] for seed in every if kind in seed[run][1])}"
            for kind in sorted({kind for seed in every for kind in seed[run][1]})
        ]
        print(f"| {run} | " + " | ".join(cells) + f" | {', '.join(alerts) or 'none'} |")


if __name__ == "__main__":
    main()
