"""What recipes that start from a model share: the model, adapters, rows set apart, the run itself.

It stands beside the recipes and needs nothing of ML Intern.
"""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

from _common import (
    check_finished,
    last_whole_checkpoint,
    metrics_callback,
    on_gpu,
    quiet,
    read_rows,
    save_model,
    say,
    sha256_of,
    told,
    write_result,
    wrong,
)
from _validation import set_apart, texts_callback

_REFUSALS = (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError)
LOST = "Within max_length nothing is left to learn from"


def load_rows(
    config: dict[str, Any], seed: int, shapes: tuple[tuple[str, ...], ...], more: tuple[str, ...] = ()
) -> tuple[Any, Any]:
    """The rows to train on and those set apart, with the columns of their shape only.

    Args:
        config: `data`, and where it is set `max_rows` and `validation`.
        seed: Orders the rows before some are set apart.
        shapes: Columns that belong together; the first of them that the data has counts.
        more: Columns that are kept where the data has them.
    """
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    rows = read_rows(Path(config["data"]), config.get("max_rows"))
    shape = next((s for s in shapes if all(name in rows[0] for name in s)), None)
    if shape is None:
        wanted = "; ".join(" and ".join(s) for s in shapes)
        raise wrong("bad_data", f"The columns are {', '.join(sorted(rows[0]))}; needed: {wanted}.")
    kept = [*shape, *(name for name in more if name in rows[0] and name not in shape)]
    for number, row in enumerate(rows, 1):
        if missing := [name for name in shape if row.get(name) is None]:
            raise wrong("bad_data", f"Row {number} has no {' and no '.join(missing)}.")
    rows = [{name: row.get(name) for name in kept} for row in rows]
    if not config.get("validation"):
        return Dataset.from_list(rows), None
    random.Random(seed).shuffle(rows)
    train, apart = set_apart(rows, config["validation"])
    return Dataset.from_list(train), Dataset.from_list(apart)


def load_tokenizer(folder: str) -> Any:
    """The model's tokenizer; one without a pad token pads with its end of text, and says so."""
    from transformers import AutoTokenizer

    with told("bad_config", f"The tokenizer in {folder} cannot be read", *_REFUSALS):
        tokenizer = AutoTokenizer.from_pretrained(folder)
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise wrong("bad_config", "The tokenizer has neither a pad token nor an end token.")
        tokenizer.pad_token = tokenizer.eos_token
        say(f"The tokenizer has no pad token: {tokenizer.eos_token!r} pads.")
    return tokenizer


def load_model(config: dict[str, Any], kind: Any, **more: Any) -> Any:
    """The model to train, of one of Transformers' Auto classes.

    Weights that are trained stay in float32, and bf16 is for computing: an update of a part in a thousand is
    lost in bf16's eight bits. Below an adapter they are frozen and keep the type they were saved in.
    """
    import torch

    if config.get("qlora"):
        more["quantization_config"] = four_bits()
    more["dtype"] = "auto" if config.get("peft") and on_gpu(config) else torch.float32
    more |= config.get("trainer", {}).get("model_init_kwargs") or {}
    with told("bad_config", f"The model in {config['model']} cannot be read", *_REFUSALS):
        model = kind.from_pretrained(config["model"], **more)
    text = model.config.get_text_config()
    if hasattr(text, "n_routed_experts") and not hasattr(text, "num_experts"):
        text.num_experts = text.n_routed_experts  # TRL's trainers ask for it by this name.
    say(f"{model.num_parameters()} parameters, {model.dtype}")
    return model


def made_of(kind: Any, **parts: Any) -> Any:
    """A trainer, which looks at the data as it is made; a refusal and an empty rest are told in one line."""
    given = len(parts["train_dataset"])
    with told("bad_config", kind.__name__, ValueError, NotImplementedError):
        trainer = kind(**parts)
    left = len(trainer.train_dataset)
    if left == 0:
        raise wrong("bad_data", f"{LOST} in all of {given} rows: raise max_length, or shorten the prompts.")
    if left < given and not getattr(trainer.args, "packing", False):
        say(f"{LOST} in {given - left} of {given} rows: they are left out.")
    return trainer


def four_bits() -> Any:
    """QLoRA's numbers: normal floats of four bits, their scales quantised again, computed with in bf16."""
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def lora(config: dict[str, Any], model: Any, task: str = "CAUSAL_LM") -> Any:
    """The adapter's configuration, or None for the whole model.

    For a model that peft does not know by name, every linear layer but the head gets an adapter; not those of
    a class of its own, such as DeepSeek-V4's in groups, which compute something else.
    """
    if not config.get("peft"):
        return None
    from peft import LoraConfig
    from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as KNOWN

    usual = {} if model.config.model_type in KNOWN else {"target_modules": _linear(model)}
    return LoraConfig(**{**usual, **config["peft"], "task_type": task})


def _linear(model: Any) -> list[str]:
    heads = (model.get_output_embeddings(), getattr(model, "score", None))
    plain = [(n, m) for n, m in model.named_modules() if type(m).__name__ in ("Linear", "Linear4bit")]
    return [name for name, module in plain if not any(module is head for head in heads)]


def fine_tune(trainer: Any, config: dict[str, Any], started: float, **more: Any) -> None:
    """Train, save the model with its adapter merged, and write down what was done."""
    trainer.add_callback(metrics_callback(Path(config["metrics_file"])))
    if config.get("held_out_texts"):
        trainer.add_callback(texts_callback(config, trainer.processing_class))
    quiet(trainer)
    arguments = trainer.args
    resume = last_whole_checkpoint(Path(config["checkpoint_dir"]))
    if resume:  # The start was measured when it was one.
        arguments.eval_on_start = False
    say(f"world size {arguments.world_size}, device {arguments.device}, resume from {resume}")
    began = time.monotonic()
    trainer.train(resume_from_checkpoint=resume)
    check_finished(trainer.state)
    spent = round(time.monotonic() - began, 3)
    save_model(_merged(trainer, config), trainer.processing_class, Path(config["output_dir"]) / "model")
    base = sha256_of(*sorted(Path(config["model"]).glob("*.safetensors")))
    told = {"base_model_sha256": base, "train_seconds": spent, "resumed_from": resume, **more}
    write_result(config, trainer, started, vocab_size=len(trainer.processing_class), **told)


def _merged(trainer: Any, config: dict[str, Any]) -> Any:
    """The whole model. One in four bits is read again in full: merged into them, an adapter is rounded."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    if not config.get("peft"):
        return model
    if not config.get("qlora"):
        return model.merge_and_unload()
    from peft import PeftModel

    adapter = Path(config["checkpoint_dir"]) / "adapter"
    model.save_pretrained(adapter)
    whole = type(model.get_base_model()).from_pretrained(config["model"], dtype="auto")
    return PeftModel.from_pretrained(whole, adapter).merge_and_unload()
