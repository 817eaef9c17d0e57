"""Fine-tune a causal language model on examples with TRL:  python sft.py config.json

The data is a jsonl file whose rows have one of TRL's shapes: `text`; `prompt` and `completion`, as texts or
as messages; `messages`. TRL's own defaults hold, but for what a CPU cannot do.

config.json:
    model             the folder of a model with its tokenizer
    data              the jsonl file
    validation        0.02 sets this share of the examples apart; their loss is logged as eval_loss
    peft              fields of peft's LoraConfig; the result is merged into the model
    trainer           any field of TRL's SFTConfig
    output_dir, checkpoint_dir, metrics_file        where things go
Resumes from the last whole checkpoint in checkpoint_dir.
"""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path
from typing import Any

from _common import (
    base_fields,
    check_finished,
    last_whole_checkpoint,
    metrics_callback,
    quick_imports,
    quiet,
    read_rows,
    save_model,
    say,
    sha256_of,
    write_result,
    wrong,
)
from _validation import set_apart, validation_fields

STARTED = time.monotonic()
SHAPES = (("messages",), ("prompt", "completion"), ("text",))


def trainer_fields(config: dict[str, Any]) -> dict[str, Any]:
    """TRL's defaults but for two on a CPU: no bf16, no activation checkpointing (slower by a third)."""
    import torch

    on_cpu = {} if torch.cuda.is_available() else {"bf16": False, "gradient_checkpointing": False}
    return {**on_cpu, **validation_fields(config), **base_fields(config)}


def load_data(path: Path, limit: int | None, share: float | None, seed: int) -> tuple[Any, Any]:
    """The rows to train on and those set apart, with the columns of their shape only."""
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    rows = read_rows(path, limit)
    shape = next((s for s in SHAPES if all(name in rows[0] for name in s)), None)
    if shape is None:
        raise wrong(
            "bad_data",
            f"The columns {sorted(rows[0])} are none of TRL's: text, prompt and completion, messages.",
        )
    rows = [{name: row[name] for name in shape} for row in rows]
    if not share:
        return Dataset.from_list(rows), None
    random.Random(seed).shuffle(rows)
    kept, held_out = set_apart(rows, share)
    return Dataset.from_list(kept), Dataset.from_list(held_out)


def load_tokenizer(folder: str) -> Any:
    """The model's tokenizer; one without a pad token pads with its end of text, and says so."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
        say(f"The tokenizer has no pad token: {tokenizer.eos_token!r} pads.")
    return tokenizer


def lora(config: dict[str, Any]) -> Any:
    """The adapter's configuration, or None for the whole model."""
    if not config.get("peft"):
        return None
    from peft import LoraConfig

    return LoraConfig(task_type="CAUSAL_LM", **config["peft"])


def main(config: dict[str, Any]) -> None:
    """Train, save, and write down what was done."""
    with quick_imports("pandas_datareader", "sklearn", "tensorflow", "jax", "torchvision"):
        from transformers import AutoModelForCausalLM, set_seed
        from trl import SFTConfig, SFTTrainer

    arguments = SFTConfig(**trainer_fields(config))
    set_seed(arguments.seed)
    path, share = Path(config["data"]), config.get("validation")
    data, held_out = load_data(path, config.get("max_rows"), share, arguments.seed)
    model = AutoModelForCausalLM.from_pretrained(config["model"])
    say(f"{len(data)} examples, {model.num_parameters()} parameters, columns {data.column_names}")
    trainer = SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=data,
        eval_dataset=held_out,
        processing_class=load_tokenizer(config["model"]),
        peft_config=lora(config),
        callbacks=[metrics_callback(Path(config["metrics_file"]))],
    )
    quiet(trainer)
    resume = last_whole_checkpoint(Path(config["checkpoint_dir"]))
    say(f"world size {arguments.world_size}, device {arguments.device}, resume from {resume}")
    began = time.monotonic()
    trainer.train(resume_from_checkpoint=resume)
    check_finished(trainer.state)
    spent = round(time.monotonic() - began, 3)
    trained = trainer.model.merge_and_unload() if config.get("peft") else trainer.model
    save_model(trained, trainer.processing_class, Path(config["output_dir"]) / "model")
    base = sha256_of(*sorted(Path(config["model"]).glob("*.safetensors")))
    more = {"method": "sft", "base_model_sha256": base, "train_seconds": spent, "resumed_from": resume}
    write_result(config, trainer, STARTED, vocab_size=len(trainer.processing_class), **more)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
