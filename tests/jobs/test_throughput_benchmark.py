"""The throughput benchmark: it runs, and its arithmetic is right against values worked out by hand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def flops():
    sys.path.insert(0, str(ROOT))
    try:
        from benchmarks.support import flops
    finally:
        sys.path.remove(str(ROOT))
    return flops


def made(**fields: Any) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(**fields))


DENSE = {
    "model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 259, "tie_word_embeddings": False,
}  # fmt: skip
MLP, HEAD = 3 * 32 * 64, 259 * 32
DENSE_ACTIVE = 2 * (32 * 32 + 2 * 32 * 16 + 32 * 32 + MLP) + HEAD
"""Queries, keys and values of one head, output, MLP; twice; the head."""


def test_a_dense_model(flops):
    found = flops.work(made(**DENSE), 10)
    assert found.active == DENSE_ACTIVE == 26_720
    assert found.parameters == DENSE_ACTIVE + HEAD + 5 * 32, (
        "the embedding and five norms are not multiplied with"
    )
    assert found.attention == 2 * 12 * 32 * 10, "PaLM's 12 · width · length, in two layers"
    assert found.per_token == 6 * 26_720 + 7_680 == 168_000


def test_a_head_that_is_the_embedding_counts_once_in_the_model_and_still_works(flops):
    found = flops.work(made(**DENSE | {"tie_word_embeddings": True}), 10)
    assert found.active == 26_720 and found.parameters == 26_720 + 5 * 32


def test_a_mixture_of_experts_counts_those_that_a_token_goes_through(flops):
    found = flops.work(
        made(
            model_type="deepseek_v3", hidden_size=32, intermediate_size=64, moe_intermediate_size=16,
            num_hidden_layers=2, first_k_dense_replace=1, num_attention_heads=2, num_key_value_heads=2,
            q_lora_rank=16, kv_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=12,
            n_routed_experts=4, num_experts_per_tok=2, n_shared_experts=1, n_group=1, topk_group=1,
            vocab_size=259, tie_word_embeddings=False,
        ),
        10,
    )  # fmt: skip
    latent = 32 * 16 + 16 * 2 * 16 + 32 * (16 + 8) + 16 * 2 * (8 + 12) + 2 * 12 * 32
    expert = 3 * 32 * 16
    assert found.active == 2 * latent + MLP + (4 * 32 + expert + 2 * expert) + HEAD
    norms = 2 * (32 + 32 + 16 + 16) + 32
    assert found.parameters == found.active + 2 * expert + HEAD + norms, "two experts sit out"
    assert found.attention == 2 * 6 * 2 * (16 + 12) * 10, "queries are 16 wide, values 12"


def test_how_many_keys_a_query_sees(flops):
    plain = SimpleNamespace(num_hidden_layers=2)
    assert flops.keys(plain, 1000) == [1000, 1000]
    kinds = ["full_attention", "sliding_attention"]
    assert flops.keys(SimpleNamespace(layer_types=kinds, sliding_window=128), 1000) == [1000, 128]
    assert flops.keys(SimpleNamespace(layer_types=kinds, sliding_window=128), 100) == [100, 100]
    v4 = SimpleNamespace(
        layer_types=["heavily_compressed_attention", "compressed_sparse_attention"],
        sliding_window=128,
        compress_rates={"heavily_compressed_attention": 128, "compressed_sparse_attention": 4},
        index_topk=64,
    )
    assert flops.keys(v4, 1024) == [128 + 8, 128 + 64]


@pytest.mark.parametrize(
    ("name", "tflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H100 NVL", 835),
        ("NVIDIA H200", 989),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A10", 125),
        ("NVIDIA A10G", None),
        ("NVIDIA L4", 121),
        ("NVIDIA L40S", 362),
        ("Tesla T4", None),
    ],
)
def test_the_peak_of_a_device_is_found_by_its_name(flops, name, tflops):
    peak = flops.listed_peak(name)
    assert (peak and peak.tflops) == tflops
    assert peak is None or "NVIDIA" in peak.source


def test_utilisation(flops):
    assert flops.utilisation(1e6, 286_000_000, 989) == pytest.approx(0.2892, abs=1e-4)


@pytest.mark.thorough
def test_quick_runs_and_says_what_it_compared():
    argv = [sys.executable, "benchmarks/throughput.py", "--quick", "--device", "cpu"]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = {line.split("  ")[0]: line for line in done.stdout.splitlines()}
    assert "same loss" in lines["sft"] and lines["sft"].count(" = ") == 4
    assert "not available here: flash attention is for GPUs" in lines["padding-free, flash"]
    assert re.match(r"deepseek_v3 +1\d\d\.\dM parameters", lines["deepseek_v3"])
    assert "not run here: no GPU" in done.stdout
    [share] = re.findall(r"([\d.]+)% of [\d.]+ TFLOPS \(measured", done.stdout)
    assert 0 < float(share) < 100
