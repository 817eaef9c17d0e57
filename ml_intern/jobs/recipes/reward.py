"""Train a reward model, which gives an answer a score, from pairs of answers:  python reward.py config.json

The data is a jsonl file of pairs: `chosen` and `rejected`, with a `prompt` or without; a column `margin` says
by how much the chosen answer should win. All of them are texts, or all lists of messages, which need a chat
template. The body of the model is taken over, and its head is a fresh one with a single output; the loss is
that of Bradley and Terry.

config.json:
    model             the folder of a causal language model, or of a reward model, with its tokenizer
    data              the jsonl file
    validation        0.1 sets this share of the pairs apart; of them are logged eval_accuracy (how often the
                      chosen answer has the higher score), eval_margin and eval_loss, from the start on
    peft              fields of peft's LoraConfig; the head is trained whole, the result merged into the model
    qlora             true keeps the frozen weights below the adapter in four bits (a GPU and bitsandbytes)
    processes         how many train together on this machine
    trainer           any field of TRL's RewardConfig: center_rewards_coefficient, learning_rate, ...
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
        from transformers import AutoModelForSequenceClassification, set_seed
        from trl import RewardConfig, RewardTrainer

    arguments = configured(RewardConfig, trainer_fields(config))
    data, held_out = load_rows(config, arguments.seed, SHAPES, more=("margin",))
    say(f"{len(data)} pairs, columns {data.column_names}")
    set_seed(arguments.seed)  # The fresh head is drawn.
    model = load_model(config, AutoModelForSequenceClassification, num_labels=1)
    # Whoever asks it later must write an answer down in the same way; score.py reads this word.
    model.config.reward_input = "messages" if isinstance(data[0]["chosen"], list) else "text"
    trainer = made_of(
        RewardTrainer,
        model=model,
        args=arguments,
        train_dataset=data,
        eval_dataset=held_out,
        processing_class=load_tokenizer(config["model"]),
        peft_config=lora(config, model, "SEQ_CLS"),
    )
    fine_tune(trainer, config, STARTED, method="reward")


if __name__ == "__main__":
    start(main, "reward")
