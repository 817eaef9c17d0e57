"""What can be known to be wrong before a job starts: fields, values, columns, the model.

A wrong field found here costs a sentence; found by the trainer it costs a queue, the imports and a traceback.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml_intern.errors import ToolError
from ml_intern.jobs.fields import (
    causal_types,
    lora_fields,
    model_fields,
    model_types,
    trainer_class,
    trainer_fields,
)
from ml_intern.jobs.memory import shape_of as model_shape
from ml_intern.jobs.memory import state_mb
from ml_intern.jobs.recipes._tokenizer import CHOICES, OrderError, read_order
from ml_intern.tooling import did_you_mean

METHODS = ("pretrain", "sft", "dpo", "reward", "grpo")
_TUNING = {"peft": "dict", "qlora": "bool", "validation": "float", "processes": "int"}

RECIPE_FIELDS: dict[str, dict[str, str]] = {
    "pretrain": {
        "max_length": "int",
        "packing": "bool",
        "text_column": "str",
        "tokenizer": "Any",
        "validation": "float",
        "processes": "int",
    },
    "sft": _TUNING,
    "dpo": _TUNING,
    "reward": _TUNING,
    "grpo": {**_TUNING, "rewards": "list | dict | str"},
}
"""Fields of the recipes beside those of the trainer."""

ALIASES = {
    "batch_size": "per_device_train_batch_size",
    "epochs": "num_train_epochs",
    "lr": "learning_rate",
    "steps": "max_steps",
    "grad_accum": "gradient_accumulation_steps",
}

SUCCESSORS = {
    "evaluation_strategy": "eval_strategy",
    "no_cuda": "use_cpu",
    "warmup_ratio": "warmup_steps (a number below 1 is a share of the steps)",
    "overwrite_output_dir": "nothing: each job has its own folder",
    "logging_dir": "nothing: metrics go to the job's metrics.jsonl",
    "save_safetensors": "nothing: models are always saved so",
    "group_by_length": 'train_sampling_strategy="group_by_length"',
    "max_seq_length": "max_length",
    "max_prompt_length": "max_length",
    "rpo_alpha": "loss_type and loss_weights",
    "use_liger_loss": 'model_init_kwargs={"use_kernels": True}',
    "use_liger_kernel": 'model_init_kwargs={"use_kernels": True}',
}
"""Fields of earlier versions that are gone or warn in Transformers 5 and TRL 1, and what took their place."""

MANAGED = {
    "output_dir": "the job has its own folder",
    "report_to": "metrics go to metrics.jsonl",
    "resume_from_checkpoint": "a job resumes from its last whole checkpoint",
    "seed": "give the argument seed",
    "data_seed": "give the argument seed",
    "logging_nan_inf_filter": "it hides NaN",
    "disable_tqdm": "the log is a file",
    "do_eval": '{"validation": 0.02} sets training rows apart; measure with evaluate()',
    "eval_strategy": '{"validation": 0.02} sets training rows apart; measure with evaluate()',
    "load_best_model_at_end": "measure with evaluate(); the job sees training data only",
    "push_to_hub": "publish with publish_model()",
    "trust_remote_code": "code that comes with a model is not run",
    "reward_weights": 'each of rewards has its own: {"type": "exact", "weight": 2}',
}
"""Fields that a job sets itself, and why."""

TOKENIZER_FILES = frozenset({"tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model"})
_PAIRS = (("prompt", "chosen", "rejected"), ("chosen", "rejected"))
SHAPES: dict[str, tuple[tuple[str, ...], ...]] = {
    "sft": (("messages",), ("prompt", "completion"), ("text",)),
    "dpo": _PAIRS,
    "reward": _PAIRS,
    "grpo": (("prompt",),),
}
"""The columns that a method takes: one of these shapes, the first that the dataset has."""
_NEEDS = {
    "sft": ("text, prompt and completion, or messages", "prompt_completion"),
    "dpo": ("chosen and rejected, with a prompt or without", "preference"),
    "reward": ("chosen and rejected, with a prompt or without", "preference"),
    "grpo": ("a prompt, and the columns that its rewards read", "prompt_only"),
}
_AT_LEAST_ONE = (
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "max_length",
    "logging_steps",
    "max_completion_length",
    "processes",
)


@dataclass
class Plan:
    """What a recipe reads, after the check.

    Attributes:
        trainer: Fields of the trainer's configuration.
        recipe: Fields of the recipe itself.
        notes: What the caller should know, though nothing is wrong.
    """

    trainer: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def check_config(method: str, config: Mapping[str, Any]) -> Plan:
    """Sort the fields of a configuration to the trainer and to the recipe.

    Raises:
        ToolError: Names every field that is unknown, gone, set by the job, or of a wrong type.
    """
    known, own = trainer_fields(method), RECIPE_FIELDS[method]
    wrong: list[str] = []
    plan = Plan()
    for given, value in config.items():
        name = ALIASES.get(given, given)
        if name != given and name in config:
            wrong.append(f"{given} and {name} are the same field")
            continue
        problem = _field_problem(name, value, known, own)
        if problem:
            wrong.append(problem)
        elif name in own:
            plan.recipe[name] = value
        else:
            plan.trainer[name] = value
    if wrong:
        hint = f"Fields: {trainer_class(method)}, and {', '.join(own)}."
        raise ToolError(f"The config does not fit {method}: {'; '.join(wrong)}.", hint)
    return plan


def check_columns(method: str, columns: Iterable[str], rows: int, text_column: str = "text") -> None:
    """Does the dataset fit the method?

    Raises:
        ToolError: It is empty or lacks columns; says how to get them.
    """
    found = list(columns)
    if rows == 0:
        raise ToolError("The dataset has no rows.", "Look at its source with inspect_dataset.")
    if method == "pretrain" and text_column not in found:
        guess = did_you_mean(text_column, found)
        raise ToolError(
            f"pretrain needs a column {text_column!r}{guess}; the dataset has {', '.join(found)}.",
            'Use reformat_dataset(source, target="language_modeling"), or name the column in text_column.',
        )
    if method in SHAPES and shape_of(method, found) is None:
        needed, target = _NEEDS[method]
        raise ToolError(
            f"{method} needs {needed}; the dataset has {', '.join(found)}.",
            f'Use reformat_dataset(source, target="{target}", mapping={{...}}).',
        )


def shape_of(method: str, columns: Iterable[str]) -> tuple[str, ...] | None:
    """The first of a method's shapes that a dataset has; None where it has none of them."""
    found = set(columns)
    return next((shape for shape in SHAPES[method] if found.issuperset(shape)), None)


def check_scratch(model: str | Mapping[str, Any]) -> float:
    """Does the model of a pretraining exist? About how many parameters it has.

    Raises:
        ToolError: The size is not understood, or the configuration has unknown fields.
    """
    if isinstance(model, str):
        found = re.fullmatch(r"scratch:\s*(\d+(?:\.\d+)?)\s*([KMB])", model.strip(), re.I)
        if not found or float(found[1]) == 0:
            raise ToolError(
                f"pretrain starts from nothing; the model {model!r} is not understood.",
                'Say a size as "scratch:0.3M", or give {"config": {"model_type": "llama", ...}}.',
            )
        return float(found[1]) * {"K": 1e3, "M": 1e6, "B": 1e9}[found[2].upper()]
    extra = set(model) - {"config", "tokenizer"}
    if "config" not in model or extra:
        raise ToolError(
            f"A model from scratch has the keys config and tokenizer, not {', '.join(sorted(model))}.",
            '{"config": {"model_type": "llama", "hidden_size": 96, ...}, "tokenizer": {"vocab_size": 512}}',
        )
    return _check_model_config(model["config"])


def check_tokenizer(model: str | Mapping[str, Any], asked: Any) -> dict[str, Any] | str:
    """What tokenizer a model from scratch gets, said in the model or the config; a path stays as it is.

    Raises:
        ToolError: It is said twice, or the order cannot be met.
    """
    inside = model.get("tokenizer") if isinstance(model, Mapping) else None
    if inside is not None and asked is not None and inside != asked:
        raise ToolError("tokenizer is given twice: in the model and in the config.", "Give it once.")
    fields = model["config"] if isinstance(model, Mapping) else {}
    try:
        return read_order(asked if asked is not None else inside, fields.get("vocab_size"))
    except OrderError as error:
        raise ToolError(str(error), CHOICES) from None


def check_model_folder(folder: Path, columns: Iterable[str], conversational: bool = False) -> list[str]:
    """Can this model be fine-tuned on such columns? Notes of what will be done about what it lacks.

    Args:
        folder: The model's.
        columns: Of the dataset; messages are a conversation.
        conversational: Other columns hold messages, too.

    Raises:
        ToolError: There is no tokenizer, or no chat template for conversations.
    """
    files = {p.name for p in folder.iterdir()}
    if not files & TOKENIZER_FILES:
        raise ToolError(
            "The model has no tokenizer beside it.", "Save the tokenizer into the model's folder."
        )
    described = _json(folder / "tokenizer_config.json")
    chat = conversational or "messages" in set(columns)
    if chat and not (described.get("chat_template") or "chat_template.jinja" in files):
        raise ToolError(
            "The dataset holds conversations, and the model has no chat template.",
            'Reformat to "prompt_completion", or use a model with a chat template.',
        )
    return [] if described.get("pad_token") else ["The model has no pad token; its end token pads."]


def check_memory(parameters: float, memory_mb: float) -> None:
    """Do weights, gradients and Adam's two moments fit? Activations are not counted.

    Raises:
        ToolError: They alone are more than a job may have.
    """
    needed = state_mb(parameters)
    if needed > memory_mb:
        raise ToolError(
            f"{parameters / 1e6:.0f}M parameters need {needed / 1024:.1f} GB to train; "
            f"a job has {memory_mb / 1024:.1f} GB.",
            "Use a smaller model, an adapter on one that is there, or raise the setting job_memory_mb.",
        )


def _field_problem(name: str, value: Any, known: Mapping[str, str], own: Mapping[str, str]) -> str:
    if name in MANAGED or name.startswith("hub_"):
        return f"{name} is set by the job ({MANAGED.get(name, 'publish with publish_model()')})"
    if name in SUCCESSORS and (name not in known or name == "use_liger_kernel"):
        return f"{name} is gone in this version; now: {SUCCESSORS[name]}"
    if name not in known and name not in own:
        return f"unknown field {name!r}{did_you_mean(name, [*known, *own, *SUCCESSORS, *ALIASES])}"
    annotation = own.get(name) or known[name]
    if not _fits(value, annotation):
        return f"{name} = {value!r} must be {annotation}"
    if name in _AT_LEAST_ONE and isinstance(value, int | float) and value <= 0:
        return f"{name} = {value!r} must be above zero"
    if name == "validation" and not 0 < value <= 0.5:
        return f"validation = {value!r} must be a share of the rows, above 0 and at most 0.5"
    if name == "peft":
        return _peft_problem(value)
    if name == "model_init_kwargs" and "trust_remote_code" in (value or {}):
        return f"trust_remote_code is set by the job ({MANAGED['trust_remote_code']})"
    return ""


def _peft_problem(given: Mapping[str, Any]) -> str:
    """What is wrong with an adapter's fields; nothing at all in it would train the whole model."""
    known = {n: a for n, a in lora_fields().items() if n != "task_type"}
    wrong = [f"peft has no field {n!r}{did_you_mean(n, known)}" for n in given if n not in known]
    wrong += [
        f"peft.{n} = {v!r} must be {known[n]}"
        for n, v in given.items()
        if n in known and not _fits(v, known[n])
    ]
    rank = given.get("r", 1)
    if not wrong and (not given or rank < 1):
        return f'peft = {dict(given)!r} is no adapter: {{"r": 16}}'
    return "; ".join(wrong)


def _fits(value: Any, annotation: str) -> bool:
    """A loose check: only plain types are judged, so that no valid value is refused."""
    parts = {part.strip() for part in annotation.split("|")}
    if value is None:
        return "None" in parts or "Any" in annotation
    plain = {"int": int, "float": (int, float), "bool": bool, "str": str, "dict": Mapping, "list": list}
    if not parts - {"None"} <= set(plain):
        return True
    if isinstance(value, bool):
        return "bool" in parts
    return any(isinstance(value, plain[part]) for part in parts - {"None", "bool"})  # type: ignore[arg-type]


def _check_model_config(config: Any) -> float:
    if not isinstance(config, Mapping):
        raise ToolError(
            f"The model's config must be a dict of Transformers' fields, not {config!r}.",
            'With a size, write model="scratch:0.3M" and config={"tokenizer": "byte"}.',
        )
    kind = str(config.get("model_type", "llama"))
    if kind not in causal_types():
        known = causal_types() if kind not in model_types() else {}
        why = (
            f"{kind!r} has no causal language model"
            if kind in model_types()
            else f"unknown model_type {kind!r}"
        )
        raise ToolError(f"The model cannot be made: {why}{did_you_mean(kind, known)}.")
    fields = model_fields(kind)
    wrong = [
        f"unknown field {n!r}{did_you_mean(n, fields)}"
        for n in config
        if n != "model_type" and n not in fields
    ]
    if fields and wrong:
        raise ToolError(f"The config of {kind} does not fit: {'; '.join(wrong)}.")
    heads, width = config.get("num_attention_heads"), config.get("hidden_size")
    if isinstance(heads, int) and isinstance(width, int) and "head_dim" not in config and width % heads:
        raise ToolError(f"hidden_size {width} is not a multiple of num_attention_heads {heads}.")
    groups = config.get("num_key_value_heads")
    if isinstance(heads, int) and isinstance(groups, int) and (groups < 1 or heads % groups):
        raise ToolError(f"num_attention_heads {heads} is not a multiple of num_key_value_heads {groups}.")
    shape = model_shape({"config": config})
    return shape.parameters if shape else 0.0


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
