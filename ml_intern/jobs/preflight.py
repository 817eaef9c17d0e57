"""What can be known to be wrong before a job starts: fields, values, columns, the model.

A wrong field found here costs a sentence; found by the trainer it costs a queue, the imports and a traceback.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml_intern.errors import ToolError
from ml_intern.jobs import fields as sources
from ml_intern.jobs.findings import Unfit
from ml_intern.jobs.memory import shape_of as model_shape
from ml_intern.jobs.memory import state_mb
from ml_intern.jobs.recipes._config import (
    ALIASES,
    MANAGED,
    METHODS,
    RECIPE_FIELDS,
    SHAPES,
    SUCCESSORS,
    Known,
    sort_fields,
)
from ml_intern.jobs.recipes._scratch import scratch_problems, size_of
from ml_intern.jobs.recipes._tokenizer import CHOICES, OrderError, read_order
from ml_intern.tooling import did_you_mean

__all__ = ["ALIASES", "MANAGED", "METHODS", "RECIPE_FIELDS", "SHAPES", "SUCCESSORS", "Plan"]

TOKENIZER_FILES = frozenset({"tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model"})
_NEEDS = {
    "sft": ("text, prompt and completion, or messages", "prompt_completion"),
    "dpo": ("chosen and rejected, with a prompt or without", "preference"),
    "reward": ("chosen and rejected, with a prompt or without", "preference"),
    "grpo": ("a prompt, and the columns that its rewards read", "prompt_only"),
}


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


def read_config(method: str, config: Mapping[str, Any]) -> tuple[Plan, list[str]]:
    """Sort the fields of a configuration to the trainer and to the recipe; a line for each that is wrong."""
    found = sort_fields(config, known_of(method))
    return Plan(found.trainer, found.recipe), found.wrong


def check_config(method: str, config: Mapping[str, Any]) -> Plan:
    """The same, where nothing may be wrong. Fields are judged each by itself, so a part of a config will do.

    Raises:
        ToolError: Names every field that is unknown, gone, set by the job, or of a wrong value.
    """
    plan, wrong = read_config(method, config)
    refuse(method, wrong)
    return plan


def refuse(method: str, wrong: list[str]) -> None:
    """Raise what is wrong with a config, if anything is."""
    if wrong:
        hint = f"Fields: {sources.trainer_class(method)}, and {', '.join(RECIPE_FIELDS[method])}."
        raise Unfit(f"The config does not fit {method}", wrong, hint)


def known_of(method: str) -> Known:
    """What the installed libraries know of a method's fields."""
    return Known(
        method=method,
        owner=sources.trainer_class(method),
        trainer=sources.trainer_fields(method),
        choices=sources.choices_of(method),
        lora=sources.lora_fields(),
        lora_choices=sources.lora_choices(),
        elsewhere=lambda name: sources.other_trainers(name, method),
        managed=MANAGED,
    )


def check_columns(
    method: str, columns: Iterable[str], rows: int, text_column: str = "text", mending: str = ""
) -> None:
    """Does the dataset fit the method?

    Args:
        method: The recipe.
        columns: Of the dataset.
        rows: How many it has.
        text_column: Of a pretraining.
        mending: What brings this dataset into the shape, where it is known.

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
            mending
            or 'Use reformat_dataset(source, target="language_modeling"), or name the column in text_column.',
        )
    if method in SHAPES and shape_of(method, found) is None:
        needed, target = _NEEDS[method]
        raise ToolError(
            f"{method} needs {needed}; the dataset has {', '.join(found)}.",
            mending or f'Use reformat_dataset(source, target="{target}", mapping={{...}}).',
        )


def shape_of(method: str, columns: Iterable[str]) -> tuple[str, ...] | None:
    """The first of a method's shapes that a dataset has; None where it has none of them."""
    found = set(columns)
    return next((shape for shape in SHAPES[method] if found.issuperset(shape)), None)


def check_scratch(model: str | Mapping[str, Any]) -> float:
    """Does the model of a pretraining exist? About how many parameters it has; 0 where only it itself tells.

    Raises:
        ToolError: The size is not understood, or the configuration has unknown or impossible fields.
    """
    wrong = scratch_problems(model, sources.causal_types(), sources.model_types(), sources.model_fields)
    if wrong:
        raise Unfit("The model does not fit pretrain", wrong)
    if isinstance(model, str):
        return size_of(model)
    shape = model_shape(model)
    return shape.parameters if shape else 0.0


def check_tokenizer(model: str | Mapping[str, Any], asked: Any) -> dict[str, Any] | str:
    """What tokenizer a model from scratch gets, said in the model or the config; a path stays as it is.

    Raises:
        ToolError: It is said twice, or the order cannot be met.
    """
    inside = model.get("tokenizer") if isinstance(model, Mapping) else None
    if inside is not None and asked is not None and inside != asked:
        raise ToolError("tokenizer is given twice: in the model and in the config.", "Give it once.")
    fields = model.get("config") if isinstance(model, Mapping) else None
    fields = fields if isinstance(fields, Mapping) else {}
    try:
        return read_order(asked if asked is not None else inside, fields.get("vocab_size"))
    except OrderError as error:
        raise ToolError(str(error), CHOICES) from None


def check_model_folder(
    folder: Path, columns: Iterable[str], conversational: bool = False, templated: bool = False
) -> list[str]:
    """Can this model be fine-tuned on such columns? Notes of what will be done about what it lacks.

    Args:
        folder: The model's.
        columns: Of the dataset; messages are a conversation.
        conversational: Other columns hold messages, too.
        templated: The config brings a chat template.

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
    if chat and not templated and not (described.get("chat_template") or "chat_template.jinja" in files):
        raise ToolError(
            "The dataset holds conversations, and the model has no chat template.",
            'Reformat to "prompt_completion", or use a model with a chat template.',
        )
    return [] if described.get("pad_token") else ["The model has no pad token; its end token pads."]


def check_memory(parameters: float, memory_mb: float, needed_mb: float | None = None) -> None:
    """Do weights, gradients and Adam's two moments fit? Activations are not counted.

    Args:
        parameters: Of the model.
        memory_mb: What the job may have.
        needed_mb: Where it is not a training of all of them: what that one needs.

    Raises:
        ToolError: They alone are more than a job may have.
    """
    needed = state_mb(parameters) if needed_mb is None else needed_mb
    if needed > memory_mb:
        raise ToolError(
            f"{parameters / 1e6:.0f}M parameters need {needed / 1024:.1f} GB to train; "
            f"a job has {memory_mb / 1024:.1f} GB.",
            "Use a smaller model, an adapter on one that is there, or raise the setting job_memory_mb.",
        )


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
