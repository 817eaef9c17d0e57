"""Pretrain a causal language model from scratch:  python pretrain.py config.json

The data is a jsonl file with one document a row. The documents are shuffled by the seed: neighbours of a
sorted file tell of each other what no held-out text will. Each becomes BOS, its tokens, EOS; documents longer
than `max_length` are split, not dropped. Short documents share a row (`packing`), and a batch is padded to
its own longest row only.

config.json:
    model             "scratch:0.3M", a size of about so many parameters; or {"config": {...}} with a
                      `model_type` and fields of any Transformers configuration of a causal language model,
                      dense (llama, qwen3, gpt2) or a mixture of experts (qwen3_moe, deepseek_v3, deepseek_v4)
    tokenizer         "bpe", "byte" or "char"; {"type": "bpe", "vocab_size": 512}; or a folder with one
    data              the jsonl file;  text_column: "text";  packing: true
    max_length        tokens in a row; where it is not set, as many as the model is wide
    experts           of a mixture of experts from scratch: "balanced" fills tables from token to experts and
                      keeps the load even, "filled" does the first alone, "as made" nothing
    validation        0.02 sets this share of the documents apart; their loss is logged as eval_loss
    processes         how many train together on this machine
    rows_needed       a short test reads no more documents than give so many rows
    trainer           any field of Transformers' TrainingArguments, with the library's own defaults
    output_dir, checkpoint_dir, metrics_file        where things go
Resumes from the last whole checkpoint in checkpoint_dir.
"""

from __future__ import annotations

import math
import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _causal import LENGTH, looks_ahead
from _common import (
    base_fields,
    check_finished,
    configured,
    last_whole_checkpoint,
    metrics_callback,
    quick_imports,
    quiet,
    read_rows,
    save_model,
    say,
    start,
    write_result,
    wrong,
)
from _experts import experts_callback, prepare_experts
from _tokenizer import CHOICES, OrderError, make_tokenizer, read_order
from _validation import set_apart, validation_fields

STARTED = time.monotonic()
Rows = list[dict[str, list[int]]]


def scratch_config(size: str, vocabulary: int | None = None) -> dict[str, Any]:
    """A Llama of about `size` parameters ("0.3M", "124M", "1B"): the one dial.

    Width grows with depth, about 48 to a layer; a vocabulary that is not given grows with the square root of
    the size, so that embeddings do not eat a small model. Head and embedding are apart: tied, a small model
    learns less in the same few steps (0.3M, 160 steps: 3.51 against 3.31 bits per byte).
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMB])", size.strip(), re.I)
    if not found:
        raise wrong("bad_config", f"The size {size!r} is not understood: write 0.3M, 10M or 1B.")
    wanted = float(found[1]) * {"K": 1e3, "M": 1e6, "B": 1e9}[found[2].upper()]
    entries = vocabulary or min(32_768, max(512, 1 << round(math.log2(math.sqrt(wanted)))))

    def parameters(width: int) -> int:
        return 2 * entries * width + _layers(width) * (4 * width * width + 3 * width * _inner(width))

    width: int = min(range(32, 8192, 32), key=lambda w: abs(parameters(w) - wanted))
    return {
        "model_type": "llama",
        "vocab_size": entries,
        "hidden_size": width,
        "intermediate_size": _inner(width),
        "num_hidden_layers": _layers(width),
        "num_attention_heads": width // 32,
        "num_key_value_heads": width // 32,
        "tie_word_embeddings": False,
    }


def _layers(width: int) -> int:
    return max(2, round(width / 48))


def _inner(width: int) -> int:
    return round(width * 8 / 3 / 32) * 32


def make_model(fields: dict[str, Any], tokenizer: Any, max_length: int) -> Any:
    """A fresh model of any Transformers configuration, fitted to the tokenizer."""
    from transformers.models.auto.configuration_auto import AutoConfig
    from transformers.models.auto.modeling_auto import AutoModelForCausalLM

    own = {
        "vocab_size": max(fields.get("vocab_size", 0), len(tokenizer)),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "max_position_embeddings": max(max_length, fields.get("max_position_embeddings", 0)),
    }
    kind = fields.get("model_type", "llama")
    rest = {k: v for k, v in fields.items() if k != "model_type"}
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **{**rest, **own}))


def built(fields: dict[str, Any], tokenizer: Any, max_length: int) -> Any:
    """The model, after it has read a few tokens: what Transformers cannot make or run is told in one line."""
    kind = fields.get("model_type", "llama")
    try:
        model = make_model(fields, tokenizer, max_length)
        ahead = looks_ahead(model, length=min(LENGTH, max_length))
    except Exception as error:  # two hundred types of models, each with errors of its own
        said = str(error).strip().splitlines() or [""]
        text = f"{type(error).__name__}: {' '.join(said[-1].split())[:300]}"
        raise wrong("bad_config", f"Transformers cannot make a {kind} of this config: {text}") from error
    if ahead:
        told = f"A {kind} of this config looks at later tokens: it would learn to copy"
        raise wrong("bad_config", f'{told}. Add "is_decoder": true, or take another model_type.')
    return model


def tokenise(texts: list[str], tokenizer: Any, max_length: int, packed: bool) -> Rows:
    """Documents as token ids with BOS and EOS, in rows of at most `max_length`.

    Packed, short documents share a row, each of them whole; only what is longer than a row is split. Batches
    then carry few padding tokens, and each step learns from more text.
    """
    encoded = tokenizer(texts, add_special_tokens=False)["input_ids"]
    begin = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else []
    rows: list[list[int]] = []
    for ids in encoded:
        if not ids:
            continue
        whole = [*begin, *ids, tokenizer.eos_token_id]
        pieces = [whole[i : i + max_length] for i in range(0, len(whole), max_length)]
        if packed and rows and len(rows[-1]) + len(pieces[0]) <= max_length:
            rows[-1] = rows[-1] + pieces.pop(0)
        rows += pieces
    # A row of one token has nothing to predict.
    kept = [{"input_ids": row} for row in rows if len(row) > 1]
    if not kept:
        raise wrong("bad_data", "Every document is empty.")
    return kept


def collate(pad: int) -> Any:
    """Pad a batch to its own longest row; padding is no target."""
    import torch

    def join(rows: list[dict[str, list[int]]]) -> dict[str, Any]:
        width = max(len(row["input_ids"]) for row in rows)
        ids = torch.full((len(rows), width), pad)
        mask = torch.zeros((len(rows), width), dtype=torch.long)
        for place, row in enumerate(rows):
            ids[place, : len(row["input_ids"])] = torch.tensor(row["input_ids"])
            mask[place, : len(row["input_ids"])] = 1
        return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, -100)}

    return join


def prepare(config: dict[str, Any]) -> tuple[Any, Any, Rows, Rows]:
    """Model, tokenizer, rows of tokens to train on and, of documents set apart, to validate on."""
    texts = read_texts(config)
    fields, tokenizer = fields_and_tokenizer(config, texts)
    # A context as wide as the model, unless told: short rows are fast, and a small model sees little further.
    max_length = config.get("max_length") or min(1024, max(64, fields.get("hidden_size", 256)))
    model = built(fields, tokenizer, max_length)
    if done := prepare_experts(model, fields, config.get("seed", 0), config.get("experts") or "balanced"):
        say(f"mixture of experts: {done}")
    elif config.get("experts"):
        raise wrong(
            "bad_config", "experts is for a mixture of experts, and this model is dense: leave it out."
        )
    random.Random(config.get("seed", 0)).shuffle(texts)
    texts, held_out = set_apart(texts, config.get("validation"))

    def cut(documents: list[str]) -> Rows:
        return tokenise(documents, tokenizer, max_length, config.get("packing", True))

    rows = first_rows(texts, cut, config.get("rows_needed"))
    say(f"{len(texts)} documents in {len(rows)} rows, {model.num_parameters()} parameters")
    return model, tokenizer, rows, cut(held_out[: config.get("rows_needed")]) if held_out else []


def fields_and_tokenizer(config: dict[str, Any], texts: list[str]) -> tuple[dict[str, Any], Any]:
    """The model's fields and its tokenizer; a model of a size is laid out for the vocabulary there is."""
    wanted = config["model"]
    size = wanted.removeprefix("scratch:") if isinstance(wanted, str) else ""
    fields = scratch_config(size) if size else wanted["config"]
    order = config.get("tokenizer") or (None if size else wanted.get("tokenizer"))
    try:
        tokenizer = make_tokenizer(read_order(order, fields.get("vocab_size")), texts)
    except OrderError as error:
        raise wrong("bad_config", f"{error} {CHOICES}") from None
    return scratch_config(size, len(tokenizer)) if size else fields, tokenizer


def first_rows(texts: list[str], cut: Callable[[list[str]], Rows], needed: int | None) -> Rows:
    """The rows of all documents, or of as many documents as give the rows that are needed."""
    taken = len(texts) if needed is None else needed
    rows = cut(texts[:taken])
    while needed is not None and len(rows) < needed and taken < len(texts):
        taken *= 4
        rows = cut(texts[:taken])
    return rows if needed is None else rows[:needed]


def read_texts(config: dict[str, Any]) -> list[str]:
    """The documents."""
    column = config.get("text_column", "text")
    rows = read_rows(Path(config["data"]), config.get("max_rows"))
    if any(not isinstance(row.get(column), str) for row in rows):
        raise wrong("bad_data", f"Not every row has text in the column {column!r}.")
    return [row[column] for row in rows]


def main(config: dict[str, Any]) -> None:
    """Train, save, and write down what was done."""
    with quick_imports(
        "datasets", "pandas", "sklearn", "scipy", "peft", "tensorflow", "jax", "torchvision", "PIL"
    ):
        from transformers.models.auto.modeling_auto import AutoModelForCausalLM  # noqa: F401
        from transformers.trainer import Trainer
        from transformers.trainer_utils import set_seed
        from transformers.training_args import TrainingArguments

    arguments = configured(TrainingArguments, {**validation_fields(config), **base_fields(config)})
    set_seed(arguments.seed)
    model, tokenizer, rows, held_out = prepare(config)
    experts = experts_callback(model, config.get("experts") or "balanced")
    metrics = metrics_callback(Path(config["metrics_file"]))
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=rows,
        eval_dataset=held_out or None,
        data_collator=collate(tokenizer.pad_token_id or 0),
        callbacks=[experts, metrics] if experts else [metrics],
    )
    quiet(trainer)
    resume = last_whole_checkpoint(Path(config["checkpoint_dir"]))
    if resume:  # The start was measured when it was one.
        arguments.eval_on_start = False
    say(f"world size {arguments.world_size}, device {arguments.device}, resume from {resume}")
    began = time.monotonic()
    trainer.train(resume_from_checkpoint=resume)
    check_finished(trainer.state)
    spent = round(time.monotonic() - began, 3)
    save_model(trainer.model, tokenizer, Path(config["output_dir"]) / "model")
    more = {"method": "pretrain", "train_seconds": spent, "resumed_from": resume}
    if experts and (loads := experts.loads()):
        more |= {"expert_share": max(map(max, loads.values())), "expert_shares": loads}
    write_result(config, trainer, STARTED, vocab_size=len(tokenizer), **more)


if __name__ == "__main__":
    start(main, "pretrain")
