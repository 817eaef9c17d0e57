"""The check of a whole config.json, done before anything heavy is imported: all that is wrong, at once.

It stands beside the recipes and needs nothing of ML Intern.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from _asking import generate_problems, score_problems
from _config import (
    ALIASES,
    RECIPE_FIELDS,
    SHAPES,
    Known,
    field_problems,
    near,
    shown,
    sort_fields,
    value_problem,
)
from _conflicts import conflicts, device_problems, found_gpus, window_of, window_problems
from _rewards import RewardError, read_rewards
from _scratch import scratch_problems
from _sources import (
    causal_types,
    choices_of,
    lora_choices,
    lora_fields,
    model_fields,
    model_types,
    other_trainers,
    trainer_class,
    trainer_fields,
)
from _tokenizer import CHOICES, TYPES, OrderError, read_order

NEEDED = {
    "model": "str",
    "data": "str",
    "output_dir": "str",
    "checkpoint_dir": "str",
    "metrics_file": "str",
}
OPTIONAL = {
    "trainer": "dict",
    "seed": "int",
    "dataset": "str",
    "max_rows": "int",
    "rows_needed": "int",
}


def has_notes(config: Mapping[str, Any]) -> bool:
    """Whether it is a job's config, which holds notes of its host, of which a recipe need not know."""
    return "asked" in config or "ML_INTERN_JOB" in os.environ


_NOT_ALONE = {
    "output_dir": "give output_dir beside trainer",
    "resume_from_checkpoint": "a run resumes from the last whole checkpoint in checkpoint_dir",
    "reward_weights": 'each of rewards has its own: {"type": "exact", "weight": 2}',
}
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")


def checked(method: str, config: Any) -> dict[str, Any]:
    """The config with short names of fields written out.

    Raises:
        SystemExit: Names everything that is wrong, each in a line of its own.
    """
    if not isinstance(config, Mapping):
        raise SystemExit("bad_config: The config must be an object with fields.")
    made = dict(config)
    problems = [" ".join(p.split()).removesuffix(".") for p in _problems(method, made)]
    if len(problems) == 1:
        raise SystemExit(f"bad_config: The config does not fit {method}: {problems[0]}.")
    if problems:
        lines = "".join(f"\n  - {problem}" for problem in problems)
        told = f"The config does not fit {method}, {len(problems)} things are wrong:{lines}"
        raise SystemExit(f"bad_config: {told}")
    return made


def known_of(method: str) -> Known:
    """What the installed libraries know of a method's fields."""
    return Known(
        method=method,
        owner=trainer_class(method),
        trainer=trainer_fields(method),
        choices=choices_of(method),
        lora=lora_fields() if "peft" in RECIPE_FIELDS[method] else {},
        lora_choices=lora_choices() if "peft" in RECIPE_FIELDS[method] else {},
        elsewhere=lambda name: other_trainers(name, method),
        managed=_NOT_ALONE,
    )


def _problems(method: str, config: dict[str, Any]) -> Iterator[str]:
    if method in ("generate", "score"):
        asked = generate_problems if method == "generate" else score_problems
        yield from asked(config, has_notes(config))
        return
    known = known_of(method)
    yield from _of_places(method, config, known)
    recipe: dict[str, Any] = {}
    for name in known.recipe:
        if config.get(name) is not None:
            problems = field_problems(name, config[name], known)
            yield from problems
            recipe |= {} if problems else {name: config[name]}
    asked = config.get("trainer") or {}
    if not isinstance(asked, Mapping):
        return  # It is told among the places.
    found = sort_fields(asked, known)
    yield from (f"trainer: {problem}" for problem in found.wrong)
    yield from (f"{name} stands beside trainer, not in it" for name in found.recipe)
    config["trainer"] = found.trainer
    yield from conflicts(method, found.trainer, recipe)
    yield from device_problems(found.trainer, recipe, *found_gpus())
    columns = _columns(config.get("data"))
    yield from _of_columns(method, config, columns)
    yield from (_of_scratch(config) if method == "pretrain" else _of_model(method, config, found.trainer))
    if method == "grpo":
        yield from _of_rewards(config, columns)


def _of_places(method: str, config: Mapping[str, Any], known: Known) -> Iterator[str]:
    """What every recipe needs, and fields that none of them has."""
    kinds = {**NEEDED, **OPTIONAL, **({"model": "str | dict"} if method == "pretrain" else {})}
    for name in NEEDED:
        if config.get(name) is None:
            yield f"{name} is missing"
    for name, kind in kinds.items():
        if config.get(name) is not None and (problem := value_problem(name, config[name], kind)):
            yield problem
    others = [name for name in config if name not in kinds and name not in known.recipe]
    for name in () if has_notes(config) else others:
        if name in known.trainer or name in ALIASES:
            yield f"unknown field {name!r}: it goes into trainer, {{{name!r}: {shown(config[name])}}}"
        elif guess := near(name, [*kinds, *known.recipe]):
            yield f"unknown field {name!r}{guess}"
        else:
            yield from field_problems(name, config[name], known)


def _of_columns(method: str, config: Mapping[str, Any], columns: list[str] | None) -> Iterator[str]:
    if not isinstance(config.get("data"), str):
        return
    if not Path(config["data"]).is_file():
        yield f"data = {config['data']!r} is no file"
    elif columns is not None:
        column = config.get("text_column", "text")
        shapes = SHAPES[method] if method != "pretrain" else ((str(column),),)
        if not any(set(shape) <= set(columns) for shape in shapes):
            wanted = "; or ".join(" and ".join(shape) for shape in shapes)
            yield f"data: {method} needs the columns {wanted}; it has {', '.join(columns)}"


def _columns(data: Any) -> list[str] | None:
    """The columns of the first row; None where there is none, which is told when the rows are read."""
    try:
        with Path(data).open(encoding="utf-8") as file:
            first = json.loads(next((line for line in file if line.strip()), "null"))
    except (OSError, ValueError, TypeError):
        return None
    return list(first) if isinstance(first, dict) else None


def _of_model(method: str, config: Mapping[str, Any], trainer: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(config.get("model"), str):
        return
    folder = Path(config["model"])
    if not (folder / "config.json").is_file():
        yield f"model = {config['model']!r} is no folder of a model: there is no config.json in it"
        return
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        yield f"model = {config['model']!r} has no tokenizer beside it: save it into the folder"
    yield from window_problems(method, trainer, window_of(folder))
    template = trainer.get("chat_template_path")
    if template and not Path(template).exists():
        yield f"chat_template_path = {template!r} is neither a file nor a folder"


def _of_scratch(config: Mapping[str, Any]) -> Iterator[str]:
    model = config.get("model")
    if not isinstance(model, str | Mapping):
        return
    yield from scratch_problems(model, causal_types(), model_types(), model_fields)
    fields = model.get("config") if isinstance(model, Mapping) else {}
    order = config.get("tokenizer") or (model.get("tokenizer") if isinstance(model, Mapping) else None)
    try:
        read = read_order(order, fields.get("vocab_size") if isinstance(fields, Mapping) else None)
    except OrderError as error:
        yield f"{error} {CHOICES}"
        return
    if isinstance(read, str) and not Path(read).exists():
        yield f"tokenizer = {read!r} is neither a folder nor one of {', '.join(TYPES)}{near(read, TYPES)}"


def _of_rewards(config: Mapping[str, Any], columns: list[str] | None) -> Iterator[str]:
    try:
        rewards = read_rewards(config.get("rewards"), columns)
    except RewardError as error:
        yield from error.problems
        return
    for reward in rewards:
        if reward["type"] == "model" and not (Path(reward["model"]) / "config.json").is_file():
            yield f"the reward {reward['name']!r}: {reward['model']!r} is no folder of a model"
