"""How much memory a training should take, and how much it took."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

LIBRARIES_MB = {"pretrain": 400.0}
MORE_LIBRARIES_MB = 600.0
"""Resident memory of a process that has imported torch and Transformers, and of one with TRL, PEFT and
Datasets; measured with CPU builds."""
STATE_BYTES = 16
"""A parameter's weight, gradient and Adam's two moments in float32."""
FROZEN_BYTES = {"cpu": 4, "gpu": 2}
"""A parameter that an adapter leaves as it is: in float32 on a CPU, in bf16 on a GPU."""
LOGIT_COPIES = 3
"""The logits, their logarithms and their gradient, in float32."""
LAYER_VALUES = 34
"""Values that a layer keeps for the backward pass, a token and unit of width, attention aside. Korthikanti
and others (Reducing Activation Recomputation in Large Transformer Models, 2022) count 34 bytes in half
precision; in float32 it is about twice as many bytes, and as many values of two bytes."""
CHARACTERS = 2.5
"""Of a row of data to a token, JSON around it and all; small vocabularies have fewer, so it is cautious."""


class MemoryUse(BaseModel):
    """Main memory of a job, in MB (2**20 bytes).

    Attributes:
        peak_mb: The most that all its processes held together, as its supervisor measured.
        estimated_mb: What was estimated before the start; None where nothing was.
        error: The estimate's error as a share of what was used: 0.2 is a fifth too much, -0.2 too little.
    """

    peak_mb: float
    estimated_mb: float | None = None
    error: float | None = None

    def numbers(self) -> dict[str, float]:
        """The figures that are known, by name."""
        return {name: value for name, value in self.model_dump().items() if value is not None}

    def __str__(self) -> str:
        told = f"{self.peak_mb:.0f} MB at the most"
        if self.estimated_mb is None or self.error is None:
            return told
        return f"{told}; {self.estimated_mb:.0f} MB were estimated, {self.error:+.0%}"


@dataclass(frozen=True)
class Shape:
    """What of a model its memory follows from."""

    parameters: float
    width: int
    layers: int
    vocabulary: int


def estimate_mb(
    method: str, model: str | Mapping[str, Any], trainer: Mapping[str, Any], recipe: Mapping[str, Any],
    data: Path | None = None,
) -> float | None:  # fmt: skip
    """Main memory of a training on a CPU, in MB; None where the model's shape is not known.

    Weights, gradients and Adam's moments; what the backward pass keeps of each layer; the logits; the
    libraries.

    Args:
        method: The recipe.
        model: A size, a dict with a config, or a folder.
        trainer: Fields of the trainer.
        recipe: Fields of the recipe.
        data: The rows; where they are short, so are the batches.
    """
    shape = shape_of(model, recipe.get("tokenizer"))
    if shape is None:
        return None
    tokens = _tokens(method, shape, {**trainer, **recipe}, data)
    layers = 1 if trainer.get("gradient_checkpointing") else shape.layers
    kept = tokens * shape.width * 4 * (LAYER_VALUES * layers + shape.layers)
    logits = tokens * shape.vocabulary * 4 * LOGIT_COPIES
    state = state_mb(shape.parameters, bool(recipe.get("peft")))
    return float(f"{LIBRARIES_MB.get(method, MORE_LIBRARIES_MB) + (kept + logits) / 2**20 + state:.4g}")


def state_mb(parameters: float, adapter: bool = False, device: Literal["cpu", "gpu"] = "cpu") -> float:
    """What weights, gradients and the optimizer take, in MB; activations are not counted."""
    return parameters * (FROZEN_BYTES[device] if adapter else STATE_BYTES) / 2**20


def shape_of(model: str | Mapping[str, Any], tokenizer: Any = None) -> Shape | None:
    """The shape of a model: of a size, of a dict with a config, or of a folder with a config.json."""
    if isinstance(model, Mapping):
        inner = model.get("tokenizer") if tokenizer is None else tokenizer
        return _from_fields(model.get("config") or {}, inner)
    size = re.fullmatch(r"scratch:\s*(\d+(?:\.\d+)?)\s*([KMB])", model.strip(), re.I)
    if size:
        return _from_size(float(size[1]) * {"K": 1e3, "M": 1e6, "B": 1e9}[size[2].upper()], tokenizer)
    try:
        return _from_fields(json.loads((Path(model) / "config.json").read_text()), None)
    except (OSError, ValueError):
        return None


def _from_size(wanted: float, tokenizer: Any) -> Shape:
    """About what the recipe's dial gives: 48 of width to a layer, a vocabulary by the square root."""
    vocabulary = _vocabulary(tokenizer) or min(32_768, max(512, 1 << round(math.log2(math.sqrt(wanted)))))

    def parameters(width: int) -> float:
        return 2 * vocabulary * width + max(2, round(width / 48)) * 12 * width**2

    width = min(range(32, 8192, 32), key=lambda w: abs(parameters(w) - wanted))
    return Shape(parameters(width), width, max(2, round(width / 48)), vocabulary)


def _from_fields(fields: Mapping[str, Any], tokenizer: Any) -> Shape | None:
    """From the fields that most of Transformers' configurations share; experts are counted each."""
    names = (("hidden_size", "n_embd", "d_model"), ("num_hidden_layers", "n_layer", "num_layers"))
    width, layers = (next((fields[n] for n in group if isinstance(fields.get(n), int)), 0) for group in names)
    if not width or not layers:
        return None
    vocabulary = max(fields.get("vocab_size") or 0, _vocabulary(tokenizer)) or 512
    inner = fields.get("intermediate_size") or fields.get("n_inner") or 4 * width
    experts = next(
        (fields[n] for n in ("n_routed_experts", "num_local_experts", "num_experts") if fields.get(n)), 1
    )
    inner *= experts if isinstance(experts, int) else 1
    embeddings = vocabulary * width * (1 if fields.get("tie_word_embeddings") else 2)
    return Shape(embeddings + layers * (4 * width**2 + 3 * width * inner), width, layers, vocabulary)


def _vocabulary(tokenizer: Any) -> int:
    if tokenizer in ("byte", "char"):
        return 260
    size = tokenizer.get("vocab_size") if isinstance(tokenizer, Mapping) else None
    return size if isinstance(size, int) else 0


def _tokens(method: str, shape: Shape, fields: Mapping[str, Any], data: Path | None) -> float:
    """Tokens of the largest batch that goes through the model at once."""
    rows = int(fields.get("per_device_train_batch_size", 8))
    if method == "pretrain":
        return float(rows * (fields.get("max_length") or shape.width))
    length = fields.get("max_length") or 1024
    if method == "grpo":
        length = (fields.get("max_completion_length") or 256) + 64
    elif data is not None:
        length = min(length, _longest(data) / CHARACTERS)
    # A pair of answers goes through the model together.
    return float(rows * length * (2 if method in ("dpo", "reward") else 1))


def _longest(data: Path) -> int:
    with data.open("rb") as file:
        return max(map(len, file), default=0)
