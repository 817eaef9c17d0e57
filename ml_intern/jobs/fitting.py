"""What fits together before a job starts: rows and method, batches and groups, rewards and columns, machine.

Each check names all that it finds, in one line.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.errors import ToolError
from ml_intern.jobs.fields import scored_types
from ml_intern.jobs.findings import Unfit
from ml_intern.jobs.lengths import length_notes, length_problems, measure, tokenizer_of
from ml_intern.jobs.preflight import Plan, shape_of
from ml_intern.jobs.recipes._conflicts import BATCH, GROUP, device_problems, window_of
from ml_intern.jobs.recipes._rewards import KINDS, RewardError, read_rewards
from ml_intern.tooling import did_you_mean

if TYPE_CHECKING:
    import polars as pl

_TARGETS = {
    "pretrain": "language_modeling",
    "sft": "prompt_completion",
    "dpo": "preference",
    "reward": "preference",
    "grpo": "prompt_only",
}
_MAPPINGS: dict[str, tuple[dict[str, str], ...]] = {
    "pretrain": ({"text": "{prompt}{completion}"}, {"text": "{prompt}{chosen}"}, {"text": "prompt"}),
    "sft": ({"prompt": "prompt", "completion": "chosen"}, {"prompt": "prompt", "completion": "answer"}),
    "grpo": ({"prompt": "text"},),
}
"""What reformat_dataset does not guess by itself, tried in order."""


def mending(method: str, rows: pl.DataFrame, source: str) -> str:
    """The call that brings a dataset into a method's shape; where none is known, what has to be filled in."""
    from ml_intern.data import formats
    from ml_intern.data.formats import Target

    target: Any = _TARGETS[method]
    wanted: Target = target
    few = rows.head(3)
    for mapping in (None, *_MAPPINGS.get(method, ())):
        try:
            made, _ = formats.reformat(few, wanted, mapping)
        except ToolError:
            continue
        if method == "pretrain" or shape_of(method, made.columns):
            return _call(source, target, mapping)
    columns = formats.columns_of(wanted)
    return f"{_call(source, target, dict.fromkeys(columns, '...'))} Name the column of the data for each."


def _call(source: str, target: str, mapping: dict[str, str] | None) -> str:
    more = f", mapping={json.dumps(mapping)}" if mapping else ""
    return f"Use reformat_dataset({json.dumps(source)}, target={json.dumps(target)}{more})."


def check_rows(method: str, rows: pl.DataFrame, text_column: str = "text") -> bool:
    """Do the values fit the method? Whether they are conversations.

    Raises:
        ToolError: Names each column of a wrong type and the first row without a value; says what the
            dataset would be good for.
    """
    from ml_intern.data.formats import detect
    from ml_intern.data.table import is_messages

    shape = (text_column,) if method == "pretrain" else shape_of(method, rows.columns)
    if shape is None:
        return False
    chats = [name for name in shape if is_messages(rows, name)]
    others = [name for name in shape if name not in chats and not _is_text(rows, name)]
    wrong = [f"{name} holds {rows.schema[name]}, neither text nor messages" for name in others]
    if shape == ("messages",) and not chats:
        wrong = [f"messages holds no list of {{role, content}} but {_kind(rows, 'messages')}"]
    elif chats and method == "pretrain":
        wrong = [f"{text_column} holds messages, and pretrain reads text"]
    elif chats and len(chats) < len(shape) and not wrong:
        texts = ", ".join(name for name in shape if name not in chats)
        wrong = [f"{', '.join(chats)} hold messages and {texts} text: make them alike"]
    wrong += [f"row {at + 1} has no {name}" for name in shape if (at := _first_null(rows, name)) is not None]
    if not wrong:
        wrong += [f"{name} is empty in every row" for name in shape if _all_blank(rows, name, name in chats)]
        wrong += [problem for name in chats for problem in _chat_problems(rows, name)]
    if method in ("dpo", "reward") and not wrong:
        wrong = _pairs_problems(rows)
    if wrong:
        fits = [m for m in detect(rows).methods if m != method]
        hint = f"Such a dataset suits {' and '.join(fits)}." if fits else "Look at it with inspect_dataset."
        raise Unfit(f"The dataset does not fit {method}", wrong, hint)
    return bool(chats)


_ROLES = ("system", "developer", "user", "assistant", "tool", "function", "model")


def _chat_problems(rows: pl.DataFrame, name: str) -> list[str]:
    """Conversations that are none: without a message, or with roles that no template knows."""
    import polars as pl

    wrong = []
    at = (rows[name].list.len() == 0).arg_max() if (rows[name].list.len() == 0).any() else None
    if at is not None:
        wrong.append(f"row {at + 1} has no message in {name}")
    roles = rows[name].explode().struct.field("role").cast(pl.String).unique(maintain_order=True).to_list()
    odd = sorted({str(role) for role in roles if role is not None} - set(_ROLES))
    if odd:
        told = f'{name} has the roles {", ".join(odd[:5])}: reformat_dataset(..., target="conversational")'
        wrong.append(f"{told} calls them user and assistant")
    return wrong


def _all_blank(rows: pl.DataFrame, name: str, chat: bool) -> bool:
    """Nothing but white space in every row; of a prompt that is allowed, a model may start at nothing."""
    import polars as pl

    if name == "prompt" or rows.schema[name] == pl.Null:
        return False
    texts = rows[name].explode().struct.field("content") if chat else rows[name]
    return bool((texts.cast(pl.String).fill_null("").str.strip_chars() == "").all())


def _kind(rows: pl.DataFrame, name: str) -> str:
    import polars as pl

    return "text" if rows.schema[name] == pl.String else str(rows.schema[name])


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
    plan: Plan, rows: pl.DataFrame, resolve: Callable[[str], Path]
) -> tuple[list[dict[str, Any]], list[Path]]:
    """What the rewards mean, with the folders of their reward models.

    Raises:
        ToolError: Names everything that is wrong with them.
    """
    hint = f"Rewards are {', '.join(KINDS)}: {{'type': 'exact', 'column': 'answer', 'weight': 1.0}}."
    try:
        rewards = read_rewards(plan.recipe.get("rewards"), rows.columns)
    except RewardError as error:
        raise Unfit("The rewards do not fit", error.problems, hint) from None
    wrong, folders = [problem for reward in rewards for problem in _answer_problems(reward, rows)], []
    for reward in rewards:
        if reward["type"] == "model":
            try:
                folder = resolve(reward["model"])
            except ToolError as error:
                wrong.append(f"rewards: {error.message}")
                continue
            if not is_reward_model(folder):
                told = f"{reward['model']!r} is no reward model: it has no head with one output"
                wrong.append(f'{told}; train one with launch_training(method="reward", ...)')
            folders.append(folder)
            reward["model"] = str(folder)
    if wrong:
        raise Unfit("The rewards do not fit", wrong, hint)
    return rewards, folders


def _answer_problems(reward: dict[str, Any], rows: pl.DataFrame) -> list[str]:
    """Rows that a reward has nothing to compare with; a missing answer would be read as the word None."""
    import polars as pl

    column = reward.get("column")
    if column is None or reward["type"] not in ("exact", "numeric", "runs"):
        return []
    name, values = f"the reward {reward['name']!r}", rows[column]
    if values.null_count() and (reward["type"] != "numeric" or values.null_count() == rows.height):
        missing, first = values.null_count(), (values.is_null().arg_max() or 0) + 1
        told = f"{name}: {missing} of {rows.height} rows have no {column}, row {first} is the first"
        return [f"{told}; leave them out with filter_dataset, or name another column"]
    numbers = reward["type"] == "numeric" and values.dtype == pl.String
    if numbers and not values.str.contains(r"\d|\\|pi|infty").any():
        return [f'{name}: no row of {column} holds a number; compare words with "exact"']
    return []


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


def check_groups(plan: Plan, rows: int) -> None:
    """Does the data fill a batch of a grpo with whole groups?

    Raises:
        ToolError: It has too few prompts.
    """
    fields = plan.trainer
    group = fields.get("num_generations") or GROUP
    batch = fields.get("per_device_train_batch_size", BATCH) * plan.recipe.get("processes", 1)
    steps = fields.get("steps_per_generation") or fields.get("gradient_accumulation_steps", 1)
    drawn = fields.get("generation_batch_size") or batch * steps
    left = rows - max(1, round(rows * plan.recipe["validation"])) if "validation" in plan.recipe else rows
    if group > 1 and left < drawn // group:
        told = f"{drawn} completions need {drawn // group} prompts at a time; there are {left}"
        raise Unfit("The config does not fit grpo", [told], "Use a smaller batch, or more prompts.")


def check_lengths(method: str, plan: Plan, rows: pl.DataFrame, folder: Path) -> None:
    """Do the rows fit into the model and below `max_length`? What is left out of them is noted in the plan.

    Raises:
        ToolError: They do not, or nothing would be left to train on.
    """
    shape = shape_of(method, rows.columns) or ()
    lengths = measure(folder, rows, shape) if shape else None
    window, rotary = window_of(folder), any(name.startswith("rope") for name in _config(folder))
    wrong = length_problems(method, plan.trainer, window, lengths, rotary)
    if wrong:
        raise Unfit(f"The lengths do not fit {method}", wrong)
    plan.notes += length_notes(method, plan.trainer, window, lengths)


def note_boundaries(method: str, plan: Plan, rows: pl.DataFrame, folder: Path) -> None:
    """Note prompts that lose their end in what is learned, where the loss falls on what follows them."""
    from ml_intern.data.boundaries import cut_prompts

    masked = method == "dpo" or (method == "sft" and plan.trainer.get("completion_only_loss") is not False)
    if masked and (tokenizer := tokenizer_of(folder)) and (told := cut_prompts(rows, tokenizer)):
        plan.notes.append(told)


def check_words(plan: Plan, folder: Path) -> None:
    """Does the model have the tokens that the config names, and the layers that an adapter is for?

    Raises:
        ToolError: Names those that are not.
    """
    wrong = []
    for name in ("eos_token", "pad_token"):
        word = plan.trainer.get(name)
        if isinstance(word, str) and (words := _vocabulary(folder)) and word not in words:
            wrong.append(f"{name} = {word!r} is no token of the model{did_you_mean(word, words)}")
    layers = (plan.recipe.get("peft") or {}).get("target_modules")
    if isinstance(layers, list) and (known := _layers(folder)):
        for layer in layers:
            if layer not in _HEADS and not any(name == layer or name.endswith(f".{layer}") for name in known):
                short = sorted({name.rpartition(".")[2] for name in known})
                guess = did_you_mean(layer, short) or f": it has {', '.join(short[:12])}"
                wrong.append(f"peft.target_modules: the model has no layer {layer!r}{guess}")
    if wrong:
        raise Unfit("The config does not fit the model", wrong)


_HEADER_BYTES = 100_000_000
"""The most that the format allows."""
_HEADS = ("lm_head", "score")
"""Tied or fresh, they are in no file."""


def _vocabulary(folder: Path) -> set[str]:
    """The words of a ``tokenizer.json``; empty where there is none."""
    try:
        read = json.loads((folder / "tokenizer.json").read_text())
        words = read["model"]["vocab"]
        names = words if isinstance(words, dict) else [word[0] for word in words]
        return {*names, *(token["content"] for token in read.get("added_tokens", []))}
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return set()


def parameters_of(folder: Path) -> float:
    """How many numbers the files of a model hold; 0 where they are no safetensors."""
    shapes = (entry.get("shape") for entry in _tensors(folder).values() if isinstance(entry, dict))
    return float(sum(math.prod(shape) for shape in shapes if isinstance(shape, list)))


def _layers(folder: Path) -> set[str]:
    """The modules that hold the weights, by the headers of the files."""
    return {name.rpartition(".")[0] for name in _tensors(folder) if name.endswith(".weight")}


def _tensors(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for file in folder.glob("*.safetensors"):
        try:
            with file.open("rb") as opened:
                size = int.from_bytes(opened.read(8), "little")
                header = json.loads(opened.read(min(size, _HEADER_BYTES)))
        except (OSError, ValueError):
            return {}
        found |= header
    return found


def check_machine(plan: Plan, gpus: int, capability: float | None = None, here: bool = True) -> None:
    """Can the place of the job do it: four bits, a precision, several processes?

    Args:
        plan: What the recipe will read.
        gpus: That the job would hold there; 0 for one that leaves them alone.
        capability: NVIDIA's compute capability of these, where it is known.
        here: Whether the packages there are those of this machine.

    Raises:
        ToolError: Names what is missing.
    """
    wrong = device_problems(plan.trainer, plan.recipe, gpus, capability, here)
    if wrong:
        hint = "Leave it out, or use another place; slurm_gpus says how many GPUs a job gets on a cluster."
        raise Unfit("It cannot run there", wrong, hint)


def _config(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
