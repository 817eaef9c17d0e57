"""Which files of a folder make which split, by their names or by the folder's own README."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from ml_intern.errors import ToolError
from ml_intern.tooling import did_you_mean

_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "development"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_SPLIT_OF = {word: split for split, words in _WORDS.items() for word in words}


def split_of(path: Path) -> str | None:
    """The split that a relative path names: in the file's name first, then in its folders, nearest first."""
    for part in reversed(path.parts):
        words = re.split(r"[^a-z]+", part.lower())
        found = next((_SPLIT_OF[word] for word in words if word in _SPLIT_OF), None)
        if found:
            return found
    return None


def layout(folder: Path, files: list[Path]) -> dict[str, list[Path]]:
    """Splits of a folder of data files: ``{"train": [...], "test": [...]}``.

    A folder with configurations (one folder each, or declared in the README) has names like ``main/train``;
    those of its default configuration are found without it too.
    """
    return _declared(folder, files) or _by_name(folder, files)


def choose(splits: dict[str, list[Path]], asked: str | None, source: str) -> str:
    """The split to read: the one asked for, else train, else the only one.

    Raises:
        ToolError: It is not there, or several stand to choice.
    """
    names = list(splits)
    if asked in splits:
        return asked
    # "train" is what callers ask for who did not look; "dev" and "val" are other words for validation.
    same = _SPLIT_OF.get(asked or "train")
    if same in splits:
        return str(same)
    if len(names) == 1 and asked in (None, "train"):
        return names[0]
    shown = ", ".join(names)
    if asked in (None, "train"):
        raise ToolError(
            f"{source} has no split 'train'.", f"Ask for one of {shown}, as in '{source}:{names[0]}'."
        )
    raise ToolError(f"{source} has no split {asked!r}{did_you_mean(asked, names)}.", f"It has: {shown}.")


def _by_name(folder: Path, files: list[Path]) -> dict[str, list[Path]]:
    named = {path: split_of(path.relative_to(folder)) for path in files}
    configs = {path: _config(path.relative_to(folder)) for path in files}
    several = len(set(configs.values())) > 1 and all(named.values()) and all(configs.values())
    found: dict[str, list[Path]] = {}
    for path in files:
        split = named[path] or "train"
        found.setdefault(f"{configs[path]}/{split}" if several else split, []).append(path)
    return _with_default(found, "default") if several else found


def _config(relative: Path) -> str | None:
    """The first folder, where it names neither a split nor just where the data is."""
    first = relative.parts[0] if len(relative.parts) > 1 else None
    return None if first is None or first == "data" or split_of(Path(first)) else first


def _declared(folder: Path, files: list[Path]) -> dict[str, list[Path]]:
    """The ``configs`` of the YAML at the head of README.md, as Hub datasets write them."""
    configs = [c for c in _front_matter(folder).get("configs") or [] if isinstance(c, dict)]
    found: dict[str, list[Path]] = {}
    default = "default"
    for config in configs:
        name = str(config.get("config_name", "default"))
        default = name if config.get("default") is True or len(configs) == 1 else default
        for split, patterns in _patterns(config.get("data_files")):
            matched = [
                p for p in files if any(fnmatch(p.relative_to(folder).as_posix(), g) for g in patterns)
            ]
            if matched:
                found.setdefault(f"{name}/{split}", []).extend(matched)
    return _with_default(found, default)


def _patterns(data_files: Any) -> Iterable[tuple[str, list[str]]]:
    if isinstance(data_files, str):
        yield "train", [data_files]
        return
    for entry in data_files if isinstance(data_files, list) else []:
        if isinstance(entry, str):
            yield "train", [entry]
        elif isinstance(entry, dict) and "path" in entry:
            paths = entry["path"]
            yield (
                str(entry.get("split", "train")),
                [paths] if isinstance(paths, str) else list(map(str, paths)),
            )


def _with_default(found: dict[str, list[Path]], default: str) -> dict[str, list[Path]]:
    """Splits of the default configuration go by their bare names, the others keep theirs."""
    return {name.removeprefix(f"{default}/"): paths for name, paths in found.items()}


def _front_matter(folder: Path) -> dict[str, Any]:
    readme = folder / "README.md"
    if not readme.is_file():
        return {}
    import yaml

    head = re.match(r"---\s*\n(.*?)\n---", readme.read_text("utf-8", "replace"), re.S)
    try:
        value = yaml.safe_load(head[1]) if head else {}
    except yaml.YAMLError:
        return {}
    return value if isinstance(value, dict) else {}
