"""How tools are told to a brain: group by group, in full or in one line, so that many tools cost few tokens.

A group is what shares a subject. What a session nearly always needs is told in full; of the others the brain
reads the names and what they are for, and ``help("papers")`` in a cell tells it the rest when it needs them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

import yaml

from ml_intern.agent.counting import metered
from ml_intern.tooling import ToolSpec, did_you_mean

READING = ("papers", "docs", "code", "hub", "workspace")
"""Groups that a research sub-agent reads in full."""

NAMES_CHARS = 500
"""Of the names of a folded group, what is told; help() lists them all."""


@dataclass(frozen=True)
class Group:
    """The tools of one subject.

    Attributes:
        about: What they are for, in a line; nothing for groups from outside.
        shown: Told in full.
        folded: Told by name.
    """

    name: str
    about: str
    shown: tuple[ToolSpec, ...]
    folded: tuple[ToolSpec, ...]

    @property
    def names(self) -> str:
        """The folded tools' names, bounded."""
        told: list[str] = []
        room = NAMES_CHARS
        for spec in self.folded:
            room -= len(spec.name) + 2
            if room < 0:
                return f"{', '.join(told)} and {len(self.folded) - len(told)} more"
            told.append(spec.name)
        return ", ".join(told)


def grouped(tools: Iterable[ToolSpec], full: Sequence[str], room: int, task: str = "") -> list[Group]:
    """The groups in the order of `full`, then the others.

    Args:
        tools: All that cells may call.
        full: Groups and single tools that are told in full.
        room: Tokens that all groups from outside (a user's own tools, MCP servers) may take together; a group
            that is not in `full` and does not fit is folded.
        task: What the person asked for; a group that it is plainly about is told in full.
    """
    by_subject: dict[str, list[ToolSpec]] = {}
    for spec in tools:
        by_subject.setdefault(spec.subject, []).append(spec)
    asked = {*full, *_meant(task)}
    groups = []
    for name in sorted(by_subject, key=lambda name: full.index(name) if name in full else len(full)):
        specs = by_subject[name]
        if _ours(specs):
            shown = [spec for spec in specs if {name, spec.name} & asked]
        else:
            cost = metered("\n".join(map(told, specs)))
            fits = name in asked or cost <= room
            room -= cost if fits and name not in asked else 0
            shown = specs if fits else [spec for spec in specs if spec.name in asked]
        folded = [spec for spec in specs if spec not in shown]
        groups.append(Group(name, _about().get(name, {}).get("about", ""), tuple(shown), tuple(folded)))
    return groups


def told(spec: ToolSpec) -> str:
    """A tool as the prompt has it in full."""
    return f"- {spec.brief}\n    {spec.summary}"


def unknown(full: Sequence[str], tools: Sequence[ToolSpec]) -> list[str]:
    """A line for each name of the setting that means nothing here."""
    known = {name for spec in tools for name in (spec.subject, spec.name)} | _about().keys()
    return [
        f"Setting tool_groups: there is no group and no tool {name!r}{did_you_mean(name, known)}."
        for name in full
        if name not in known
    ]


def _ours(specs: Sequence[ToolSpec]) -> bool:
    return any(spec.origin == "ml_intern" for spec in specs)


def _meant(task: str) -> list[str]:
    """The groups that the words of a task ask for."""
    said = set(re.findall(r"[a-z]+", task.lower()))
    return [name for name, known in _about().items() if said & set(known.get("words", ()))]


@lru_cache(maxsize=1)
def _about() -> dict[str, dict[str, Any]]:
    text = resources.files("ml_intern.prompts").joinpath("groups.yaml").read_text(encoding="utf-8")
    found: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return found
