"""Tokens a second of the training recipes: against plain scripts, by field, and of an accelerator's peak.

At equal settings: each recipe as a job runs it, and the lines of TRL or Transformers that a user would
write in its place (`support/plain_trl.py`), with the same model, data and trainer fields. They take turns,
each time in the other order, and a ratio is that of two runs beside each other; given are the median and in
brackets the lowest and the highest. "Loop" is all of the Trainer's train(); "processor" counts the seconds
that the processor worked, which other work on the machine hardly touches. Where both end with the same loss
to the last bit, they did the same work, and the line says so.

By field: what packing, padding-free batches, bf16 and compilation bring to the sft recipe, each against the
recipe without it on the same texts. What this machine cannot do stands there with the reason.

Mixture of experts: where there is a GPU, tokens a second and model-FLOPs utilisation of pretraining one of
100M parameters; `support/flops.py` has the formula, `support/peaks.toml` devices' peaks and their sources.

    python benchmarks/throughput.py [--repeat 5] [--only sft packing experts] [--threads 1] [--quick]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.support.experts import EXPERTS, experts
from benchmarks.support.training_runs import Made, Run, make, ours, plain

METHODS = ("sft", "dpo", "reward", "grpo", "pretrain")
MODEL = {
    "model_type": "llama",
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "vocab_size": 2048,
    "tie_word_embeddings": False,
}
LONGEST, MAX_LENGTH, BATCH = 128, 512, 16
"""Tokens of the longest text, and of a row. No text is cut off, whatever the field."""

_PACKED = {"packing": True, "per_device_train_batch_size": BATCH // 8}
"""A packed row holds about eight texts: so a step learns from as many as without."""
_WRAPPED = _PACKED | {"packing_strategy": "wrapped"}
_FLAT = {"padding_free": True, "max_length": None}
_FLASH = {"bf16": True, "model_init_kwargs": {"attn_implementation": "flash_attention_2"}}
FIELDS: dict[str, tuple[str, dict[str, Any]]] = {
    "by length": ("", {"train_sampling_strategy": "group_by_length"}),
    "packing": ("", _PACKED),
    "packing, wrapped": ("", _WRAPPED),
    "padding-free": ("", _FLAT),
    "padding-free, flash": ("bf16", _FLAT | _FLASH),
    "bf16": ("", {"bf16": True}),
    "compiled": ("", {"torch_compile": True}),
    "packing, wrapped, compiled": ("packing, wrapped", _WRAPPED | {"torch_compile": True}),
}
"""Fields of the trainer, and the row that they are compared with."""


class Bench:
    """The machine, the settings and the place where the trainings run."""

    def __init__(self, args: argparse.Namespace, folder: Path):
        self.args, self.folder, self.turns = args, folder, 0
        self.gpu = args.device == "cuda"
        self.env = {"OMP_NUM_THREADS": str(args.threads), "MKL_NUM_THREADS": str(args.threads)}
        self.env |= {"TOKENIZERS_PARALLELISM": "false"}
        self.made: Made = make(folder / "made", self._model(), args.rows, LONGEST)

    def _model(self) -> dict[str, Any]:
        return MODEL | {"hidden_size": self.args.width, "intermediate_size": 3 * self.args.width}

    def described(self) -> str:
        """The device, the model and the data."""
        import torch

        where = torch.cuda.get_device_name() if self.gpu else f"CPU, {self.args.threads} thread"
        size = f"{self.made.parameters / 1e6:.2f}M parameters, width {self.args.width}"
        data = f"{self.args.rows} texts of fewer than {LONGEST} tokens, {BATCH} in a batch"
        return f"{where}; a Llama of {size}; {data}"

    def fields(self, method: str) -> dict[str, Any]:
        """What both are told: everything that bears on speed, so that nobody's defaults differ."""
        told: dict[str, Any] = {
            "per_device_train_batch_size": BATCH,
            "learning_rate": 1e-3,
            "num_train_epochs": 1,
            "logging_steps": 5,
            "logging_first_step": True,
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
            "seed": 0,
            "use_cpu": not self.gpu,
            "bf16": self.gpu,
            "dataloader_pin_memory": self.gpu,
            "gradient_checkpointing": False,
        }
        if method in ("sft", "dpo", "reward"):
            told["max_length"] = MAX_LENGTH
        if method == "grpo":
            told |= {
                "num_generations": 8,
                "max_completion_length": 32,
                "max_steps": max(2, self.args.rows // 32),
            }
        return told

    def config(self, method: str, **more: Any) -> dict[str, Any]:
        """What a recipe reads, and a plain script, too."""
        told = {"data": self.made.data[method], "trainer": self.fields(method) | more}
        if method != "pretrain":
            return {"model": self.made.model, **told} | ({"rewards": ["exact"]} if method == "grpo" else {})
        own = {"max_length": MAX_LENGTH, "packing": False, "tokenizer": self.made.model}
        return {"model": {"config": self.made.config}, **own, **told}

    def run(self, who: Callable[..., Run], method: str, config: dict[str, Any]) -> Run:
        """One training in a folder of its own, which is gone afterwards."""
        self.turns += 1
        place = self.folder / f"run-{self.turns}"
        try:
            return who(place, method, config, self.env)
        finally:
            shutil.rmtree(place, ignore_errors=True)


def at_equal_settings(bench: Bench, methods: list[str]) -> None:
    """Ours and the plain script in turns."""
    print(f"\nAt equal settings, ours / plain, pairs each: {bench.args.repeat}")
    print(f"{'':10}{'loop, tokens/s':>38}{'loop, tokens a processor second':>38}", end="")
    print(f"{'whole run, s':>34}{'processor, s':>34}{'peak MB':>15}")
    for method in methods:
        config, pairs = bench.config(method), []
        for turn in range(bench.args.repeat):
            order = (ours, plain) if turn % 2 == 0 else (plain, ours)
            runs = {who: bench.run(who, method, config) for who in order}
            pairs.append((runs[ours], runs[plain]))
        print(f"{method:10}" + compared(pairs), flush=True)


def compared(pairs: list[tuple[Run, Run]]) -> str:
    """A line of medians and ratios. Both trained on the same tokens: the recipe counts them."""
    tokens = pairs[0][0].tokens
    rates = ratios([(tokens / a.loop_s, tokens / b.loop_s) for a, b in pairs], ".0f")
    busy = ratios([(tokens / a.loop_cpu_s, tokens / b.loop_cpu_s) for a, b in pairs], ".0f")
    whole = ratios([(a.whole_s, b.whole_s) for a, b in pairs], ".1f")
    cpu = ratios([(a.cpu_s, b.cpu_s) for a, b in pairs], ".1f")
    losses = {run.loss for both in pairs for run in both}
    alike = "same loss" if len(losses) == 1 else f"losses {min(losses):.4f} to {max(losses):.4f}"
    return f"{rates:>38}{busy:>38}{whole:>34}{cpu:>34}{peaks_of(pairs):>15}   {alike}"


def peaks_of(pairs: list[tuple[Run, Run]]) -> str:
    return " / ".join(
        f"{statistics.median(r.peak_mb for r in runs):.0f}" for runs in zip(*pairs, strict=True)
    )


def ratios(pairs: list[tuple[float, float]], form: str) -> str:
    """``1200 / 1000 = 1.20 (1.15 to 1.22)``: both sides' medians, the ratios' median and spread."""
    first, second = (statistics.median(side) for side in zip(*pairs, strict=True))
    each = sorted(a / b for a, b in pairs)
    middle = statistics.median(each)
    return f"{first:{form}} / {second:{form}} = {middle:.2f} ({each[0]:.2f} to {each[-1]:.2f})"


def by_field(bench: Bench, names: list[str]) -> None:
    """The sft recipe with a field and without it, on the same texts; all take turns."""
    print(f"\nBy field, the sft recipe with it / without it, pairs each: {bench.args.repeat}")
    heads = f"{'loop, tokens/s':>38}{'loop, tokens a processor second':>38}{'peak MB':>15}"
    print(f"{'':28}{'against':18}{heads}")
    whys = {name: why for name in names if (why := not_here(name, bench))}
    shown = [name for name in names if name not in whys]
    needed = list(dict.fromkeys([*(FIELDS[name][0] for name in shown), *shown]))
    runs: dict[str, list[Run]] = {name: [] for name in needed}
    for turn in range(bench.args.repeat if needed else 0):
        first = turn % len(needed)
        for name in needed[first:] + needed[:first]:
            fields = {"bf16": False} | (FIELDS[name][1] if name else {})
            runs[name].append(bench.run(ours, "sft", bench.config("sft", **fields)))
    for name in names:
        if name in whys:
            print(f"{name:28}not available here: {whys[name]}", flush=True)
            continue
        base, fields = FIELDS[name]
        print(f"{name:28}{base:18}{gained(list(zip(runs[name], runs[base], strict=True)), fields, bench)}")


def gained(pairs: list[tuple[Run, Run]], fields: dict[str, Any], bench: Bench) -> str:
    rates = [(a.rate, b.rate) for a, b in pairs]
    busy = [(a.tokens / a.loop_cpu_s, b.tokens / b.loop_cpu_s) for a, b in pairs]
    line = (
        f"{ratios(rates, '.0f'):>38}{ratios(busy, '.0f'):>38}{peaks_of(pairs):>15}   {about(fields, bench)}"
    )
    return line + (compiled(pairs) if fields.get("torch_compile") else "")


def compiled(pairs: list[tuple[Run, Run]]) -> str:
    """What compilation costs once and gains a step, and so after how many steps it has paid."""
    sides = list(zip(*pairs, strict=True))
    warmups = [statistics.median(run.warmup_s for run in runs) for runs in sides]
    step = [statistics.median(run.tokens / run.steps / run.steady for run in runs) for runs in sides]
    once = warmups[0] - warmups[1]
    told = f"{once:.0f} s once, then {1000 * step[0]:.0f} instead of {1000 * step[1]:.0f} ms a step"
    gain = step[1] - step[0]
    return told + (f": pays after {once / gain:.0f} steps" if gain > 0 else ": never pays")


def about(fields: dict[str, Any], bench: Bench) -> str:
    """By what means a field is met here."""
    if "model_init_kwargs" in fields:
        return "one long row, documents kept apart by flash attention"
    if fields.get("padding_free") or (fields.get("packing") and "packing_strategy" not in fields):
        by = "a mask, at the cost of its square" if bench.gpu else "attention that goes one by one"
        return f"one long row, its documents kept apart by {by}"
    if fields.get("bf16") and not bench.gpu:
        return bf16_by()
    return ""


def bf16_by() -> str:
    import torch

    has = {"AMX": torch.cpu._is_amx_tile_supported(), "AVX512-BF16": torch.cpu._is_avx512_bf16_supported()}
    by = " and ".join(name for name, yes in has.items() if yes)
    return f"the processor has {by} for it" if by else "the processor has no instructions for it"


def not_here(name: str, bench: Bench) -> str:
    """Why this machine cannot show a field; empty where it can."""
    fields = FIELDS[name][1]
    if fields.get("torch_compile") and not bench.gpu and not compiler():
        return "torch.compile needs a C++ compiler, and neither c++, g++ nor clang++ is found"
    if "flash" in name and not bench.gpu:
        return "flash attention is for GPUs"
    if "flash" in name and find_spec("flash_attn") is None:
        return "the package flash_attn is not installed"
    if fields.get("bf16") and bench.gpu and not bf16_on_gpu():
        return "this GPU does not compute in bf16"
    return ""


def bf16_on_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def compiler() -> str | None:
    found = (shutil.which(name) for name in (os.environ.get("CXX", "c++"), "g++", "clang++"))
    return next((path for path in found if path), None)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=5, help="pairs of each comparison")
    parser.add_argument("--only", nargs="+", choices=[*METHODS, *FIELDS, "experts"], help="some lines")
    parser.add_argument("--rows", type=int, default=320, help="texts to train on")
    parser.add_argument("--width", type=int, default=256, help="of the model")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=40, help="of the mixture of experts")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="cuda where there is a GPU")
    parser.add_argument("--experts", nargs="+", choices=[*EXPERTS], default=["deepseek_v3"])
    parser.add_argument("--quick", action="store_true", help="one small pair of some lines: does it run?")
    args = parser.parse_args()
    if args.quick:
        args.repeat, args.rows, args.width, args.steps = 1, 80, 64, 6
        args.only = args.only or ["sft", "padding-free, flash", "experts"]
    args.device = args.device or device()
    wanted = args.only or [*METHODS, *FIELDS, "experts"]
    with tempfile.TemporaryDirectory(prefix="ml-intern-bench-") as folder:
        bench = Bench(args, Path(folder))
        print(bench.described())
        if methods := [name for name in METHODS if name in wanted]:
            at_equal_settings(bench, methods)
        if names := [name for name in FIELDS if name in wanted]:
            by_field(bench, names)
        if "experts" in wanted:
            experts(bench, args.experts, args.steps)


def device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


if __name__ == "__main__":
    main()
