"""Which fields a training takes, and what is wrong with those that were given: each in a line of its own.

The same words before a job starts and inside the recipe. It stands beside the recipes and needs nothing of
ML Intern; what the installed libraries know (`_sources.py`) is handed in.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

METHODS = ("pretrain", "sft", "dpo", "reward", "grpo")
_TUNING = {"peft": "dict", "qlora": "bool", "validation": "float", "processes": "int"}
_WRITING = {**_TUNING, "held_out_texts": "str"}

RECIPE_FIELDS: dict[str, dict[str, str]] = {
    "pretrain": {
        "max_length": "int",
        "packing": "bool",
        "text_column": "str",
        "tokenizer": "Any",
        "validation": "float",
        "processes": "int",
        "experts": "str",
    },
    "sft": _WRITING,
    "dpo": _WRITING,
    "reward": _TUNING,
    "grpo": {**_WRITING, "rewards": "list | dict | str"},
}
"""Fields of the recipes beside those of the trainer."""

_WORDS = {"experts": ("balanced", "filled", "as made")}
"""For those of them that take one of some words: the words."""

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
    "use_peft": 'peft={"r": 16}',
    "peft_config": 'peft={"r": 16}',
    "load_in_4bit": 'qlora=True with peft={"r": 16}',
    "load_in_8bit": 'qlora=True with peft={"r": 16}',
    "chat_template": "chat_template_path (a file or the folder of a tokenizer)",
    "reward_funcs": 'rewards=["exact"]',
    "torch_dtype": 'model_init_kwargs={"dtype": "bfloat16"}',
    "attn_implementation": 'model_init_kwargs={"attn_implementation": "sdpa"}',
}
"""Fields of earlier versions, or of other places, and what took their place."""

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

_PAIRS = (("prompt", "chosen", "rejected"), ("chosen", "rejected"))
SHAPES: dict[str, tuple[tuple[str, ...], ...]] = {
    "sft": (("messages",), ("prompt", "completion"), ("text",)),
    "dpo": _PAIRS,
    "reward": _PAIRS,
    "grpo": (("prompt",),),
}
"""The columns that a method takes: one of these shapes, the first that the dataset has."""
_ABOVE_ZERO = "above zero", lambda x: x > 0
_NOT_BELOW_ZERO = "zero or above", lambda x: x >= 0
_SHARE = "between 0 and 1", lambda x: 0 <= x <= 1
_BELOW_ONE = "0 or above and below 1", lambda x: 0 <= x < 1
_SOME_SHARE = "above 0 and at most 1", lambda x: 0 < x <= 1
_WHOLE_OR_SHARE = (
    "above zero: below 1 a share of the steps, else a whole number",
    lambda x: 0 < x < 1 or (x >= 1 and x == int(x)),
)
Range = tuple[str, Callable[[Any], bool]]
_LIMITS: dict[Range, str] = {
    _ABOVE_ZERO: "per_device_train_batch_size per_device_eval_batch_size gradient_accumulation_steps"
    " max_length max_completion_length processes learning_rate num_train_epochs adam_epsilon temperature"
    " repetition_penalty num_iterations steps_per_generation generation_batch_size num_generations"
    " num_generations_eval dataset_num_proc save_total_limit torch_empty_cache_steps eval_accumulation_steps"
    " dataloader_prefetch_factor ddp_timeout ddp_bucket_cap_mb ref_model_sync_steps pad_to_multiple_of"
    " precompute_ref_batch_size neftune_noise_alpha max_rows",
    _NOT_BELOW_ZERO: "warmup_steps weight_decay max_grad_norm beta epsilon epsilon_high delta eval_delay"
    " dataloader_num_workers router_aux_loss_coef center_rewards_coefficient ld_alpha batch_size",
    _WHOLE_OR_SHARE: "logging_steps eval_steps save_steps",
    _BELOW_ONE: "adam_beta1 adam_beta2 label_smoothing_factor label_smoothing lora_dropout",
    _SHARE: "min_p ref_model_mixup_alpha",
    _SOME_SHARE: "top_p top_entropy_quantile vllm_gpu_memory_utilization",
    ("a share of the rows, above 0 and at most 0.5", lambda x: 0 < x <= 0.5): "validation",
    ("above zero, or -1 for whole epochs", lambda x: x > 0 or x == -1): "max_steps",
}
LIMITS = {name: limit for limit, names in _LIMITS.items() for name in names.split()}
"""What a number must be, in words and as a test; what the libraries check is what it says, and what they do
not check is what the field means."""

_PLAIN: dict[str, Any] = {
    "int": int,
    "float": (int, float),
    "bool": bool,
    "str": str,
    "dict": Mapping,
    "list": (list, tuple),
}


@dataclass(frozen=True)
class Known:
    """What the installed libraries know of a method's fields.

    Attributes:
        method: The recipe.
        owner: Whose fields they are, in words.
        trainer: Each field of the trainer, with its annotation.
        choices: The words that a field takes, where it takes words.
        lora: The fields of an adapter, with their annotations.
        lora_choices: As `choices`.
        elsewhere: Which other methods have a field.
        managed: Fields that are not the user's, and why.
    """

    method: str
    owner: str
    trainer: Mapping[str, str]
    choices: Mapping[str, tuple[str, ...]]
    lora: Mapping[str, str]
    lora_choices: Mapping[str, tuple[str, ...]]
    elsewhere: Callable[[str], list[str]]
    managed: Mapping[str, str]

    @property
    def recipe(self) -> Mapping[str, str]:
        """The fields of the recipe itself."""
        return RECIPE_FIELDS[self.method]


@dataclass
class Sorted:
    """Fields that are right, by whom they are for, and what is wrong with the others."""

    trainer: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


def sort_fields(config: Mapping[str, Any], known: Known) -> Sorted:
    """Each field to the trainer or to the recipe, or a line about what is wrong with it."""
    found = Sorted()
    for given, value in config.items():
        name = ALIASES.get(given, given)
        if name != given and name in config:
            found.wrong.append(f"{given} and {name} are the same field: give one")
        elif problems := field_problems(name, value, known):
            found.wrong += [p if given == name else f"{given}: {p}" for p in problems]
        else:
            (found.recipe if name in known.recipe else found.trainer)[name] = value
    return found


def field_problems(name: str, value: Any, known: Known) -> list[str]:
    """What is wrong with one field; empty where nothing is."""
    if name in known.managed or (name.startswith("hub_") and known.managed):
        return [f"{name} is set by the job ({known.managed.get(name, 'publish with publish_model()')})"]
    if name in SUCCESSORS and (name not in known.trainer or name == "use_liger_kernel"):
        return [f"{name} is no field of this version; now: {SUCCESSORS[name]}"]
    if name not in known.trainer and name not in known.recipe:
        return [_unknown(name, known)]
    annotation = known.recipe.get(name) or known.trainer[name]
    if name == "peft" and isinstance(value, Mapping):
        return _peft_problems(value, known)
    if name == "model_init_kwargs" and value is not None:
        odd = [f"model_init_kwargs = {shown(value)} must be dict"]
        return _init_problems(value, known) if isinstance(value, Mapping) else odd
    words = _WORDS.get(name) if name in known.recipe else known.choices.get(name)
    problem = value_problem(name, value, annotation, words)
    return [problem] if problem else []


def value_problem(name: str, value: Any, annotation: str, choices: tuple[str, ...] | None = None) -> str:
    """What is wrong with a value, by its type, its range or the words that it may be; empty if nothing is."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"{name} = {value!r} must be {annotation}, a finite number"
    if not fits(value, annotation):
        return f"{name} = {shown(value)} must be {annotation}{_written(value, annotation)}"
    if isinstance(value, int | float) and not isinstance(value, bool) and name in LIMITS:
        words, holds = LIMITS[name]
        return "" if holds(value) else f"{name} = {value!r} must be {words}"
    asked = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    odd = [word for word in asked if choices and word not in choices]
    if choices and odd:
        return f"{name} = {shown(odd[0])} is not one of {_some_of(choices)}{_begun(odd[0], choices)}"
    return ""


def fits(value: Any, annotation: str) -> bool:
    """A loose check: only plain types are judged, so that no valid value is refused."""
    parts = {part.strip().partition("[")[0] for part in annotation.split("|")}
    if value is None:
        return "None" in parts or "Any" in annotation
    if not parts - {"None"} <= set(_PLAIN):
        return True
    if isinstance(value, bool):
        return "bool" in parts
    # TRL takes one word where it says a list of them.
    if isinstance(value, str) and "list[str]" in annotation:
        return True
    return any(isinstance(value, _PLAIN[part]) for part in parts - {"None", "bool"})


def near(word: Any, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` when something close is known, else an empty string."""
    close = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""


def shown(value: Any) -> str:
    """A value in a line: never long, and without line breaks."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _some_of(words: tuple[str, ...]) -> str:
    return ", ".join(words) if len(words) <= 12 else f"{', '.join(words[:11])} and {len(words) - 11} others"


def _begun(word: Any, words: tuple[str, ...]) -> str:
    """The word that begins alike, else one that is close: who writes adam means adamw_torch."""

    def alike(known: str) -> int:
        pairs = zip(str(word).lower(), known, strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))

    best = max(words, key=alike)
    return f" (did you mean {best!r}?)" if alike(best) >= 3 else near(word, words)


def _unknown(name: str, known: Known) -> str:
    short = name.removeprefix("lora_")
    inside = next((n for n in (name, f"lora_{name}", short) if n in known.lora), None)
    if inside and "peft" in known.recipe:
        return f'unknown field {name!r}: it is one of the adapter, peft={{"r": 16, "{inside}": ...}}'
    elsewhere = known.elsewhere(name)
    others = [m for m in METHODS if m != known.method and (name in RECIPE_FIELDS[m] or m in elsewhere)]
    if others:
        return (
            f"unknown field {name!r}: it belongs to {', '.join(others)}, not to {known.method}; leave it out"
        )
    words = [*known.trainer, *known.recipe, *SUCCESSORS, *ALIASES]
    guess = near(name, words) or f": {known.owner} has none like it, leave it out"
    return f"unknown field {name!r}{guess}"


def _written(value: Any, annotation: str) -> str:
    """A number or a truth value that was written as text."""
    if not isinstance(value, str):
        return ""
    if "bool" in annotation and value.strip().lower() in ("true", "false"):
        return f": write {value.strip().lower()} without quotes"
    try:
        float(value)
    except ValueError:
        return ""
    return f": write {value.strip()} without quotes"


def _peft_problems(given: Mapping[str, Any], known: Known) -> list[str]:
    """What is wrong with an adapter's fields; nothing at all in it would train the whole model."""
    fields = {n: a for n, a in known.lora.items() if n != "task_type"}
    wrong = [f"peft has no field {n!r}{near(n, fields)}" for n in given if n not in fields]
    judged = [
        value_problem(n, v, fields[n], known.lora_choices.get(n)) for n, v in given.items() if n in fields
    ]
    wrong += [f"peft.{problem}" for problem in judged if problem]
    alpha = given.get("lora_alpha", 1)
    if isinstance(alpha, int | float) and alpha <= 0:
        wrong.append(f"peft.lora_alpha = {alpha!r} must be above zero")
    rank = given.get("r", 1)
    if not given or (isinstance(rank, int) and rank < 1):
        wrong.append(f'peft = {dict(given)!r} is no adapter: {{"r": 16}}')
    return wrong


def _init_problems(given: Mapping[str, Any], known: Known) -> list[str]:
    wrong = []
    if "trust_remote_code" in given:
        wrong.append(
            f"model_init_kwargs.trust_remote_code is set by the job ({MANAGED['trust_remote_code']})"
        )
    for name in ("dtype", "torch_dtype"):
        kind = given.get(name)
        words = ("auto", "float32", "bfloat16", "float16")
        if kind is not None and kind not in words:
            told = f"is not one of {', '.join(words)}{near(kind, words)}"
            wrong.append(f"model_init_kwargs.{name} = {shown(kind)} {told}")
    return wrong
