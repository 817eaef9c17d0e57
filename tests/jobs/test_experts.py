"""Models from scratch of any Transformers configuration: mixtures of experts that share the load."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ml_intern.jobs import preflight
from ml_intern.jobs.launch import RECIPES

COMMON = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 259}
EXPERTS = {"moe_intermediate_size": 16, "num_experts_per_tok": 2, "n_routed_experts": 4, "q_lora_rank": 16}
CONFIGS = {
    "deepseek_v4": {
        **COMMON, **EXPERTS, "head_dim": 16, "o_groups": 2, "o_lora_rank": 8, "index_n_heads": 2,
        "index_head_dim": 8, "index_topk": 8, "num_hash_layers": 1,
    },
    "deepseek_v3": {
        **COMMON, **EXPERTS, "intermediate_size": 64, "num_key_value_heads": 2, "n_group": 1, "topk_group": 1,
        "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 16,
        "first_k_dense_replace": 1,
    },
    "qwen3_moe": {
        **COMMON, "intermediate_size": 64, "moe_intermediate_size": 16, "num_experts": 4,
        "num_experts_per_tok": 2, "num_key_value_heads": 2, "head_dim": 16,
    },
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "vocab_size": 259},
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 259},
}  # fmt: skip
SAID = {
    "deepseek_v4": "1 layers route by a table, filled at random; biases keep the load of 1 layers even",
    "deepseek_v3": "biases keep the load of 1 layers even",
    "qwen3_moe": "the loss has 0.001 of an even load in it",
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


def made(recipe, kind: str):
    return recipe["make_model"]({"model_type": kind, **CONFIGS[kind]}, Words(), 64)


@pytest.mark.parametrize("kind", list(CONFIGS))
def test_a_model_of_any_configuration_learns_from_a_step(recipe, kind):
    import torch

    preflight.check_scratch({"config": {"model_type": kind, **CONFIGS[kind]}})
    torch.manual_seed(0)
    model = made(recipe, kind)
    assert recipe["prepare_experts"](model, CONFIGS[kind], 0) == SAID.get(kind, "")
    ids = torch.randint(3, 259, (4, 16))
    learned = torch.optim.SGD(model.parameters(), 0.1)
    losses = []
    for _ in range(3):
        loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids).loss
        loss.backward()
        learned.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_tables_of_experts_are_filled_evenly_by_the_seed_and_never_twice_with_one(recipe):
    import torch

    tables = []
    for seed in (0, 0, 1):
        model = made(recipe, "deepseek_v4")
        recipe["prepare_experts"](model, {}, seed)
        tables.append(next(m.tid2eid for m in model.modules() if hasattr(m, "tid2eid")))
    assert torch.equal(tables[0], tables[1]) and not torch.equal(tables[0], tables[2])
    counts = torch.bincount(tables[0][:, 0], minlength=4)
    assert counts.max() - counts.min() <= 1
    assert (tables[0][:, 0] != tables[0][:, 1]).all()


@pytest.mark.parametrize("kind", ["deepseek_v3", "deepseek_v4"])
def test_a_bias_moves_towards_the_expert_with_less_than_its_share(recipe, kind):
    import torch

    model = made(recipe, kind).train()
    balance = recipe["balance_callback"](model)
    router = next(m for m in model.modules() if hasattr(m, "e_score_correction_bias"))
    router.e_score_correction_bias[:2] = 5.0  # All tokens go to the first two.
    before = router.e_score_correction_bias.clone()
    ids = torch.randint(3, 259, (4, 16))
    model.eval()(input_ids=ids)  # What is only measured counts for nothing.
    model.train()(input_ids=ids)
    balance.on_step_end(SimpleNamespace(world_size=1), None, None)
    moved = router.e_score_correction_bias - before
    assert torch.allclose(moved, torch.tensor([-0.001, -0.001, 0.001, 0.001]), atol=1e-6)
    balance.on_step_end(SimpleNamespace(world_size=1), None, None)
    assert torch.equal(router.e_score_correction_bias - before, moved), "counted anew each step"


def test_a_dense_model_needs_no_balance(recipe):
    assert recipe["balance_callback"](made(recipe, "gpt2")) is None


def test_an_adapter_finds_its_layers_in_a_model_that_peft_does_not_know(recipe):
    finetuning = runpy.run_path(str(RECIPES / "_finetuning.py"))
    model = made(recipe, "deepseek_v4")
    asked = finetuning["lora"]({"peft": {"r": 2}}, model).target_modules
    kinds = {type(dict(model.named_modules())[name]).__name__ for name in asked}
    assert kinds == {"Linear"} and "lm_head" not in asked
    chosen = finetuning["lora"]({"peft": {"r": 2, "target_modules": ["lm_head"]}}, model)
    assert chosen.target_modules == {"lm_head"} and chosen.r == 2
    assert finetuning["lora"]({}, model) is None


def test_the_parts_of_a_recipe_import_nothing_of_ml_intern():
    for file in Path(RECIPES).glob("*.py"):
        assert "import ml_intern" not in file.read_text() and "from ml_intern" not in file.read_text()
