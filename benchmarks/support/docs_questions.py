"""Forty questions as a user would type them, and the symbols that answer each.

They were written, with their answers, before the search was; every fourth one is held out: it was never
looked at while the ranking was tuned.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """A question, the library that its asker has in mind, and the endings of the names that answer it."""

    library: str
    text: str
    wanted: tuple[str, ...]


QUESTIONS = [
    Question(
        "trl", "train on preference pairs with chosen and rejected answers", ("DPOTrainer", "DPOConfig")
    ),
    Question("trl", "pack several short examples into one sequence", ("SFTConfig.packing", "pack_dataset")),
    Question("trl", "compute the loss only on the assistant's messages", ("SFTConfig.assistant_only_loss",)),
    Question("trl", "how many completions are sampled per prompt in GRPO", ("GRPOConfig.num_generations",)),
    Question("trl", "KL coefficient of GRPO", ("GRPOConfig.beta",)),
    Question(
        "trl", "reward function that checks a math answer", ("accuracy_reward", "reasoning_accuracy_reward")
    ),
    Question("trl", "train a reward model", ("RewardTrainer", "RewardConfig")),
    Question("trl", "generate with vLLM during GRPO", ("GRPOConfig.use_vllm", "GRPOConfig.vllm_mode")),
    Question(
        "trl",
        "turn messages into text with the chat template",
        ("apply_chat_template", "maybe_apply_chat_template"),
    ),
    Question("trl", "maximum sequence length for supervised fine-tuning", ("SFTConfig.max_length",)),
    Question(
        "transformers",
        "cosine learning rate schedule with warmup",
        ("get_cosine_schedule_with_warmup", "TrainingArguments.lr_scheduler_type"),
    ),
    Question(
        "transformers", "stop training when the eval loss no longer improves", ("EarlyStoppingCallback",)
    ),
    Question("transformers", "keep only the last checkpoints", ("TrainingArguments.save_total_limit",)),
    Question(
        "transformers",
        "resume training from a checkpoint",
        ("Trainer.train", "TrainingArguments.resume_from_checkpoint"),
    ),
    Question(
        "transformers",
        "accumulate gradients over several batches",
        ("TrainingArguments.gradient_accumulation_steps",),
    ),
    Question(
        "transformers", "load a model in 4 bit", ("BitsAndBytesConfig", "BitsAndBytesConfig.load_in_4bit")
    ),
    Question(
        "transformers",
        "temperature and top-p sampling parameters",
        ("GenerationConfig", "GenerationConfig.top_p", "GenerationConfig.temperature"),
    ),
    Question(
        "transformers",
        "print tokens while the model generates them",
        ("TextStreamer", "TextIteratorStreamer"),
    ),
    Question("transformers", "pad each batch to its longest sequence", ("DataCollatorWithPadding",)),
    Question(
        "transformers",
        "resize the embedding matrix after adding tokens",
        ("PreTrainedModel.resize_token_embeddings", "EmbeddingAccessMixin.resize_token_embeddings"),
    ),
    Question(
        "transformers", "mask tokens for masked language modeling", ("DataCollatorForLanguageModeling",)
    ),
    Question(
        "transformers",
        "set the random seed for reproducibility",
        ("set_seed", "enable_full_determinism", "TrainingArguments.seed"),
    ),
    Question(
        "transformers",
        "how often to evaluate during training",
        ("TrainingArguments.eval_steps", "TrainingArguments.eval_strategy"),
    ),
    Question("datasets", "split a dataset into train and test", ("Dataset.train_test_split",)),
    Question("datasets", "load a CSV file", ("load_dataset", "Dataset.from_csv", "CsvConfig")),
    Question("datasets", "stream a dataset without downloading it", ("load_dataset", "IterableDataset")),
    Question("datasets", "mix datasets with probabilities", ("interleave_datasets",)),
    Question("datasets", "append one dataset to another", ("concatenate_datasets",)),
    Question("datasets", "rename a column", ("Dataset.rename_column", "Dataset.rename_columns")),
    Question("datasets", "apply a function to every row with several processes", ("Dataset.map",)),
    Question("datasets", "keep only rows that satisfy a condition", ("Dataset.filter",)),
    Question("datasets", "write a dataset to parquet", ("Dataset.to_parquet",)),
    Question("datasets", "convert to a pandas dataframe", ("Dataset.to_pandas",)),
    Question("peft", "lora rank and alpha", ("LoraConfig", "LoraConfig.r", "LoraConfig.lora_alpha")),
    Question("peft", "merge the adapter into the base model", ("merge_and_unload", "merge_adapter")),
    Question("peft", "which layers get adapters", ("LoraConfig.target_modules",)),
    Question(
        "peft", "load a trained adapter from disk", ("PeftModel.from_pretrained", "PeftModel.load_adapter")
    ),
    Question(
        "peft",
        "number of trainable parameters",
        ("PeftModel.print_trainable_parameters", "PeftModel.get_nb_trainable_parameters"),
    ),
    Question("peft", "prepare a quantized model for training", ("prepare_model_for_kbit_training",)),
    Question(
        "peft",
        "combine several LoRA adapters into one",
        ("add_weighted_adapter", "LoraModel.add_weighted_adapter"),
    ),
]

HELD_OUT = QUESTIONS[3::4]
TUNED = [question for question in QUESTIONS if question not in HELD_OUT]


def answers(question: Question, names: list[str]) -> bool:
    """Whether one of the names is what the question asks for."""
    return any(name == wanted or name.endswith(f".{wanted}") for name in names for wanted in question.wanted)
