"""Teach a causal language model to prefer, from pairs of answers:  python dpo.py config.json

The data is a jsonl file of pairs: `prompt`, `chosen`, `rejected`, or `chosen` and `rejected` alone, whose
common beginning is the prompt. All of them are texts, or all lists of messages, which need a chat template.
Direct preference optimisation raises the chosen answer above the rejected one, measured against the model as
it was at the start; `beta` in `trainer` says how dear it is to leave that model.

config.json:
    model             the folder of a model with its tokenizer
    data              the jsonl file
    validation        0.1 sets this share of the pairs apart; of them are logged eval_rewards/accuracies (how
                      often the chosen answer gained more than the rejected one), eval_rewards/margins,
                      eval_logps/chosen and eval_logps/rejected (nats) and eval_loss, from the start on
    held_out_texts    a jsonl file of rows with a `text`; bits for a byte of them, as eval_bits_per_byte
    peft              fields of peft's LoraConfig; the result is merged into the model
    qlora             true keeps the frozen weights below the adapter in four bits (a GPU and bitsandbytes)
    processes         how many train together on this machine
    trainer           any field of TRL's DPOConfig: beta, loss_type, learning_rate, max_length, ...
    output_dir, checkpoint_dir, metrics_file        where things go
Resumes from the last whole checkpoint in checkpoint_dir.
"""

from __future__ import annotations

import time
from typing import Any

from _common import base_fields, configured, on_gpu, quick_imports, say, start
from _finetuning import fine_tune, load_model, load_rows, load_tokenizer, lora, made_of
from _validation import validation_fields

STARTED = time.monotonic()
SHAPES = (("prompt", "chosen", "rejected"), ("chosen", "rejected"))


def trainer_fields(config: dict[str, Any]) -> dict[str, Any]:
    """TRL's defaults but for one on a CPU: no activation checkpointing, which is slower by a third."""
    on_cpu = {} if on_gpu(config) else {"gradient_checkpointing": False}
    return {**on_cpu, **validation_fields(config), **base_fields(config)}


def main(config: dict[str, Any]) -> None:
    """Train, save, and write down what was done."""
    with quick_imports("pandas_datareader", "sklearn", "tensorflow", "jax", "torchvision"):
        from transformers import AutoModelForCausalLM
        from trl import DPOConfig, DPOTrainer

    arguments = configured(DPOConfig, trainer_fields(config))
    data, held_out = load_rows(config, arguments.seed, SHAPES)
    say(f"{len(data)} pairs, columns {data.column_names}")
    model = load_model(config, AutoModelForCausalLM)
    trainer = made_of(
        DPOTrainer,
        model=model,  # The reference is read from the same folder, or is the model below its adapter.
        args=arguments,
        train_dataset=data,
        eval_dataset=held_out,
        processing_class=load_tokenizer(config["model"]),
        peft_config=lora(config, model),
    )
    fine_tune(trainer, config, STARTED, method="dpo")


if __name__ == "__main__":
    start(main, "dpo")
