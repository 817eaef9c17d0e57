"""A reward for text that parses, and for nothing else: fooled, seen, explained and repaired, by real trainings."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.sweep_services import services_in

from ml_intern.context import Services, ToolContext
from ml_intern.data.store import Lineage
from ml_intern.errors import ToolError
from ml_intern.jobs.model import JobStatus
from ml_intern.jobs.runs import NOTES
from ml_intern.tools.jobs import diagnose_job, read_samples, wait_for_job
from ml_intern.tools.training import launch_training

WAIT_S = 240
SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
         "num_key_value_heads": 2, "vocab_size": 259}  # fmt: skip
NAMES = (
    "self",
    "count",
    "total",
    "lines",
    "name",
    "value",
    "path",
    "key",
    "result",
    "parse",
    "item",
    "append",
)


def statements(count: int, seed: int) -> list[dict[str, str]]:
    draw = random.Random(seed)
    forms = ("{} = {}.{}", "{} = {}({})", "{}.{}({})", "{}[{}] = {}", "return {}({}, {})")
    return [
        {"text": draw.choice(forms).format(*(draw.choice(NAMES) for _ in range(3)))} for _ in range(count)
    ]


@pytest.fixture
def services(tmp_path: Path) -> Services:
    services = services_in(tmp_path)
    for name, rows in {
        "statements": statements(600, 0),
        "others": statements(60, 1),
        "prompts": [{"prompt": ""}] * 16,
    }.items():
        services.datasets.save(name, rows, Lineage(source="t", operation="t"))
    base = services.files.workspace / "base"
    base.mkdir()
    (base / "config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
    (base / "tokenizer.json").write_text("{}")
    # A model of some thousand weights moves far in a step, and needs a stronger hold than the usual one.
    harder = services.settings.model_copy(update={"alerts": {"kl_term": 1.28}})
    return replace(services, settings=harder)


@pytest.fixture
def ctx(services: Services) -> Callable[[str], ToolContext]:
    return lambda key: ToolContext(services, key, key, needs=("hub:read",))


def trained(ctx, name: str, method: str, model, dataset: str, **config) -> JobStatus:
    config = {"save_strategy": "no", "logging_steps": 1, **config}
    job = launch_training(ctx(name), method, model, dataset, config, hardware="cpu", name=name).id
    status = wait_for_job(ctx("wait"), job, WAIT_S)
    assert status.state == "succeeded", status.failure
    return status


def bits(status: JobStatus) -> dict[str, float]:
    return json.loads((Path(status.output) / "result.json").read_text())["held_out"]["bits_per_byte"]


GRPO = {"lr": 3e-3, "batch_size": 64, "num_generations": 8, "max_completion_length": 32, "max_steps": 30,
        "held_out_texts": "others"}  # fmt: skip


@pytest.mark.thorough
def test_collapse_is_seen_and_explained_and_the_change_that_is_named_repairs_it(ctx):
    tiny = {"config": SMALL, "tokenizer": "byte"}
    base = trained(ctx, "base", "pretrain", tiny, "statements", lr=5e-3, batch_size=32, max_steps=120).id

    rewards = ["parses", {"type": "length", "name": "words", "min": 8, "weight": 0}]
    fooled = trained(ctx, "fooled", "grpo", base, "prompts", rewards=rewards, **GRPO)
    found = diagnose_job(ctx("d"), fooled.id)
    assert not found.healthy and "without the task being done" in found.cause
    kinds = {f.kind: f for f in found.findings}
    assert {"held_out_worse", "length_collapse"} <= set(kinds)
    shrank = kinds["length_collapse"].evidence
    assert shrank["last"] < 0.2 * shrank["first"] and shrank["reward"] > 0.9 > 0.5 > shrank["reward_first"]
    assert bits(fooled)["end"] > 2 * bits(fooled)["start"]
    measured = ctx("m").jobs.metrics(fooled.id)
    assert [row["step"] for row in measured if "eval_bits_per_byte" in row] == [*range(0, 31, 3)]
    assert all("unrewarded/words" in row and "completions/distinct" in row for row in measured[1:])

    samples = read_samples(ctx("s"), fooled.id)
    late = read_samples(ctx("s"), fooled.id, step=29)
    assert {s.step for s in late} == {29} and min(s.step for s in samples) == 0
    assert max(s.tokens for s in late) < max(s.tokens for s in samples if s.step == 0)
    assert [s.step for s in found.samples] == [0, 0, 29, 29]

    assert set(found.change) == {"beta", "rewards"} and found.change["rewards"][-1]["type"] == "length"
    repaired = trained(ctx, "repaired", "grpo", base, "prompts", **{**GRPO, **found.change})
    assert not [f for f in diagnose_job(ctx("d"), repaired.id).findings if f.kind not in NOTES]
    assert bits(repaired)["start"] == bits(fooled)["start"]
    assert bits(repaired)["end"] < 1.2 * bits(repaired)["start"]
    assert repaired.metrics["completions/mean_length"] > shrank["first"] / 2


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ("prompts", "held_out_texts need a column 'text'; prompts has prompt"),
        ("nowhere", "nowhere"),
        (5, "held_out_texts = 5 must be str"),
    ],
)
def test_held_out_texts_that_do_not_fit_are_named_before_anything_starts(ctx, texts, words):
    asked = {**GRPO, "rewards": ["parses"], "held_out_texts": texts}
    with pytest.raises(ToolError, match=words):
        launch_training(ctx("k"), "grpo", "base", "prompts", asked, hardware="cpu")
    assert not ctx("k").jobs.list()


def test_held_out_texts_are_not_those_of_the_training_nor_of_a_sealed_evaluation(ctx):
    asked = {"held_out_texts": "statements"}
    with pytest.raises(ToolError, match="are the training data"):
        launch_training(ctx("k"), "sft", "base", "statements", asked, hardware="cpu")
    ctx("e").evals.register("sealed", statements(60, 1), ["bits_per_byte"], "bits_per_byte", input="text")
    with pytest.raises(ToolError, match="sealed"):
        launch_training(ctx("k"), "sft", "base", "statements", {"held_out_texts": "others"}, hardware="cpu")
    assert not ctx("k").jobs.list()
