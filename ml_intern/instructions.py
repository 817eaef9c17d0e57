"""Renders what the brain is told at the start, from `prompts/system.yaml` and the tools' own declarations."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined

from ml_intern.brains.replies import CELL_TAGS
from ml_intern.sandbox.base import Limits, Sandbox
from ml_intern.tooling import ToolSpec


@lru_cache(maxsize=4)
def _templates(name: str = "system") -> dict[str, str]:
    text = resources.files("ml_intern.prompts").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    loaded: dict[str, str] = yaml.safe_load(text)
    return loaded


def isolation(sandbox: Sandbox, limits: Limits) -> str:
    """What the brain is told about the walls around its cells, or about their absence."""
    template = _templates()["walls" if sandbox.isolated else "no_walls"]
    return _rendered(template, name=sandbox.name, limits=limits)


def system_prompt(tools: Sequence[ToolSpec], **facts: Any) -> str:
    """The system prompt: how to work, the tools by subject, the facts of this session."""
    subjects = _by_subject(tools)
    results = _shared({s.result_type: list(s.result_fields) for s in tools if s.result_type})
    opening, closing = CELL_TAGS
    return _rendered(
        _templates()["system"], subjects=subjects, results=results, opening=opening, closing=closing, **facts
    )


def research_prompt(tools: Sequence[ToolSpec], **facts: Any) -> str:
    """What a research sub-agent is told before its question."""
    opening, closing = CELL_TAGS
    template = _templates("research")["system"]
    return _rendered(template, subjects=_by_subject(tools), opening=opening, closing=closing, **facts)


def research_task(question: str, context: str) -> str:
    """The question, as the sub-agent reads it."""
    return _rendered(_templates("research")["task"], question=question, context=context)


def last_step_note() -> str:
    """What a sub-agent is told when one step is left."""
    return _templates("research")["last_step"]


def _shared(results: dict[str, list[str]]) -> dict[str, list[str]]:
    """The fields of each result; those of another result, where it has them all and more, by its name."""
    told = {}
    for name, fields in results.items():
        base = next((b for b, f in results.items() if 1 < len(f) < len(fields) and {*f} < {*fields}), None)
        more = [field for field in fields if field not in results[base]] if base else fields
        told[name] = [f"all of {base}", *more] if base else fields
    return told


def _by_subject(tools: Sequence[ToolSpec]) -> dict[str, list[ToolSpec]]:
    subjects: dict[str, list[ToolSpec]] = {}
    for spec in tools:
        subjects.setdefault(spec.subject, []).append(spec)
    return subjects


def _rendered(template: str, **facts: Any) -> str:
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(**facts).strip()


def prompt_templates(system: str) -> dict[str, Any]:
    """What `CodeAgent` asks for at its construction. Planning and managed agents are not used yet."""
    return {
        "system_prompt": system,
        "planning": {"initial_plan": "", "update_plan_pre_messages": "", "update_plan_post_messages": ""},
        "managed_agent": {"task": "", "report": ""},
        "final_answer": {"pre_messages": "", "post_messages": ""},
    }
