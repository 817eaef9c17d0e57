"""What fits together before a job starts: rows and method, batches and groups, rewards and columns, machine.

Each check names all that it finds, in one line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.errors import ToolError
from ml_intern.jobs.fields import scored_types
from ml_intern.jobs.preflight import Plan, shape_of
from ml_intern.jobs.recipes._rewards import KINDS, RewardError, read_rewards

if TYPE_CHECKING:
    import polars as pl

_GROUP = 8
_BATCH = 8
_COMPLETION = 256
"""What TRL takes for num_generations, per_device_train_batch_size and max_completion_length."""


def check_rows(method: str, rows: pl.DataFrame) -> bool:
    """Do the values fit the method? Whether they are conversations.

    Raises:
        ToolError: Names each column of a wrong type and the first row without a value; says what the
            dataset would be good for.
    """
    from ml_intern.data.formats import detect, is_messages

    shape = shape_of(method, rows.columns) if method != "pretrain" else None
    if shape is None:
        return False
    chats = [name for name in shape if is_messages(rows, name)]
    others = [name for name in shape if name not in chats and not _is_text(rows, name)]
    wrong = [f"{name} holds {rows.schema[name]}, neither text nor messages" for name in others]
    if shape == ("messages",) and not chats:
        wrong = ["messages holds no list of {role, content}"]
    elif chats and len(chats) < len(shape) and not wrong:
        texts = ", ".join(name for name in shape if name not in chats)
        wrong = [f"{', '.join(chats)} hold messages and {texts} text: make them alike"]
    wrong += [f"row {at + 1} has no {name}" for name in shape if (at := _first_null(rows, name)) is not None]
    if method in ("dpo", "reward") and not wrong:
        wrong = _pairs_problems(rows)
    if wrong:
        fits = [m for m in detect(rows).methods if m != method]
        hint = f"Such a dataset suits {' and '.join(fits)}." if fits else "Look at it with inspect_dataset."
        raise ToolError(f"The dataset does not fit {method}: {'; '.join(wrong)}.", hint)
    return bool(chats)


def _is_text(rows: pl.DataFrame, name: str) -> bool:
    import polars as pl

    return rows.schema[name] in (pl.String, pl.Null)


def _first_null(rows: pl.DataFrame, name: str) -> int | None:
    return rows[name].is_null().arg_max() if rows[name].null_count() else None


def _pairs_problems(rows: pl.DataFrame) -> list[str]:
    wrong = []
    if (rows["chosen"] == rows["rejected"]).all():
        wrong.append("chosen and rejected are the same in every row")
    if "margin" in rows.columns and not rows.schema["margin"].is_numeric():
        wrong.append(f"margin holds {rows.schema['margin']}, no number")
    return wrong


def check_rewards(
    plan: Plan, columns: Iterable[str], resolve: Callable[[str], Path]
) -> tuple[list[dict[str, Any]], list[Path]]:
    """What the rewards mean, with the folders of their reward models.

    Raises:
        ToolError: Names everything that is wrong with them.
    """
    hint = f"Rewards are {', '.join(KINDS)}: {{'type': 'exact', 'column': 'answer', 'weight': 1.0}}."
    try:
        rewards = read_rewards(plan.recipe.get("rewards"), columns)
    except RewardError as error:
        raise ToolError(f"The rewards do not fit: {error}", hint) from None
    folders = []
    for reward in rewards:
        if reward["type"] == "model":
            folder = resolve(reward["model"])
            if not is_reward_model(folder):
                told = f"{reward['model']!r} is no reward model: it has no head with one output."
                raise ToolError(told, 'Train one with launch_training(method="reward", ...).')
            folders.append(folder)
            reward["model"] = str(folder)
    return rewards, folders


def is_reward_model(folder: Path) -> bool:
    """Whether a model gives scores, and no text."""
    config = _config(folder)
    names = config.get("architectures") or [""]
    return str(names[0]).endswith("ForSequenceClassification") and len(config.get("id2label") or "1") == 1


def check_base(method: str, folder: Path, name: str) -> None:
    """Can the method start from this model?

    Raises:
        ToolError: It gives scores where text is needed, or no head for scores exists for it.
    """
    kind = _config(folder).get("model_type")
    if method == "reward":
        if kind not in scored_types():
            raise ToolError(
                f"reward cannot start from {name!r}: Transformers has no reward model of the type {kind!r}.",
                "Start from another type of model, such as llama or qwen3.",
            )
    elif is_reward_model(folder):
        raise ToolError(
            f"{method} cannot start from {name!r}: it is a reward model and gives scores, no text.",
            "Name the model that it was made from; grpo takes a reward model in rewards.",
        )


def check_groups(plan: Plan, rows: int, folder: Path) -> None:
    """Do the batches of a grpo hold whole groups, does the data fill one, does a completion fit the model?

    Raises:
        ToolError: Names everything that does not fit.
    """
    fields, processes = plan.trainer, plan.recipe.get("processes", 1)
    group = fields.get("num_generations", _GROUP)
    batch = fields.get("per_device_train_batch_size", _BATCH) * processes
    steps, drawn = fields.get("steps_per_generation"), fields.get("generation_batch_size")
    wrong = []
    if group < 2:
        wrong.append(f"num_generations = {group}: a group has two completions at the least")
    if steps is not None and drawn is not None:
        wrong.append("steps_per_generation and generation_batch_size say the same: give one")
    if fields.get("auto_find_batch_size"):
        wrong.append("auto_find_batch_size would break groups up")
    drawn = drawn or batch * (steps or fields.get("gradient_accumulation_steps", 1))
    if drawn % batch:
        wrong.append(f"generation_batch_size = {drawn} is not a multiple of a batch of {batch}")
    if group > 1 and drawn % group:
        wrong.append(f"{drawn} completions at a time are not a multiple of num_generations = {group}")
    left = rows - max(1, round(rows * plan.recipe["validation"])) if "validation" in plan.recipe else rows
    if group > 1 and left < drawn // group:
        wrong.append(f"{drawn} completions need {drawn // group} prompts at a time; there are {left}")
    evaluated = fields.get("per_device_eval_batch_size")
    whole = fields.get("num_generations_eval") or group
    if evaluated and whole and evaluated * processes % whole:
        wrong.append(f"per_device_eval_batch_size = {evaluated} does not hold whole groups of {whole}")
    if fields.get("use_vllm") and find_spec("vllm") is None:
        wrong.append("use_vllm needs the package vllm, which is not installed")
    wrong += _window_problem(fields.get("max_completion_length", _COMPLETION), folder)
    if wrong:
        raise ToolError(
            f"The config does not fit grpo: {'; '.join(wrong)}.", "Correct them and launch again."
        )


def _window_problem(length: int | None, folder: Path) -> list[str]:
    config = _config(folder)
    window = config.get("max_position_embeddings") or config.get("n_positions")
    if not isinstance(window, int) or (length or 0) < window:
        return []
    return [f"max_completion_length = {length} leaves no room for a prompt in the model's {window} tokens"]


def check_machine(plan: Plan, gpus: int) -> None:
    """Can the place of the job do it: four bits, several processes?

    Args:
        plan: What the recipe will read.
        gpus: That the job would hold there; 0 for one that leaves them alone.

    Raises:
        ToolError: Names what is missing.
    """
    gpus = 0 if plan.trainer.get("use_cpu") else gpus
    processes = plan.recipe.get("processes", 1)
    wrong = []
    if gpus and processes > gpus:
        wrong.append(f"processes = {processes}, and there {'is' if gpus == 1 else 'are'} {gpus} GPU")
    if plan.recipe.get("qlora"):
        wrong += [] if gpus else ["qlora needs a GPU, and there is none"]
        wrong += [] if find_spec("bitsandbytes") else ["qlora needs the package bitsandbytes"]
        wrong += [] if plan.recipe.get("peft") else ['qlora trains an adapter: peft={"r": 16}']
    if wrong:
        raise ToolError(
            f"It cannot run there: {'; '.join(wrong)}.",
            "Leave it out, or use another place; slurm_gpus says how many GPUs a job gets on a cluster.",
        )


def _config(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
