"""Fields that make a training faster, and what they need: packing, padding_free, bf16, fp16, torch_compile.

TRL and Transformers refuse some combinations after their imports and take others silently for something else.
"""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from typing import Any

from ml_intern.errors import ToolError
from ml_intern.jobs.preflight import Plan

_LENGTH = 1024
"""What TRL's SFTConfig takes for max_length."""


def check_speed(method: str, plan: Plan, gpus: int, here: bool) -> None:
    """Can these fields hold together, for this method and at the place of the job?

    Args:
        method: The recipe.
        plan: What it will read.
        gpus: That there are for the job.
        here: Whether it runs with this machine's own programs: only of those is known which there are.

    Raises:
        ToolError: Names everything that cannot, and what to write in its place.
    """
    fields = plan.trainer
    gpus = 0 if fields.get("use_cpu") else gpus
    wrong = [*_rows(method, fields), *_numbers(fields, gpus), *_attention(fields, gpus, here)]
    wrong += _compiler(fields, gpus) if here else []
    if wrong:
        raise ToolError(
            f"The config does not fit {method}: {'; '.join(wrong)}.", "Correct it and launch again."
        )


def _rows(method: str, fields: dict[str, Any]) -> list[str]:
    packed, length = fields.get("packing"), fields.get("max_length", _LENGTH)
    if method == "dpo":
        return ["padding_free does nothing with dpo: leave it out"] if fields.get("padding_free") else []
    if method != "sft":
        return []
    if packed and length is None:
        return ["packing needs max_length, the tokens of a row"]
    if fields.get("padding_free") and not packed and length is not None:
        return ["padding_free cuts no text off: set max_length to None, or packing to true"]
    if fields.get("padding_free") and packed and fields.get("packing_strategy") == "wrapped":
        return ['padding_free and packing_strategy = "wrapped" do not go together: leave one out']
    return []


def _numbers(fields: dict[str, Any], gpus: int) -> list[str]:
    if fields.get("bf16") and fields.get("fp16"):
        return ["bf16 and fp16 are both set: choose one"]
    return (
        ["fp16 needs a GPU, and there is none: bf16 works on a CPU"]
        if fields.get("fp16") and not gpus
        else []
    )


def _attention(fields: dict[str, Any], gpus: int, here: bool) -> list[str]:
    asked = str((fields.get("model_init_kwargs") or {}).get("attn_implementation", ""))
    if not asked.startswith("flash_attention"):
        return []
    if not gpus:
        return [f"{asked} needs a GPU, and there is none: leave attn_implementation out"]
    if here and asked == "flash_attention_2" and find_spec("flash_attn") is None:
        return [f"{asked} needs the package flash_attn, which is not installed"]
    return []


def _compiler(fields: dict[str, Any], gpus: int) -> list[str]:
    if not fields.get("torch_compile"):
        return []
    names = ("cc", "gcc", "clang") if gpus else (os.environ.get("CXX", "c++"), "g++", "clang++")
    if any(map(shutil.which, names)):
        return []
    return [f"torch_compile needs a {'C' if gpus else 'C++'} compiler, and none is found: leave it out"]
