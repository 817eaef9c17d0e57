"""pretrain takes any configuration of a causal language model by its name, and refuses others in one line."""

from __future__ import annotations

import runpy
import sys
from typing import Any

import pytest

from ml_intern.errors import ToolError
from ml_intern.jobs import preflight
from ml_intern.jobs.fields import causal_types, model_fields
from ml_intern.jobs.launch import RECIPES
from ml_intern.jobs.recipes._scratch import NOT_CAUSAL

SMALL: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
DENSE = {**SMALL, "intermediate_size": 64, "num_key_value_heads": 2, "head_dim": 8}
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 32}
LATENT = {
    **SMALL, **EXPERTS, "intermediate_size": 64, "num_key_value_heads": 4, "n_routed_experts": 4,
    "kv_lora_rank": 16, "q_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 16,
    "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1,
}  # fmt: skip
HYBRID = {**DENSE, "layer_types": ["linear_attention", "full_attention"]}
CONFIGS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(
        (
            "llama",
            "mistral",
            "qwen2",
            "qwen3",
            "gemma2",
            "gemma3_text",
            "phi3",
            "olmo2",
            "smollm3",
            "granite",
        ),
        DENSE,
    ),
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4},
    "gpt_neox": {**SMALL, "intermediate_size": 64},
    "falcon": SMALL,
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2},
    "mamba2": {"hidden_size": 32, "num_hidden_layers": 2, "head_dim": 8, "num_heads": 8, "n_groups": 1},
    "mixtral": {**DENSE, "num_local_experts": 4, "num_experts_per_tok": 2},
    "gpt_oss": {**DENSE, "num_local_experts": 4, "num_experts_per_tok": 2},
    "olmoe": {**DENSE, "num_experts": 4, "num_experts_per_tok": 2},
    "qwen3_moe": {**DENSE, **EXPERTS, "num_experts": 4},
    "qwen3_next": {**HYBRID, **EXPERTS, "num_experts": 4},
    "glm4_moe": {**DENSE, **EXPERTS, "n_routed_experts": 4},
    "deepseek_v3": LATENT,
    "bert": {**SMALL, "intermediate_size": 64, "is_decoder": True},
}


@pytest.fixture(scope="module")
def recipe():
    sys.path.insert(0, str(RECIPES))
    yield runpy.run_path(str(RECIPES / "pretrain.py"), run_name="recipe")
    sys.path.remove(str(RECIPES))


class Words:
    """All that a model is told of its tokenizer."""

    bos_token_id, eos_token_id, pad_token_id = 1, 2, 0

    def __len__(self) -> int:
        return 259


@pytest.mark.parametrize("kind", list(CONFIGS))
def test_a_model_by_its_name_learns_and_is_the_same_when_it_is_read_again(recipe, kind, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    fields = {"model_type": kind, **CONFIGS[kind]}
    preflight.check_scratch({"config": fields})
    torch.manual_seed(0)
    model = recipe["built"](fields, Words(), 64)
    drawn = torch.rand(1)
    torch.manual_seed(0)
    recipe["make_model"](fields, Words(), 64)
    assert model.training and torch.equal(drawn, torch.rand(1)), "the look at later tokens draws nothing"
    recipe["prepare_experts"](model, fields, 0)
    ids = torch.randint(3, 259, (2, 16))
    optimizer, losses = torch.optim.SGD(model.parameters(), 0.1), []
    for _ in range(3):
        loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[0] > losses[1] > losses[2]
    model.eval().save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path, use_safetensors=True).eval()
    with torch.no_grad():
        first, second = (m(input_ids=ids, use_cache=False).logits for m in (model, again))
    assert torch.allclose(first, second, atol=1e-6)


def refusal(recipe: Any, fields: dict[str, Any]) -> str:
    with pytest.raises(SystemExit) as caught:
        recipe["built"](fields, Words(), 64)
    told = str(caught.value)
    assert told.startswith("bad_config: ") and "\n" not in told
    return told


@pytest.mark.parametrize("kind", ["cpmant", "bert", "roberta", "xlm"])
def test_a_model_that_looks_at_later_tokens_is_refused(recipe, kind):
    """Its loss would fall to nothing, as the answer stands in what it reads."""
    size = {name: value for name, value in SMALL.items() if name in model_fields(kind)}
    told = refusal(recipe, {"model_type": kind, **size})
    assert f"A {kind} of this config looks at later tokens" in told
    if kind in NOT_CAUSAL:
        with pytest.raises(ToolError, match=f'add "{NOT_CAUSAL[kind]}": true'):
            preflight.check_scratch({"config": {"model_type": kind, **size}})
        preflight.check_scratch({"config": {"model_type": kind, **size, NOT_CAUSAL[kind]: True}})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"model_type": "zaya", **SMALL, "num_experts_per_tok": 2}, "`num_experts_per_tok=1` only"),
        ({"model_type": "xlnet", "n_layer": 1, "d_model": 32}, "NotImplementedError"),
        ({"model_type": "deepseek_v3", **LATENT, "v_head_dim": -8}, "make a deepseek_v3 of this config"),
        ({"model_type": "mamba2", "hidden_size": 32, "num_hidden_layers": 2, "head_dim": 7}, "must equal"),
    ],
)
def test_what_transformers_cannot_make_is_told_in_one_line(recipe, fields, words):
    assert words in refusal(recipe, fields)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "gemma3"}, "take its text model: 'gemma3_text'"),
        ({"model_type": "vit"}, "no causal language model"),
        ({"model_type": "lama"}, "did you mean 'llama'"),
        (
            {"model_type": "mixtral", "num_local_experts": 2, "num_experts_per_tok": 4},
            "more than the 2 experts",
        ),
        ({"model_type": "llama", "num_hidden_layers": 0}, "a whole number above zero"),
        ({"model_type": "llama", "hidden_size": "96"}, "a whole number above zero"),
        ({"model_type": "llama", "rms_norm_eps": float("nan")}, "a finite number"),
    ],
)
def test_a_config_that_can_be_seen_to_be_wrong_is_refused_before_a_job(config, words):
    with pytest.raises(ToolError) as caught:
        preflight.check_scratch({"config": config})
    assert words in str(caught.value)


def test_the_types_are_many_and_a_field_whose_name_is_made_up_hides_no_others():
    assert len(causal_types()) > 100
    assert {"hidden_size", "num_hidden_layers"} <= set(model_fields("dots3_note_text"))
