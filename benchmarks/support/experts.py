"""Pretraining of mixtures of experts of about 100M parameters, as `throughput.py` measures it."""

from __future__ import annotations

from typing import Any

from benchmarks.support import flops
from benchmarks.support.training_runs import ours

EXPERTS = {
    "deepseek_v3": {
        "model_type": "deepseek_v3", "vocab_size": 16384, "hidden_size": 512, "intermediate_size": 1408,
        "moe_intermediate_size": 384, "num_hidden_layers": 10, "first_k_dense_replace": 1,
        "num_attention_heads": 8, "num_key_value_heads": 8, "q_lora_rank": 256, "kv_lora_rank": 128,
        "qk_nope_head_dim": 64, "qk_rope_head_dim": 32, "v_head_dim": 64, "n_routed_experts": 16,
        "num_experts_per_tok": 2, "n_shared_experts": 1, "n_group": 1, "topk_group": 1,
        "tie_word_embeddings": True,
    },
    "deepseek_v4": {
        "model_type": "deepseek_v4", "vocab_size": 32768, "hidden_size": 512, "num_hidden_layers": 10,
        "num_attention_heads": 8, "head_dim": 64, "q_lora_rank": 256, "o_groups": 2, "o_lora_rank": 128,
        "index_n_heads": 4, "index_head_dim": 32, "index_topk": 64, "num_hash_layers": 2,
        "n_routed_experts": 16, "num_experts_per_tok": 2, "moe_intermediate_size": 320,
        "tie_word_embeddings": True,
    },
}  # fmt: skip
"""Mixtures of experts of about 100M parameters."""
ROW, ROWS_ON_GPU = 1024, 32
SMALL_EXPERTS = EXPERTS["deepseek_v3"] | {
    "vocab_size": 512, "hidden_size": 64, "intermediate_size": 128, "moe_intermediate_size": 48,
    "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "q_lora_rank": 32,
    "kv_lora_rank": 32, "n_routed_experts": 4,
}  # fmt: skip


def experts(bench: Any, kinds: list[str], steps: int) -> None:
    """Print what they need, and on a GPU what it makes of them; on a CPU a small one.

    Args:
        bench: `throughput.Bench`, which runs a training and says where.
        kinds: Names out of `EXPERTS`.
        steps: How many to measure.
    """
    print("\nPretraining of mixtures of experts: tokens/s and model-FLOPs utilisation")
    for kind in kinds:
        work = work_of(EXPERTS[kind], ROW)
        print(f"{kind:14}{described(work, ROW)}")
    if not bench.gpu:
        print("not run here: no GPU. A small one on the processor shows that the arithmetic holds, no more:")
        print(f"{'small':14}" + one_of_experts(bench, SMALL_EXPERTS, 128, steps, 8), flush=True)
        return
    for kind in kinds:
        for fields in ({}, {"torch_compile": True}):
            name = kind + (" compiled" if fields else "")
            print(
                f"{name:24}" + one_of_experts(bench, EXPERTS[kind], ROW, steps, ROWS_ON_GPU, **fields),
                flush=True,
            )


def work_of(config: dict[str, Any], length: int) -> flops.Work:
    """The work of a model that is laid out and never made."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        return flops.work(AutoModelForCausalLM.from_config(AutoConfig.for_model(**config)), length)


def described(work: flops.Work, length: int) -> str:
    return (
        f"{work.parameters / 1e6:.1f}M parameters, {work.active / 1e6:.1f}M weights multiplied with a token, "
        f"{work.per_token / 1e6:.0f} MFLOP a token in rows of {length}"
    )


def one_of_experts(
    bench: Any, model: dict[str, Any], length: int, steps: int, batch: int, **fields: Any
) -> str:
    """One run of the pretrain recipe: its steady rate, and the share of the device's peak that this is."""
    told = bench.fields("pretrain") | {"max_steps": steps, "dataloader_drop_last": True, **fields}
    told["per_device_train_batch_size"] = batch
    order = {"type": "bpe", "vocab_size": model["vocab_size"]}
    config = {"model": {"config": model}, "tokenizer": order, "data": bench.made.texts, "max_length": length}
    run = bench.run(ours, "pretrain", config | {"trainer": told})
    work, rate = work_of(model, length), run.steady or run.rate
    line = f"{described(work, length)}: {rate:.0f} tokens/s"
    for peak in peaks(bench):
        share = flops.utilisation(rate, work.per_token, peak.tflops)
        line += f"\n{'':8}{share:.1%} of {peak.tflops:.3g} TFLOPS ({peak.source})"
    return line


def peaks(bench: Any) -> list[flops.Peak]:
    """What the device's maker says, where the table has it, and what one multiplication reaches."""
    import torch

    torch.set_num_threads(bench.args.threads)
    listed = flops.listed_peak(torch.cuda.get_device_name()) if bench.gpu else None
    return [*([listed] if listed else []), flops.measured_peak(bench.args.device)]
