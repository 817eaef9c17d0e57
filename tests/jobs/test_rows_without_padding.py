"""Rows without padding: a document is trained on as if it were alone, or the recipe says that it cannot be."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ml_intern.jobs.launch import RECIPES
from ml_intern.jobs.local import Jobs
from ml_intern.jobs.model import JobSpec
from ml_intern.jobs.recipes._tokenizer import make_tokenizer
from ml_intern.settings import Settings

SMALL = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 259,
}  # fmt: skip
LLAMA = {"model_type": "llama", **SMALL, "num_key_value_heads": 1}
FLAT = {"trainer": {"padding_free": True, "use_cpu": True}}


@pytest.fixture(scope="module")
def documents():
    sys.path.insert(0, str(RECIPES))
    try:
        import _documents
    finally:
        sys.path.remove(str(RECIPES))
    return _documents


def made(**fields: Any) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(**fields))


def flat(rows: Any, lengths: list[int]) -> dict[str, Any]:
    """What TRL's collator hands to the model."""
    import torch

    ends = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
    positions = torch.cat([torch.arange(n) for n in lengths])[None]
    return {
        "input_ids": rows, "position_ids": positions, "cu_seq_lens_q": ends, "cu_seq_lens_k": ends,
        "max_length_q": max(lengths), "max_length_k": max(lengths),
    }  # fmt: skip


def test_documents_that_share_a_row_give_the_loss_and_the_gradients_that_they_give_alone(
    documents: ModuleType,
):
    import torch

    model = made(**LLAMA)
    lengths = [5, 1, 40, 17]
    rows = torch.randint(259, (1, sum(lengths)))

    def gradients(outputs: list[Any]) -> list[Any]:
        model.zero_grad()
        sum(logits.float().logsumexp(-1).sum() for logits in outputs).backward()
        return [p.grad.clone() for p in model.parameters()]

    alone = gradients([model(input_ids=part).logits for part in rows.split(lengths, dim=1)])
    documents.keep_apart(model, FLAT)
    assert model.config._attn_implementation == documents.ONE_BY_ONE
    shared = gradients([model(**flat(rows, lengths)).logits])
    for mine, theirs in zip(shared, alone, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_a_batch_with_padding_still_gets_its_mask(documents: ModuleType):
    """Held-out examples of a packed training, and completions, come padded."""
    import torch

    model = made(**LLAMA).eval()
    rows = torch.randint(259, (2, 12))
    mask = torch.ones_like(rows)
    mask[1, :4] = 0
    before = model(input_ids=rows, attention_mask=mask).logits
    documents.keep_apart(model, FLAT)
    torch.testing.assert_close(model(input_ids=rows, attention_mask=mask).logits, before)
    torch.testing.assert_close(model(input_ids=rows[:1]).logits, before[:1])


def test_a_model_with_a_window_keeps_its_mask(documents: ModuleType):
    model = made(**{**LLAMA, "model_type": "mistral"}, sliding_window=64)
    documents.keep_apart(model, FLAT)
    assert model.config._attn_implementation == "sdpa" and documents.is_apart(model)


MIXING = {
    "mamba": {"model_type": "mamba", "hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 259},
    "deepseek_v4": {
        **SMALL, "model_type": "deepseek_v4", "moe_intermediate_size": 16, "num_experts_per_tok": 2,
        "n_routed_experts": 4, "q_lora_rank": 16, "head_dim": 16, "o_groups": 2, "o_lora_rank": 8,
        "index_n_heads": 2, "index_head_dim": 8, "index_topk": 8, "num_hash_layers": 1,
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", MIXING)
def test_a_model_that_mixes_documents_is_refused_in_one_line(documents: ModuleType, kind):
    fields = {k: v for k, v in MIXING[kind].items() if k != "intermediate_size"}
    with pytest.raises(
        SystemExit, match="bad_config: In rows without padding documents would see each other"
    ):
        documents.keep_apart(made(**fields), FLAT)


@pytest.mark.parametrize(
    ("trainer", "expected"),
    [
        ({}, False),
        ({"packing": True}, True),
        ({"packing": True, "packing_strategy": "bfd_split"}, True),
        ({"packing": True, "packing_strategy": "wrapped"}, False),
        ({"padding_free": True}, True),
    ],
    ids=["plain", "packed", "split", "wrapped", "padding-free"],
)
def test_which_fields_make_such_rows(documents: ModuleType, trainer, expected):
    assert documents.is_flat(trainer) is expected
    assert documents.counted(trainer) == ({"include_num_input_tokens_seen": "all"} if expected else {})


@pytest.mark.slow
@pytest.mark.thorough
def test_a_training_without_padding_ends_with_the_same_model_as_one_with_it(tmp_path: Path):
    draw = random.Random(0)
    rows = [{"prompt": f"{draw.random()} ", "completion": "ab" * draw.randrange(1, 40)} for _ in range(48)]
    data = tmp_path / "rows"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    jobs = Jobs(
        tmp_path / "state" / "jobs", None, Settings(state=tmp_path / "state", job_slots=2), lambda _: None
    )

    model = str(tmp_path / "base")
    for part in (made(**LLAMA), make_tokenizer({"type": "byte"}, [])):
        part.save_pretrained(model)

    def launched(**trainer: Any) -> str:
        fields = {"max_steps": 6, "logging_steps": 1, "learning_rate": 1e-3, "use_cpu": True, **trainer}
        config = {"model": model, "data": str(data), "trainer": fields}
        return jobs.submit(JobSpec(name="sft", method="sft", config=config)).id

    both = [launched(), launched(padding_free=True, max_length=None)]
    for status in jobs.wait(both, 240):
        assert status.state == "succeeded", status.failure
    padded, free = (json.loads((jobs.model_path(job).parent / "result.json").read_text()) for job in both)
    assert free["final_loss"] == pytest.approx(padded["final_loss"], rel=1e-5)
    assert free["tokens_seen"] == padded["tokens_seen"]
    described = (jobs.model_path(both[1]) / "config.json").read_text()
    assert "document_by_document" not in described, "the model is read elsewhere, where nobody knows the word"
