"""Models from scratch of any Transformers configuration: mixtures of experts that share the load."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ml_intern.errors import ToolError
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
    balance = recipe["experts_callback"](model)
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


@pytest.mark.parametrize(
    ("how", "filled", "moves", "said"),
    [
        ("as made", False, False, "they stay as the library makes them"),
        ("filled", True, False, "1 layers route by a table, filled at random"),
        ("balanced", True, True, SAID["deepseek_v4"]),
    ],
)
def test_how_far_experts_are_prepared_is_a_choice(recipe, how, filled, moves, said):
    import torch

    model = made(recipe, "deepseek_v4").train()
    assert recipe["prepare_experts"](model, {}, 0, how) == said
    routers = {name: m for name, m in model.named_modules() if name.endswith("mlp.gate")}
    table, biased = routers["model.layers.0.mlp.gate"], routers["model.layers.1.mlp.gate"]
    assert bool(table.tid2eid.any()) is filled
    experts = recipe["experts_callback"](model, how)
    model(input_ids=torch.randint(3, 259, (4, 16)))
    experts.on_step_end(SimpleNamespace(world_size=1), None, None)
    assert bool(biased.e_score_correction_bias.any()) is moves
    assert recipe["prepare_experts"](made(recipe, "gpt2"), {}, 0, how) == ""


def test_a_loss_of_even_load_is_left_out_where_that_was_asked(recipe):
    for how, counts in (("balanced", True), ("filled", False), ("as made", False)):
        model = made(recipe, "qwen3_moe")
        recipe["prepare_experts"](model, {}, 0, how)
        assert model.config.output_router_logits is counts


@pytest.mark.parametrize("kind", ["deepseek_v4", "qwen3_moe", "gpt2"])
def test_what_was_trained_with_a_loss_of_even_load_answers_in_more_than_one_token(recipe, kind, tmp_path):
    """TRL asks for the routers' logits in the config; with it the library generates no second token."""
    import torch

    torch.manual_seed(0)
    model = made(recipe, kind)
    if kind != "gpt2":
        model.config.output_router_logits = True
    tokenizer = runpy.run_path(str(RECIPES / "_tokenizer.py"))["make_tokenizer"]({"type": "byte"}, [])
    common, answering = (runpy.run_path(str(RECIPES / f"{name}.py")) for name in ("_common", "generate"))
    common["save_model"](model, tokenizer, tmp_path / "model")
    assert not json.loads((tmp_path / "model" / "config.json").read_text()).get("output_router_logits")
    model.config.output_router_logits = kind != "gpt2"
    model.save_pretrained(tmp_path / "model")  # as others have published theirs
    loaded, _, start, ends = answering["load"](str(tmp_path / "model"))
    task = {"max_new_tokens": 4}
    new = answering["continue_prompts"](loaded, [[5, 6, 7], [8]], start, ends, task)
    assert [len(ids) for ids in new] == [4, 4]


@pytest.mark.parametrize("kind", ["deepseek_v4", "deepseek_v3", "qwen3_moe"])
def test_a_log_tells_the_largest_share_of_an_expert(recipe, kind):
    import torch

    model = made(recipe, kind).train()
    recipe["prepare_experts"](model, {}, 0, "as made")
    experts = recipe["experts_callback"](model, "as made")
    for _ in range(2):
        model(input_ids=torch.randint(3, 259, (4, 16)))
        experts.on_step_end(SimpleNamespace(world_size=1), None, None)
    logs = {"loss": 1.0}
    experts.on_log(None, None, None, logs)
    layers = experts.loads()
    assert logs["expert_share"] == pytest.approx(max(map(max, layers.values())), abs=1e-4)
    assert all(sum(shares) == pytest.approx(1, abs=1e-3) and len(shares) == 4 for shares in layers.values())
    if kind == "deepseek_v4":  # Its table is all zeros.
        assert layers["model.layers.0.mlp.gate"] == [1.0, 0.0, 0.0, 0.0] and logs["expert_share"] == 1.0
    last = {"train_runtime": 1.0}
    experts.on_log(None, None, None, last)
    assert "expert_share" not in last and experts.loads() == layers


def test_padding_is_no_load(recipe):
    import torch

    model = made(recipe, "deepseek_v4").train()
    recipe["prepare_experts"](model, {}, 0)
    experts = recipe["experts_callback"](model)
    table = model.model.layers[0].mlp.gate.tid2eid
    table[:] = torch.tensor([0, 1])
    table[0] = torch.tensor([2, 3])
    ids = torch.tensor([[5, 6, 7, 0, 0, 0, 0, 0], [5, 6, 7, 8, 9, 0, 0, 0]])
    model(input_ids=ids, attention_mask=(ids > 0).long())
    experts.on_step_end(SimpleNamespace(world_size=1), None, None)
    experts.on_log(None, None, None, {"loss": 1.0})
    assert experts.loads()["model.layers.0.mlp.gate"] == [0.5, 0.5, 0.0, 0.0]


def test_a_way_of_preparing_that_there_is_not_is_told_before_anything_starts():
    with pytest.raises(ToolError, match=r"experts = 'even' is not one of balanced, filled, as made"):
        preflight.check_config("pretrain", {"experts": "even"})
    assert preflight.check_config("pretrain", {"experts": "as made"}).recipe == {"experts": "as made"}
    with pytest.raises(ToolError, match="belongs to pretrain"):
        preflight.check_config("sft", {"experts": "balanced"})


def test_a_dense_model_needs_no_balance(recipe):
    assert recipe["experts_callback"](made(recipe, "gpt2")) is None


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


def asked_of(tmp_path: Path, kind: str, **more) -> dict:
    rows = ({"text": f"word {n} and word {n + 1}"} for n in range(40))
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    fields = {"model_type": kind, **CONFIGS[kind]}
    places = {"output_dir": tmp_path, "checkpoint_dir": tmp_path / "checkpoints"}
    return {
        "model": {"config": fields},
        "tokenizer": "byte",
        "data": str(tmp_path / "data.jsonl"),
        "metrics_file": str(tmp_path / "metrics.jsonl"),
        "max_length": 32,
        **{name: str(place) for name, place in places.items()},
        **more,
    }


def test_a_dense_model_has_no_experts_to_prepare(recipe, tmp_path):
    with pytest.raises(SystemExit, match="this model is dense: leave it out"):
        recipe["prepare"](asked_of(tmp_path, "gpt2", experts="filled"))


@pytest.mark.slow
@pytest.mark.thorough
def test_a_training_tells_the_load_of_its_experts(tmp_path):
    trainer = {"max_steps": 3, "per_device_train_batch_size": 4, "logging_steps": 1, "use_cpu": True}
    config = asked_of(tmp_path, "deepseek_v4", experts="as made", trainer=trainer)
    (tmp_path / "config.json").write_text(json.dumps(config))
    command = [sys.executable, str(RECIPES / "pretrain.py"), str(tmp_path / "config.json")]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True, text=True)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["expert_share"] for row in rows if "loss" in row] == [1.0, 1.0, 1.0]
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["expert_share"] == 1.0
    assert result["expert_shares"]["model.layers.0.mlp.gate"] == [1.0, 0.0, 0.0, 0.0]
    assert sum(result["expert_shares"]["model.layers.1.mlp.gate"]) == pytest.approx(1, abs=1e-3)
