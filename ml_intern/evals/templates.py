"""Chat templates and tokenizers beside the weights: hashed, compared, and looked through for held-out items.

A template is code that runs before every prompt, and an added token is a text that stands in the model's
folder: both could carry what an evaluation asks. They are read as texts here, never run.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ml_intern.evals.guard import SHORT
from ml_intern.evals.model import Item
from ml_intern.evals.rows import fold
from ml_intern.ledger.model import Comparison, Experiment

_LONG_WORDS = 25
"""Words of new literal text in a template from which on it is told. A default system prompt that a model
comes with is a sentence or two (Qwen2.5's has 11 words); who brings a longer one knows of it."""

_MOST = 4 << 20
"""Bytes of a file that is read; a tokenizer's own vocabulary is not looked through."""

_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"", re.S)
_CODE = re.compile(r"{%.*?%}|{{.*?}}|{#.*?#}", re.S)
_PASSING = ("truncation", "padding", "version")
"""What a training sets in a tokenizer's file as it runs, without making it another one."""


def templates(folder: Path) -> dict[str, str]:
    """The chat templates of a model by name; ``default`` is the one that is used."""
    told = _json(folder / "tokenizer_config.json").get("chat_template")
    if not isinstance(told, str | list):
        told = _json(folder / "chat_template.json").get("chat_template")
    found = {"default": told} if isinstance(told, str) else {}
    for each in told if isinstance(told, list) else ():
        if isinstance(each, Mapping):
            found[str(each.get("name", ""))] = str(each.get("template", ""))
    files = [folder / "chat_template.jinja", *sorted((folder / "additional_chat_templates").glob("*.jinja"))]
    for file in files:
        if file.is_file() and not file.is_symlink():
            found["default" if file.parent == folder else file.stem] = _text(file)
    return found


def hashes(folder: Path) -> dict[str, str]:
    """Hashes of a model's ``template`` and ``tokenizer``; ``none`` where it has none."""
    return {"template": _digest(templates(folder)), "tokenizer": _digest(_tokenizer(folder))}


def texts(folder: Path) -> Iterator[str]:
    """Every text beside the weights that could carry an item: templates with their literals, added tokens."""
    for template in templates(folder).values():
        yield template
        yield from literals(template)
    for name in (
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "generation_config.json",
    ):
        yield from _strings(_json(folder / name))
    yield from _strings(_json(folder / "tokenizer.json", most=256 << 20).get("added_tokens"))
    yield from _strings(_json(folder / "config.json"))


def holds(texts: Iterable[str], items: Iterable[Item]) -> bool:
    """Whether texts hold an item anywhere, however long the line that it stands in.

    The guard looks at rows of training data, of which there are millions; these texts are few and short.
    """
    whole = "  ".join(_words(text) for text in texts)
    asked = (_words(item.input) for item in items)
    return bool(whole.strip()) and any(len(item) >= SHORT and item in whole for item in asked)


def literals(template: str) -> list[str]:
    """What a template writes as it stands: the text between its code, and the strings in its code."""
    found = [part for part in _CODE.split(template) if part.strip()]
    for code in _CODE.findall(template):
        found += [_unescaped(a or b) for a, b in _QUOTED.findall(code)]
    return [text for text in found if text.strip()]


def new_text(made: Path, base: Path | None) -> str:
    """The longest text that a model's template writes and its base's does not; empty where it is short."""
    known = {_folded(text) for text in _written(base)} if base is not None else set()
    found = [text for text in _written(made) if _folded(text) not in known]
    longest = max(found, key=lambda text: len(text.split()), default="")
    return longest if len(longest.split()) > _LONG_WORDS else ""


def told_of(made: Path, base: Path | None, name: str) -> str:
    """What a reader should know of a model's template, in one sentence; nothing where nothing is odd."""
    if not (text := new_text(made, base)):
        return ""
    words = " ".join(text.split())
    of_base = f"which the template of its base {name} has not" if base is not None else "of its own"
    return f"The chat template puts {len(words.split())} words {of_base} before every prompt: {words[:80]!r}…"


def with_templates(found: Comparison, a: Experiment, b: Experiment, chat: bool) -> Comparison:
    """A comparison that says so where its sides were asked through different chat templates."""
    mine, theirs = b.made.get("template"), a.made.get("template")
    if not chat or not mine or not theirs or mine == theirs:
        return found
    note = (
        f"{b.id} and {a.id} were asked through different chat templates ({mine[:8]} and {theirs[:8]}): the "
        "difference is of the templates, too."
    )
    return found.model_copy(update={"notes": [*found.notes, note], "says": f"{found.says} {note}"})


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", fold(text)))


def _written(folder: Path) -> list[str]:
    return [text for template in templates(folder).values() for text in literals(template)]


def _tokenizer(folder: Path) -> dict[str, str]:
    whole = _json(folder / "tokenizer.json", most=256 << 20)
    if whole:
        kept = {name: value for name, value in whole.items() if name not in _PASSING}
        return {"tokenizer.json": json.dumps(kept, sort_keys=True)}
    files = [f for p in ("vocab.*", "merges.txt", "*.model") for f in sorted(folder.glob(p)) if f.is_file()]
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def _digest(parts: Mapping[str, str]) -> str:
    if not any(parts.values()):
        return "none"
    return hashlib.sha256(json.dumps(sorted(parts.items())).encode()).hexdigest()


def _strings(value: Any) -> Iterator[str]:
    """The strings in what JSON can carry, keys included, level by level."""
    level = [value]
    while level:
        inner: list[Any] = []
        for each in level:
            if isinstance(each, str):
                yield each
            elif isinstance(each, Mapping):
                inner += [*each.keys(), *each.values()]
            elif isinstance(each, list):
                inner += each
        level = inner


def _folded(text: str) -> str:
    return " ".join(text.split()).lower()


def _unescaped(text: str) -> str:
    return text.replace("\\n", "\n").replace("\\t", "\t").replace("\\'", "'").replace('\\"', '"')


def _json(file: Path, most: int = _MOST) -> dict[str, Any]:
    try:
        if file.is_symlink() or file.stat().st_size > most:
            return {}
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(file: Path) -> str:
    with file.open("rb") as opened:
        return opened.read(_MOST).decode("utf-8", "replace")
