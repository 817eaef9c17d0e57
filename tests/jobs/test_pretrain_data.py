"""What pretrain makes of its documents before the first step; no training here but the last one."""

from __future__ import annotations

import json
import runpy
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from ml_intern.jobs.launch import RECIPES
from ml_intern.jobs.model import JobSpec

MODEL = {"model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
         "num_attention_heads": 2, "num_key_value_heads": 2}  # fmt: skip


@pytest.fixture(scope="module")
def prepare():
    sys.path.insert(0, str(RECIPES))
    yield runpy.run_path(str(RECIPES / "pretrain.py"), run_name="recipe")["prepare"]
    sys.path.remove(str(RECIPES))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Sorted by their first letter, as files sorted by name are."""
    rows = [{"text": f"{chr(97 + n // 16)}{n}"} for n in range(400)]
    path = tmp_path / "sorted.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def documents(tokenizer, rows) -> list[str]:
    texts = [tokenizer.decode(row["input_ids"]) for row in rows]
    return "".join(texts).replace("<|bos|>", "").removesuffix("<|eos|>").split("<|eos|>")


def test_documents_are_shuffled_by_the_seed_before_they_share_a_row(prepare, data):
    def order(seed: int) -> list[str]:
        _, tokenizer, rows, _ = prepare({"model": {"config": MODEL}, "data": str(data), "seed": seed})
        return documents(tokenizer, rows)

    first = order(0)
    source = [json.loads(line)["text"] for line in data.read_text().splitlines()]
    assert first == order(0) != order(1) and sorted(first) == sorted(source)
    like = sum(a[0] == b[0] for a, b in pairwise(first))
    assert like < 100, "neighbours mostly begin with different letters; in the source 375 of 399 do not"


def test_a_share_is_set_apart_and_is_in_no_training_row(prepare, data):
    _, tokenizer, rows, held_out = prepare(
        {"model": {"config": MODEL}, "data": str(data), "validation": 0.05}
    )
    kept, apart = documents(tokenizer, rows), documents(tokenizer, held_out)
    assert (len(kept), len(apart)) == (380, 20) and not set(kept) & set(apart)


@pytest.mark.parametrize(
    ("model", "tokenizer", "size"),
    [
        ({"config": MODEL}, "byte", 259),
        ({"config": {**MODEL, "vocab_size": 320}}, "byte", 320),
        ({"config": {**MODEL, "vocab_size": 100}}, "byte", 259),
        ({"config": MODEL, "tokenizer": "byte"}, None, 259),
        ("scratch:0.3M", "byte", 259),
        ("scratch:0.3M", {"vocab_size": 270}, 270),
    ],
)
def test_the_model_has_the_tokenizers_true_size_unless_its_config_says_more(
    prepare, data, model, tokenizer, size
):
    made, _, _, _ = prepare({"model": model, "data": str(data), "tokenizer": tokenizer})
    assert made.config.vocab_size == made.get_input_embeddings().weight.shape[0] == size
    if model == "scratch:0.3M":
        assert 0.2e6 < made.num_parameters() < 0.4e6


def test_a_short_test_reads_no_more_rows_than_it_needs(prepare, data):
    config = {"model": {"config": MODEL}, "data": str(data), "rows_needed": 16}
    _, whole, rows, _ = prepare(config)
    _, again, every, _ = prepare({**config, "rows_needed": 10_000})
    assert len(rows) == 16 < len(every) and len(whole) == len(again)


@pytest.mark.slow
def test_validation_is_logged_as_it_trains_and_at_the_end(jobs, data):
    trainer = {"learning_rate": 1e-2, "max_steps": 25, "save_steps": 10}
    config = {"model": {"config": MODEL}, "data": str(data), "validation": 0.1, "trainer": trainer}
    job = jobs.submit(JobSpec(name="v", method="pretrain", config=config, inputs=[data])).id
    [status] = jobs.wait([job], 240)
    assert status.state == "succeeded", status.failure
    rows = jobs.metrics(job, ["eval_loss"])
    assert [r["step"] for r in rows] == [0, 3, 6, 9, 12, 15, 18, 21, 24, 25]
    assert rows[-1]["eval_loss"] < rows[0]["eval_loss"]
