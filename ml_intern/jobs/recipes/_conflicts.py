"""Fields that are right each by itself and wrong together, or without a package or a device.

It stands beside the recipes and needs nothing of ML Intern.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

GROUP, BATCH, LENGTH, COMPLETION = 8, 8, 1024, 256
"""What TRL takes for num_generations, per_device_train_batch_size, max_length, max_completion_length."""

_NEEDS_EVALUATION = (
    "eval_steps",
    "eval_on_start",
    "eval_delay",
    "metric_for_best_model",
    "greater_is_better",
)
_WATCHES = ("reduce_lr_on_plateau", "greedy")
_OPTIMIZER_PACKAGES = (
    (("adamw_torch_4bit", "adamw_torch_8bit"), "torchao"),
    (("bnb", "8bit", "paged", "lion", "ademamix"), "bitsandbytes"),
    (("galore",), "galore_torch"),
    (("apollo",), "apollo_torch"),
    (("lomo",), "lomo_optim"),
    (("grokadamw",), "grokadamw"),
    (("schedule_free",), "schedulefree"),
    (("stable_adamw",), "optimi"),
    (("anyprecision",), "torchdistx"),
)
_SCHEDULE_ARGUMENTS = {
    "cosine_with_min_lr": ("min_lr", "min_lr_rate"),
    "cosine_warmup_with_min_lr": ("min_lr", "min_lr_rate"),
    "warmup_stable_decay": ("num_decay_steps",),
}
_WINDOWS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len")
_ATTENTION_PACKAGES = {"flash_attention_2": "flash_attn", "flash_attention_3": "flash_attn_interface"}


def conflicts(
    method: str, trainer: Mapping[str, Any], recipe: Mapping[str, Any], here: bool = True
) -> list[str]:
    """Everything that contradicts itself, each in a line that says what would be right.

    Args:
        method: The recipe.
        trainer: Fields of the trainer that are right each by itself.
        recipe: The same of the recipe.
        here: Whether it runs where this is asked, with the packages of this machine.
    """
    return [
        *_of_precision(trainer),
        *_of_evaluation(trainer, recipe),
        *_of_loading(trainer),
        *_of_optimizer(trainer),
        *(_of_packing(trainer) if method == "sft" else ()),
        *(_of_preference(trainer) if method == "dpo" else ()),
        *(_of_groups(trainer, recipe) if method == "grpo" else ()),
        *(_of_packages(trainer) if here else ()),
    ]


def device_problems(
    trainer: Mapping[str, Any],
    recipe: Mapping[str, Any],
    gpus: int,
    capability: float | None = None,
    here: bool = True,
) -> list[str]:
    """What the devices cannot do.

    Args:
        trainer: Fields of the trainer.
        recipe: Fields of the recipe.
        gpus: That the run may use; 0 is a run on the CPU.
        capability: NVIDIA's compute capability; bf16 and tf32 need 8.0. None where it is not known.
        here: As for `conflicts`.
    """
    gpus = 0 if trainer.get("use_cpu") else gpus
    processes = recipe.get("processes", 1)
    wrong = []
    if gpus and isinstance(processes, int) and processes > gpus:
        wrong.append(f"processes = {processes}, and there {'is' if gpus == 1 else 'are'} {gpus} GPU")
    if recipe.get("qlora") and not gpus:
        wrong.append("qlora needs a GPU, and there is none: leave it out, peft alone runs on a CPU")
    if recipe.get("qlora") and here and not find_spec("bitsandbytes"):
        wrong.append("qlora needs the package bitsandbytes, which is not installed")
    if recipe.get("qlora") and not recipe.get("peft"):
        wrong.append('qlora trains an adapter: peft={"r": 16}')
    for name in ("fp16", "fp16_full_eval", "tf32"):
        if trainer.get(name) and not gpus:
            wrong.append(f"{name} needs a GPU, and there is none: leave it out")
    for name in ("bf16", "bf16_full_eval", "tf32"):
        if trainer.get(name) and gpus and capability is not None and capability < 8:
            told = f"needs a GPU of compute capability 8.0, and this one has {capability}"
            wrong.append(f"{name} {told}: leave it out{'' if name == 'tf32' else ', or use fp16'}")
    attention = str((trainer.get("model_init_kwargs") or {}).get("attn_implementation", ""))
    if attention.startswith("flash_attention") and not gpus:
        wrong.append(f"{attention} needs a GPU, and there is none: leave attn_implementation out")
    if here and trainer.get("torch_compile") and not _compiler(gpus):
        language = "C" if gpus else "C++"
        wrong.append(f"torch_compile needs a {language} compiler, and none is found: leave it out")
    return wrong


def _compiler(gpus: int) -> bool:
    """Whether torch.compile finds one: Triton's launchers are C, kernels for a CPU C++."""
    names = ("cc", "gcc", "clang") if gpus else (os.environ.get("CXX", "c++"), "g++", "clang++")
    return any(map(shutil.which, names))


def found_gpus() -> tuple[int, float | None]:
    """How many CUDA devices there are and the lowest compute capability; the driver is asked, not torch."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0, None
    count, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0, None
    lowest = []
    for device in range(count.value):
        driver.cuDeviceGetAttribute(ctypes.byref(major), 75, device)  # COMPUTE_CAPABILITY_MAJOR
        driver.cuDeviceGetAttribute(ctypes.byref(minor), 76, device)
        lowest.append(major.value + minor.value / 10)
    return count.value, min(lowest, default=None)


def window_of(folder: Path) -> int | None:
    """The tokens that a model looks at; None where its configuration does not tell."""
    try:
        config = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return None
    for fields in (config, config.get("text_config") or {}) if isinstance(config, dict) else ():
        for name in _WINDOWS:
            if isinstance(fields.get(name), int) and not isinstance(fields[name], bool):
                return int(fields[name])
    return None


def window_problems(method: str, trainer: Mapping[str, Any], window: int | None) -> list[str]:
    """Lengths that the model has no positions for, of those that the config names."""
    if window is None:
        return []
    if method == "grpo":
        length = trainer.get("max_completion_length", COMPLETION) or 0
        told = f"max_completion_length = {length} leaves no room for a prompt in the model's {window} tokens"
        return [f"{told}: at most {max(1, window - 1)}"] if length >= window else []
    asked = trainer.get("max_length") or 0
    told = f"max_length = {asked} is more than the model's {window} positions: at most {window}"
    return [told] if asked > window else []


def _of_precision(fields: Mapping[str, Any]) -> Iterator[str]:
    for end in ("", "_full_eval"):
        if fields.get(f"bf16{end}") and fields.get(f"fp16{end}"):
            yield f"bf16{end} and fp16{end} exclude each other: leave one out"
    if fields.get("fp16") and fields.get("use_cpu"):
        yield "fp16 needs a GPU, and use_cpu leaves it aside: leave one out"
    new, old = fields.get("activation_checkpointing"), fields.get("gradient_checkpointing")
    if new is not None and old is not None and new != old:
        yield "gradient_checkpointing is the old name of activation_checkpointing: give one"


def _of_evaluation(fields: Mapping[str, Any], recipe: Mapping[str, Any]) -> Iterator[str]:
    add = "add validation=0.1"
    if recipe.get("validation"):
        if fields.get("eval_strategy") == "no":
            yield 'eval_strategy = "no" and validation exclude each other: leave one out'
        return
    for name in _NEEDS_EVALUATION:
        if fields.get(name):
            yield f"{name} without validation measures nothing: {add}, or leave it out"
    if fields.get("load_best_model_at_end"):
        yield f"load_best_model_at_end needs an evaluation: {add}, or leave it out"
    if fields.get("eval_strategy", "no") != "no":
        yield f"eval_strategy has no rows to measure on: {add}, or leave it out"
    if fields.get("lr_scheduler_type") in _WATCHES:
        yield f"lr_scheduler_type = {fields['lr_scheduler_type']!r} watches an evaluation: {add}"
    if fields.get("save_strategy") == "best":
        yield f'save_strategy = "best" needs an evaluation: {add}, or use "steps"'


def _of_loading(fields: Mapping[str, Any]) -> Iterator[str]:
    if not fields.get("dataloader_num_workers"):
        for name in ("dataloader_prefetch_factor", "dataloader_persistent_workers"):
            if fields.get(name):
                yield f"{name} without dataloader_num_workers: give it, or leave both out"


def _of_optimizer(fields: Mapping[str, Any]) -> Iterator[str]:
    optimizer = str(fields.get("optim") or "")
    if optimizer.startswith(("galore", "apollo")) and not fields.get("optim_target_modules"):
        yield f'optim = {optimizer!r} needs optim_target_modules, such as ["attn", "mlp"]'
    schedule = str(fields.get("lr_scheduler_type") or "")
    needed = _SCHEDULE_ARGUMENTS.get(schedule)
    given = fields.get("lr_scheduler_kwargs") or {}
    if needed and isinstance(given, Mapping) and not set(needed) & set(given):
        yield f"lr_scheduler_type = {schedule!r} needs lr_scheduler_kwargs with {' or '.join(needed)}"


def _of_packing(fields: Mapping[str, Any]) -> Iterator[str]:
    packing, length = fields.get("packing"), fields.get("max_length", 1024)
    if packing and length is None:
        yield "packing needs a max_length, the length of a packed row"
    if not packing and "packing_strategy" in fields:
        yield "packing_strategy without packing does nothing: add packing=True, or leave it out"
    if not packing and fields.get("padding_free") and length is not None:
        yield "padding_free without packing keeps to no max_length: add packing=True, or max_length=None"
    if fields.get("padding_free") and packing and fields.get("packing_strategy") == "wrapped":
        yield 'padding_free and packing_strategy = "wrapped" do not go together: leave one out'
    if fields.get("label_smoothing_factor") and fields.get("loss_type") == "dft":
        yield "label_smoothing_factor and loss_type = 'dft' exclude each other: leave one out"


def _of_preference(fields: Mapping[str, Any]) -> Iterator[str]:
    if fields.get("padding_free"):
        yield "padding_free does nothing with dpo: leave it out"
    losses = fields.get("loss_type") or ["sigmoid"]
    losses = [losses] if isinstance(losses, str) else losses
    weights = fields.get("loss_weights")
    if weights is not None and len(weights) != len(losses):
        yield f"loss_weights has {len(weights)} numbers for {len(losses)} loss_type: give one for each"
    if fields.get("sync_ref_model") and fields.get("precompute_ref_log_probs"):
        yield "sync_ref_model and precompute_ref_log_probs exclude each other: leave one out"
    if fields.get("use_weighting") and {"aot", "aot_unpaired"} & set(losses):
        yield "use_weighting does not go with the loss_type aot: leave it out"


def _of_groups(fields: Mapping[str, Any], recipe: Mapping[str, Any]) -> Iterator[str]:
    group = fields.get("num_generations") or GROUP
    steps, drawn = fields.get("steps_per_generation"), fields.get("generation_batch_size")
    processes = recipe.get("processes") or 1
    batch = fields.get("per_device_train_batch_size", BATCH) * processes
    if group < 2:
        yield f"num_generations = {group}: a group has two completions at the least"
    if steps is not None and drawn is not None:
        yield "steps_per_generation and generation_batch_size say the same: give one"
    if fields.get("auto_find_batch_size"):
        yield "auto_find_batch_size would break groups up: leave it out"
    drawn = drawn or batch * (steps or fields.get("gradient_accumulation_steps", 1))
    if drawn % batch:
        yield f"generation_batch_size = {drawn} is not a multiple of a batch of {batch}"
    if group > 1 and drawn % group:
        told = f"{drawn} completions at a time are not a multiple of num_generations = {group}"
        yield f"{told}: batch_size={group} or num_generations={_divisor(drawn, group)} would do"
    evaluated = fields.get("per_device_eval_batch_size")
    whole = fields.get("num_generations_eval") or group
    if evaluated and whole and evaluated * processes % whole:
        yield f"per_device_eval_batch_size = {evaluated} does not hold whole groups of {whole}"


def _divisor(drawn: int, group: int) -> int:
    """The group nearest in size that fits."""
    return min((n for n in range(2, drawn + 1) if drawn % n == 0), key=lambda n: abs(n - group), default=2)


def _of_packages(fields: Mapping[str, Any]) -> Iterator[str]:
    optimizer = str(fields.get("optim") or "")
    for parts, package in _OPTIMIZER_PACKAGES:
        own = package == "bitsandbytes" and optimizer.startswith("adamw_torch")
        if not own and any(part in optimizer for part in parts) and not find_spec(package):
            yield f"optim = {optimizer!r} needs the package {package}, which is not installed: adamw_torch"
    for name, package in (("use_vllm", "vllm"), ("deepspeed", "deepspeed")):
        if fields.get(name) and not find_spec(package):
            yield f"{name} needs the package {package}, which is not installed: leave it out"
    attention = (fields.get("model_init_kwargs") or {}).get("attn_implementation")
    package = _ATTENTION_PACKAGES.get(str(attention), "")
    if package and not find_spec(package):
        yield f'attn_implementation = {attention!r} needs the package {package}: "sdpa" needs none'
