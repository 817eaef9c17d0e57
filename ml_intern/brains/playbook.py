"""Playbooks: cells written ahead with named slots, for machines without a language model.

A playbook is a Markdown file. Its front matter gives the sentences it understands and the slots with their
defaults; its body is prose for people and fenced python cells, in which ``{{ slot }}`` stands for a value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ml_intern.brains.playbook_head import FrontMatter
from ml_intern.brains.sentences import Sentence, closeness
from ml_intern.errors import InternError, UsageError

CONNECT = (
    "To connect a language model: --model openai:NAME --base-url URL (vLLM, llama.cpp, LM Studio, Ollama), "
    "--model hf:NAME with HF_TOKEN set, or --model anthropic:NAME with ANTHROPIC_API_KEY set."
)


class PlaybookFailed(InternError):
    """A cell of a playbook raised; there is nobody who could mend it."""


@dataclass(frozen=True)
class Cell:
    """A fenced python block, with the prose that stands before it.

    Attributes:
        prose: For people.
        code: Python with Jinja in it.
        line: Where its code begins in the file, counted from 1.
    """

    prose: str
    code: str
    line: int


@dataclass(frozen=True)
class Playbook:
    """A playbook file, read and checked.

    Attributes:
        path: The file.
        head: Its front matter.
        cells: Its cells, in order.
        shipped: True when the file came with the product.
    """

    path: Path
    head: FrontMatter
    cells: tuple[Cell, ...]
    shipped: bool

    @property
    def name(self) -> str:
        """The name that `--model playbook:NAME` takes."""
        return self.head.name

    @property
    def summary(self) -> str:
        """One line about what it does."""
        return self.head.summary

    @property
    def sentences(self) -> list[str]:
        """The sentences it understands."""
        return [sentence.pattern for sentence in self.head.sentences]

    def match(self, prompt: str) -> tuple[int, dict[str, Any]] | None:
        """How well a prompt fits, and the slot values it gives; None when it does not."""
        found = [
            (match.weight, self._values(sentence, match.texts))
            for sentence in self.head.sentences
            if (match := sentence.match(prompt, self._takes))
        ]
        return max(found, key=lambda f: f[0], default=None)

    def misfit(self, prompt: str) -> str:
        """What is wrong with the slot values of a sentence that fits otherwise; empty when none fits."""
        for sentence in self.head.sentences:
            match = sentence.match(prompt, lambda name, text: True)
            texts = match.texts if match else {}
            wrong = [name for name, text in texts.items() if not self._takes(name, text)]
            if wrong:
                try:
                    self.head.slots[wrong[0]].value(texts[wrong[0]])
                except ValueError as error:
                    return f"{wrong[0]}: {error}"
        return ""

    def defaults(self) -> dict[str, Any]:
        """The value of every slot where no sentence says otherwise."""
        return {name: slot.default for name, slot in self.head.slots.items()}

    def _takes(self, name: str, text: str) -> bool:
        return self.head.slots[name].takes(text)

    def _values(self, sentence: Sentence, texts: dict[str, str]) -> dict[str, Any]:
        given = {name: self.head.slots[name].value(text) for name, text in texts.items()}
        fixed = {name: self.head.slots[name].value(str(value)) for name, value in sentence.fixed}
        return {**self.defaults(), **fixed, **given}


def list_playbooks(
    folders: Sequence[Path] = (), on_problem: Callable[[str], None] | None = None
) -> list[Playbook]:
    """Every playbook, the person's own first, then those that ship.

    Args:
        folders: The person's own folders.
        on_problem: Told of a file that cannot be read; without it such a file is an error.

    Raises:
        UsageError: A file is no playbook.
    """
    found: dict[str, Playbook] = {}
    for folder in [*folders, shipped_folder()]:
        for path in sorted(Path(folder).expanduser().glob("*.md")):
            if path.name.lower() == "readme.md":
                continue  # A page about the playbooks beside it.
            try:
                playbook = load_playbook(path)
            except UsageError as error:
                if on_problem is None:
                    raise
                on_problem(str(error))
                continue
            found.setdefault(playbook.name, playbook)
    return list(found.values())


def shipped_folder() -> Path:
    """The folder of the playbooks that came with the product."""
    return Path(str(resources.files("ml_intern.prompts"))).resolve() / "playbooks"


def load_playbook(path: Path) -> Playbook:
    """Read and check one file.

    Raises:
        UsageError: Names the file and what is wrong with it.
    """
    path = path.resolve()
    try:
        return _parse(path, path.read_text(encoding="utf-8"), path.stat().st_mtime_ns)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The playbook {path} cannot be read: {error}.") from None


@lru_cache(maxsize=64)
def _parse(path: Path, text: str, changed: int) -> Playbook:
    head = re.match(r"\s*---[ \t]*\n(.*?)\n---[ \t]*\n", text, re.S)
    if head is None:
        raise UsageError(f"The playbook {path} has no front matter between two lines of ---.")
    try:
        front = FrontMatter.model_validate(yaml.safe_load(head[1]))
    except yaml.YAMLError as error:
        raise UsageError(
            f"The front matter of the playbook {path} is no YAML: {' '.join(str(error).split())}."
        ) from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"The playbook {path} is wrong in {where or 'its front matter'}: {first['msg']}."
        ) from None
    cells = _cells(text, head.end())
    if not cells:
        raise UsageError(f"The playbook {path} has no ```python cell.")
    return Playbook(path, front, cells, shipped=shipped_folder() in path.parents)


def _cells(text: str, at: int) -> tuple[Cell, ...]:
    """The fenced python blocks behind a place; a longer fence lets a cell contain a shorter one."""
    cells: list[Cell] = []
    fenced = re.compile(r"^(`{3,})python[ \t]*\n(.*?)^\1[ \t]*$", re.M | re.S)
    for match in fenced.finditer(text, at):
        line = text.count("\n", 0, match.start(2)) + 1
        cells.append(Cell(text[at : match.start()].strip(), match[2].rstrip("\n"), line))
        at = match.end()
    if cells and (rest := text[at:].strip()):
        cells[-1] = replace(cells[-1], prose=f"{cells[-1].prose}\n\n{rest}".strip())
    return tuple(cells)


def choose(prompt: str, playbooks: Sequence[Playbook]) -> tuple[Playbook, dict[str, Any]]:
    """The playbook that understands a prompt, and its slot values.

    Raises:
        UsageError: None does; lists the sentences and how to connect a language model.
    """
    matches = [(match, playbook) for playbook in playbooks if (match := playbook.match(prompt))]
    if not matches:
        raise UsageError(_not_understood(prompt, playbooks))
    (_, values), playbook = max(matches, key=lambda m: m[0][0])
    missing = [name for name, value in values.items() if value is None]
    if missing:
        raise UsageError(
            f"The playbook {playbook.name!r} needs a value for {', '.join(missing)}.",
            f"Sentences: {playbook.sentences}",
        )
    return playbook, values


def _not_understood(prompt: str, playbooks: Sequence[Playbook]) -> str:
    lines = [
        "The playbook brain is not a language model. It understands only its sentences; this is none of them."
    ]
    misfit = next((m for playbook in playbooks if (m := playbook.misfit(prompt))), "")
    ranked = sorted(
        ((closeness(prompt, s), s.pattern) for p in playbooks for s in p.head.sentences), key=lambda r: -r[0]
    )
    if misfit:
        lines[0] = (
            f"The playbook brain, which is no language model, cannot use a value in this sentence: {misfit}."
        )
    elif ranked and ranked[0][0] >= 0.45:
        lines.append(f'Did you mean this sentence: "{ranked[0][1]}"?')
    lines.append("Its sentences (words in {} are yours to choose, parts in [] may be left out):")
    for playbook in playbooks:
        lines += [f"  {sentence}" for sentence in playbook.sentences]
    return "\n".join([*lines, CONNECT])
