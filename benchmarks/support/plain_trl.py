"""The scripts that a user would write without us, after the examples of TRL and Transformers.

    python plain_trl.py sft config.json

config.json has `model`, `data`, `output` and `trainer`, which is handed on as it is.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def sft(config: dict[str, Any]) -> Any:
    from datasets import load_dataset
    from trl import SFTConfig, SFTTrainer

    return SFTTrainer(
        model=config["model"],
        args=SFTConfig(output_dir=config["output"], **config["trainer"]),
        train_dataset=load_dataset("json", data_files=config["data"], split="train"),
    )


def dpo(config: dict[str, Any]) -> Any:
    from datasets import load_dataset
    from trl import DPOConfig, DPOTrainer

    return DPOTrainer(
        model=config["model"],
        args=DPOConfig(output_dir=config["output"], **config["trainer"]),
        train_dataset=load_dataset("json", data_files=config["data"], split="train"),
    )


def reward(config: dict[str, Any]) -> Any:
    from datasets import load_dataset
    from trl import RewardConfig, RewardTrainer

    return RewardTrainer(
        model=config["model"],
        args=RewardConfig(output_dir=config["output"], **config["trainer"]),
        train_dataset=load_dataset("json", data_files=config["data"], split="train"),
    )


def grpo(config: dict[str, Any]) -> Any:
    from datasets import load_dataset
    from trl import GRPOConfig, GRPOTrainer

    def exact(completions: list[str], answer: list[str], **_: Any) -> list[float]:
        return [float(said.strip() == a) for said, a in zip(completions, answer, strict=True)]

    return GRPOTrainer(
        model=config["model"],
        reward_funcs=exact,
        args=GRPOConfig(output_dir=config["output"], **config["trainer"]),
        train_dataset=load_dataset("json", data_files=config["data"], split="train"),
    )


def pretrain(config: dict[str, Any]) -> Any:
    """One document a row, padded to the longest of its batch."""
    from datasets import load_dataset
    from transformers import (
        AutoConfig,
        AutoModelForCausalLM,
        AutoTokenizer,
        DataCollatorForLanguageModeling,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    arguments = TrainingArguments(output_dir=config["output"], **config["trainer"])
    set_seed(arguments.seed)
    tokenizer = AutoTokenizer.from_pretrained(config["tokenizer"])
    begin, end = tokenizer.bos_token, tokenizer.eos_token

    def tokenise(rows: dict[str, list[str]]) -> Any:
        whole = [f"{begin or ''}{text}{end}" for text in rows["text"]]
        return tokenizer(whole, add_special_tokens=False, truncation=True, max_length=config["max_length"])

    rows = load_dataset("json", data_files=config["data"], split="train")
    return Trainer(
        model=AutoModelForCausalLM.from_config(AutoConfig.for_model(**config["model"]["config"])),
        args=arguments,
        train_dataset=rows.map(tokenise, batched=True, remove_columns=rows.column_names),
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
    )


def main() -> None:
    method, path = sys.argv[1:]
    config = json.loads(Path(path).read_text())
    trainer = {"sft": sft, "dpo": dpo, "reward": reward, "grpo": grpo, "pretrain": pretrain}[method](config)
    trainer.train()
    trainer.save_model(config["output"] + "/model")


if __name__ == "__main__":
    main()
