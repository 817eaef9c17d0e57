from __future__ import annotations

import pytest

from ml_intern.errors import ToolError
from ml_intern.jobs import preflight
from ml_intern.jobs.fields import causal_types, trainer_fields


def refusal(call, *arguments) -> str:
    with pytest.raises(ToolError) as caught:
        call(*arguments)
    return str(caught.value)


def test_the_fields_read_from_source_are_those_of_the_imported_class():
    from dataclasses import fields

    from transformers.training_args import TrainingArguments

    assert {f.name for f in fields(TrainingArguments)} - set(trainer_fields("pretrain")) <= {"_n_gpu"}


def test_the_causal_models_include_the_well_known():
    assert {"llama", "gpt2", "qwen3"} <= set(causal_types())


def test_short_names_and_recipe_fields_are_sorted():
    plan = preflight.check_config("pretrain", {"batch_size": 8, "learning_rate": 3e-3, "max_length": 96})
    assert plan.trainer == {"per_device_train_batch_size": 8, "learning_rate": 3e-3}
    assert plan.recipe == {"max_length": 96}
    assert preflight.check_config("sft", {"max_length": 96, "peft": {"r": 8}}).trainer == {"max_length": 96}


@pytest.mark.parametrize(
    ("method", "config", "words"),
    [
        ("pretrain", {"learning_rat": 1e-3}, "did you mean 'learning_rate'"),
        ("sft", {"packing_stategy": "bfd"}, "did you mean 'packing_strategy'"),
        ("sft", {"max_seq_length": 128}, "now: max_length"),
        ("pretrain", {"evaluation_strategy": "steps"}, "now: eval_strategy"),
        ("pretrain", {"no_cuda": True}, "now: use_cpu"),
        ("sft", {"warmup_ratio": 0.1}, "warmup_steps"),
        ("pretrain", {"group_by_length": True}, "train_sampling_strategy"),
        ("pretrain", {"output_dir": "/tmp/x"}, "set by the job"),
        ("pretrain", {"push_to_hub": True}, "publish_model"),
        ("sft", {"hub_token": "x"}, "publish_model"),
        ("pretrain", {"max_steps": "many"}, "must be int"),
        ("pretrain", {"learning_rate": True}, "must be float"),
        ("pretrain", {"batch_size": 0}, "above zero"),
        ("pretrain", {"batch_size": 8, "per_device_train_batch_size": 4}, "the same field"),
        ("pretrain", {"peft": {"r": 8}}, "unknown field 'peft'"),
        ("pretrain", {"validation": 1.5}, "share of the rows"),
        ("pretrain", {"eval_strategy": "steps"}, '{"validation": 0.02}'),
    ],
)
def test_a_wrong_field_is_refused_with_what_is_right(method, config, words):
    assert words in refusal(preflight.check_config, method, config)


def test_all_wrong_fields_are_told_at_once():
    told = refusal(preflight.check_config, "pretrain", {"learning_rat": 1, "no_cuda": True})
    assert "learning_rate" in told and "use_cpu" in told


@pytest.mark.parametrize(
    ("method", "columns", "rows", "words"),
    [
        ("pretrain", ["text"], 0, "no rows"),
        ("pretrain", ["txt", "label"], 5, "did you mean 'txt'"),
        ("sft", ["question", "answer"], 5, "reformat_dataset"),
    ],
)
def test_a_dataset_that_does_not_fit_is_refused(method, columns, rows, words):
    assert words in refusal(preflight.check_columns, method, columns, rows)


@pytest.mark.parametrize("columns", [["text"], ["prompt", "completion", "id"], ["messages"]])
def test_the_shapes_of_trl_fit_sft(columns):
    preflight.check_columns("sft", columns, 1)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("gpt2", "scratch:0.3M"),
        ("scratch:0M", "not understood"),
        ("scratch:big", "not understood"),
        ({"confg": {}}, "config and tokenizer"),
        ({"config": {"model_type": "lama"}}, "did you mean 'llama'"),
        ({"config": {"model_type": "vit"}}, "no causal language model"),
        ({"config": {"model_type": "llama", "hiden_size": 96}}, "did you mean 'hidden_size'"),
        ({"config": {"hidden_size": 100, "num_attention_heads": 3}}, "not a multiple"),
        ({"config": {"num_attention_heads": 2, "num_key_value_heads": 3}}, "num_key_value_heads 3"),
        ({"config": "scratch:0.3M", "tokenizer": "byte"}, 'model="scratch:0.3M"'),
    ],
)
def test_a_model_that_cannot_be_made_is_refused(model, words):
    assert words in refusal(preflight.check_scratch, model)


def test_sizes_are_read():
    assert preflight.check_scratch("scratch:0.3M") == 300_000
    assert preflight.check_scratch("scratch: 2B") == 2e9


def test_a_model_too_large_for_a_job_is_refused_with_the_figures():
    assert "29.8 GB" in refusal(preflight.check_memory, 2e9, 8192)


def test_a_model_folder_needs_a_tokenizer_and_a_template_for_conversations(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert "no tokenizer" in refusal(preflight.check_model_folder, tmp_path, ["text"])
    (tmp_path / "tokenizer.json").write_text("{}")
    assert preflight.check_model_folder(tmp_path, ["text"]) == [
        "The model has no pad token; its end token pads."
    ]
    assert "chat template" in refusal(preflight.check_model_folder, tmp_path, ["messages"])
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    preflight.check_model_folder(tmp_path, ["messages"])
