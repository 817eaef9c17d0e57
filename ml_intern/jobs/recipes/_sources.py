"""Which fields a configuration class of an installed library has, read from its source without importing it.

Importing TRL takes seconds and a gigabyte; its source says the same in milliseconds. It stands beside the
recipes and needs nothing of ML Intern.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

_TRAINERS = {
    "pretrain": ("transformers", "training_args.py", "TrainingArguments"),
    "sft": ("trl", "trainer/sft_config.py", "SFTConfig"),
    "dpo": ("trl", "trainer/dpo_config.py", "DPOConfig"),
    "reward": ("trl", "trainer/reward_config.py", "RewardConfig"),
    "grpo": ("trl", "trainer/grpo_config.py", "GRPOConfig"),
}


@lru_cache(maxsize=8)
def trainer_fields(method: str) -> dict[str, str]:
    """The fields of a method's trainer configuration, with their annotations as written."""
    package, file, name = _TRAINERS[method]
    return _class_fields(package_folder(package) / file, name)


def trainer_class(method: str) -> str:
    """The trainer configuration in words: ``TRL's DPOConfig``."""
    package, _, name = _TRAINERS[method]
    return {"trl": "TRL's ", "transformers": "Transformers' "}[package] + name


def other_trainers(name: str, method: str) -> list[str]:
    """The methods whose trainer has a field that this one's lacks."""
    return [other for other in _TRAINERS if other != method and name in trainer_fields(other)]


@lru_cache(maxsize=8)
def choices_of(method: str) -> dict[str, tuple[str, ...]]:
    """For fields that take one of some words: the words.

    They are where the library has them: an enumeration that the annotation names, the field's own `choices`,
    or what the trainer compares the field with.
    """
    package, file, name = _TRAINERS[method]
    enums = _enumerations()
    named = {
        field: enums[part]
        for field, annotation in trainer_fields(method).items()
        for part in annotation.split(" | ")
        if part in enums
    }
    found = named | _declared(package_folder("transformers") / "training_args.py", "TrainingArguments")
    if package == "trl":
        source = package_folder(package) / file
        found |= _compared(source.with_name(source.name.replace("_config", "_trainer")))
        found |= _declared(source, name)
    return {field: words for field, words in found.items() if field in trainer_fields(method)}


@lru_cache(maxsize=1)
def lora_choices() -> dict[str, tuple[str, ...]]:
    """The same of peft's LoraConfig, whose annotations name the words themselves."""
    read = {name: re.findall(r"'([^']*)'", text) for name, text in lora_fields().items() if "Literal" in text}
    return {name: tuple(words) for name, words in read.items() if "bool" not in lora_fields()[name]}


@lru_cache(maxsize=1)
def _enumerations() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name in ("training_args.py", "trainer_utils.py"):
        for node in ast.parse((package_folder("transformers") / name).read_text()).body:
            if isinstance(node, ast.ClassDef) and any("Enum" in ast.unparse(b) for b in node.bases):
                values = [n.value for n in node.body if isinstance(n, ast.Assign)]
                found[node.name] = tuple(str(v.value) for v in values if isinstance(v, ast.Constant))
    return found


def _declared(file: Path, name: str) -> dict[str, tuple[str, ...]]:
    """Fields with ``metadata={"choices": [...]}``."""
    found = {}
    for item in next(n for n in ast.parse(file.read_text()).body if getattr(n, "name", "") == name).body:  # type: ignore[attr-defined]
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and item.value:
            for pairs in (n for n in ast.walk(item.value) if isinstance(n, ast.Dict)):
                for key, value in zip(pairs.keys, pairs.values, strict=True):
                    if (
                        isinstance(key, ast.Constant)
                        and key.value == "choices"
                        and isinstance(value, ast.List)
                    ):
                        found[item.target.id] = tuple(map(str, ast.literal_eval(value)))
    return found


_COMPARED = ("loss_type", "f_divergence_type", "importance_sampling_level", "multi_objective_aggregation")


def _compared(trainer: Path) -> dict[str, tuple[str, ...]]:
    """Words that a trainer compares a field with, where it has at least two branches."""
    text = trainer.read_text() if trainer.is_file() else ""
    found = {}
    for name in _COMPARED:
        words = re.findall(rf'\b(?:self\.|args\.)?{name} == "(\w+)"', text)
        for several in re.findall(rf"\b(?:self\.|args\.)?{name} in [\[{{]([^\]}}]*)[\]}}]", text):
            words += re.findall(r'"(\w+)"', several)
        if len(set(words)) > 1:
            found[name] = tuple(dict.fromkeys(words))
    return found


@lru_cache(maxsize=1)
def lora_fields() -> dict[str, str]:
    """The fields of peft's LoraConfig."""
    return _class_fields(package_folder("peft") / "tuners" / "lora" / "config.py", "LoraConfig")


@lru_cache(maxsize=64)
def model_fields(model_type: str) -> dict[str, str]:
    """The fields of a Transformers model's configuration; empty where the source does not tell."""
    folder = package_folder("transformers") / "models"
    name = model_types().get(model_type, "")
    for file in _near(folder, model_type):
        found = _class_fields(file, name)
        if found:
            return (
                found | _attribute_map(file, name) | _older_names(file, name) | _read_by_models(file.parent)
            )
    return {}


def _near(folder: Path, model_type: str) -> Iterator[Path]:
    """Files of configurations, likeliest first: gemma3_text is one of gemma3's."""
    parts = model_type.replace("-", "_").split("_")
    for count in range(len(parts), 0, -1):
        yield from sorted((folder / "_".join(parts[:count])).glob("configuration_*.py"))


@lru_cache(maxsize=1)
def model_types() -> dict[str, str]:
    """Every model type of the installed Transformers, with its configuration's class."""
    file = package_folder("transformers") / "models" / "auto" / "auto_mappings.py"
    return _pairs(file, "CONFIG_MAPPING_NAMES")


@lru_cache(maxsize=1)
def causal_types() -> dict[str, str]:
    """The model types that have a causal language model."""
    file = package_folder("transformers") / "models" / "auto" / "modeling_auto.py"
    return _pairs(file, "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES")


@lru_cache(maxsize=1)
def scored_types() -> dict[str, str]:
    """The model types that can carry the head of a reward model."""
    file = package_folder("transformers") / "models" / "auto" / "modeling_auto.py"
    return _pairs(file, "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES")


def package_folder(package: str) -> Path:
    """Where a package lies; finding it does not import it."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(package)
    return Path(next(iter(spec.submodule_search_locations)))


def _class_fields(file: Path, name: str) -> dict[str, str]:
    tree = ast.parse(file.read_text())
    node = next((n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name), None)
    if node is None:
        return {}
    fields: dict[str, str] = {}
    for base in node.bases:
        if isinstance(base, ast.Name):
            fields |= _base_fields(file, tree, base.id)
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            annotation = _modern(item.annotation)
            if not annotation.startswith("ClassVar") and not item.target.id.startswith("_"):
                fields[item.target.id] = annotation
    return fields


def _modern(node: ast.expr) -> str:
    """An annotation in today's words: ``Optional[Union[int, str]]`` is ``int | str | None``."""
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if node.value.id == "Optional":
            return f"{_modern(inner[0])} | None"
        if node.value.id == "Union":
            return " | ".join(map(_modern, inner))
    return ast.unparse(node)


def _base_fields(file: Path, tree: ast.Module, base: str) -> dict[str, str]:
    if any(isinstance(n, ast.ClassDef) and n.name == base for n in tree.body):
        return _class_fields(file, base)
    if base == "TrainingArguments":
        return trainer_fields("pretrain")
    for node in _imports(tree):
        if node.level and node.module and any(a.name == base for a in node.names):
            source = file.parents[node.level - 1].joinpath(*node.module.split(".")).with_suffix(".py")
            if source.is_file():
                return _class_fields(source, base)
    return {}


def _imports(tree: ast.Module) -> Iterator[ast.ImportFrom]:
    return (node for node in tree.body if isinstance(node, ast.ImportFrom))


def _attribute_map(file: Path, name: str) -> dict[str, str]:
    """Other names of fields, such as GPT-2's `hidden_size` for `n_embd`."""
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == name:
            for item in node.body:
                targets = item.targets if isinstance(item, ast.Assign) else []
                if any(isinstance(t, ast.Name) and t.id == "attribute_map" for t in targets):
                    return dict.fromkeys(ast.literal_eval(item.value), "Any")  # type: ignore[attr-defined]
    return {}


def _older_names(file: Path, name: str) -> dict[str, str]:
    """Names that are no fields and are taken all the same, such as DeepSeek-V4's `num_hash_layers`."""
    tree = ast.parse(file.read_text())
    found = {}
    for node in ast.walk(next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name)):
        asked = isinstance(node, ast.Call) and ast.unparse(node.func) in ("kwargs.pop", "kwargs.get")
        if asked and isinstance(node.args[0], ast.Constant):  # type: ignore[attr-defined]
            found[str(node.args[0].value)] = "Any"  # type: ignore[attr-defined]
    return found


def _read_by_models(folder: Path) -> dict[str, str]:
    """What a model looks for in its configuration though it is no field, such as Qwen3-MoE's `head_dim`."""
    texts = (file.read_text() for file in folder.glob("modeling_*.py"))
    return dict.fromkeys(
        (name for text in texts for name in re.findall(r'getattr\((?:self\.)?config, "([a-z]\w*)"', text)),
        "Any",
    )


def _pairs(file: Path, name: str) -> dict[str, str]:
    for node in ast.parse(file.read_text()).body:
        named = isinstance(node, ast.Assign) and any(getattr(t, "id", "") == name for t in node.targets)
        if named and isinstance(node.value, ast.Call):  # type: ignore[attr-defined]
            return dict(ast.literal_eval(node.value.args[0]))  # type: ignore[attr-defined]
    return {}
