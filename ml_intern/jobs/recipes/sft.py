"""Fine-tune a causal language model on examples:  python sft.py config.json

The data is a jsonl file of one of TRL's shapes: `text`; `prompt` and `completion`; `messages`, which needs a
chat template. Loss falls on the completion alone where there is one. TRL's defaults hold, but for what a CPU
cannot do.

config.json:
    model             the folder of a model with its tokenizer
    data              the jsonl file
    validation        0.02 sets this share of the examples apart; their loss is logged as eval_loss
    held_out_texts    a jsonl file of rows with a `text`; bits for a byte of them, as eval_bits_per_byte
    peft              fields of peft's LoraConfig; the result is merged into the model
    qlora             true keeps the frozen weights below the adapter in four bits (a GPU and bitsandbytes)
    processes         how many train together on this machine
    trainer           any field of TRL's SFTConfig, such as packing
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
SHAPES = (("messages",), ("prompt", "completion"), ("text",))


def trainer_fields(config: dict[str, Any]) -> dict[str, Any]:
    """TRL's defaults but for one on a CPU: no activation checkpointing, which is slower by a third."""
    on_cpu = {} if on_gpu(config) else {"gradient_checkpointing": False}
    return {**on_cpu, **validation_fields(config), **base_fields(config)}


def main(config: dict[str, Any]) -> None:
    """Train, save, and write down what was done."""
    with quick_imports("pandas_datareader", "sklearn", "tensorflow", "jax", "torchvision"):
        from transformers import AutoModelForCausalLM, set_seed
        from trl import SFTConfig, SFTTrainer

    arguments = configured(SFTConfig, trainer_fields(config))
    set_seed(arguments.seed)
    data, held_out = load_rows(config, arguments.seed, SHAPES)
    say(f"{len(data)} examples, columns {data.column_names}")
    model = load_model(config, AutoModelForCausalLM)
    trainer = made_of(
        SFTTrainer,
        model=model,
        args=arguments,
        train_dataset=data,
        eval_dataset=held_out,
        processing_class=load_tokenizer(config["model"]),
        peft_config=lora(config, model),
    )
    fine_tune(trainer, config, STARTED, method="sft")


if __name__ == "__main__":
    start(main, "sft")
