"""How many floating point operations a token of training needs, and how many a device can do.

The formula is that of the PaLM paper (2204.02311, appendix B), with matrices that a token does not meet
left out: 6 operations for each weight of a matrix that a token is multiplied with (2 forward, 4 backward),
and for attention in each layer

    6 · heads · (width of a query + width of a value) · keys that a query sees

which is PaLM's 12 · heads · width · length where the two widths are alike. As there, a query counts with
all keys of its row, though causality hides half of them: that flatters who skips the hidden half, as is
usual. Not counted are embeddings, which are looked up, activation checkpointing, which is work done twice,
norms, softmax and the optimizer.
"""

from __future__ import annotations

import re
import time
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

PEAKS = Path(__file__).with_name("peaks.toml")
_SIZE, _ROUNDS = 4096, 20


class Work(NamedTuple):
    """What one model is and needs.

    Attributes:
        parameters: All of them.
        active: Weights of matrices that a token is multiplied with.
        attention: Operations of attention for one token, forward and backward.
    """

    parameters: int
    active: int
    attention: int

    @property
    def per_token(self) -> int:
        """Floating point operations of a token's forward and backward pass."""
        return 6 * self.active + self.attention


class Peak(NamedTuple):
    """What a device can do, in 10^12 operations a second, and who says so."""

    tflops: float
    source: str


def work(model: Any, length: int) -> Work:
    """Count a model of Transformers, also one on the device ``meta``, for rows of `length` tokens."""
    config = model.config.get_text_config()
    return Work(model.num_parameters(), active_weights(model, config), attention(config, length))


def active_weights(model: Any, config: Any) -> int:
    """Weights of matrices that a token meets: of routed experts the chosen, no embedding but a head."""
    from torch import nn

    looked_up = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    share = chosen_share(config)
    total = 0.0
    for name, weight in model.named_parameters():
        if weight.ndim >= 2 and id(weight) not in looked_up and not name.endswith("bias"):
            total += weight.numel() * (share if ".experts." in name else 1)
    head = model.get_output_embeddings()
    if (
        head is not None and id(head.weight) in looked_up
    ):  # Tied: looked up at one end, multiplied at the other.
        total += head.weight.numel()
    return round(total)


def chosen_share(config: Any) -> float:
    """Of a layer's routed experts, the share that a token goes through."""
    names = ("n_routed_experts", "num_experts", "num_local_experts")
    experts = next((n for name in names if (n := getattr(config, name, None))), None)
    return config.num_experts_per_tok / experts if experts else 1.0


def attention(config: Any, length: int) -> int:
    """Operations that attention costs a token in all layers, forward and backward."""
    heads = config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    query = getattr(config, "qk_head_dim", None) or width
    value = getattr(config, "v_head_dim", None) or width
    return round(6 * heads * (query + value) * sum(keys(config, length)))


def keys(config: Any, length: int) -> list[float]:
    """How many keys a query sees, by layer: all, those of a window, or DeepSeek-V4's window and summaries."""
    kinds = getattr(config, "layer_types", None) or ["full_attention"] * config.num_hidden_layers
    window = min(length, getattr(config, "sliding_window", None) or length)
    rates = getattr(config, "compress_rates", None) or {}
    most = {"compressed_sparse_attention": getattr(config, "index_topk", None) or length}
    found: list[float] = []
    for kind in kinds:
        if kind in rates:
            found.append(window + min(length / rates[kind], most.get(kind, length)))
        else:
            found.append(window if kind == "sliding_attention" else length)
    return found


def listed_peak(name: str) -> Peak | None:
    """What the table says of the device that CUDA calls by this name; None where it is not in it."""
    for device in tomllib.loads(PEAKS.read_text())["device"]:
        if re.search(device["name"], name):
            return Peak(float(device["tflops"]), device["source"])
    return None


def measured_peak(device: str) -> Peak:
    """The rate of one large multiplication after another, in bf16 on a GPU and in float32 on a CPU."""
    import torch

    size, kind = (_SIZE, torch.bfloat16) if device == "cuda" else (_SIZE // 4, torch.float32)
    left, right = (torch.randn(size, size, device=device, dtype=kind) for _ in range(2))
    best = float("inf")
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        left @ right
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return Peak(
        2 * size**3 / best / 1e12,
        f"measured: {size} x {size} matrices, {str(kind)[6:]}, the best of {_ROUNDS}",
    )


def utilisation(tokens_per_second: float, per_token: int, peak_tflops: float) -> float:
    """Which share of what the device can do the model's own operations are."""
    return tokens_per_second * per_token / (peak_tflops * 1e12)
