"""Renders what the brain is told, from `prompts/` and the tools' own declarations."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined, Template

from ml_intern.agent.groups import READING, Group, grouped
from ml_intern.agent.groups import told as tool_told
from ml_intern.brains.replies import CELL_TAGS
from ml_intern.sandbox.base import Limits, Sandbox
from ml_intern.settings import TOOL_GROUPS
from ml_intern.tooling import ToolSpec


@lru_cache(maxsize=8)
def _templates(name: str = "system") -> dict[str, str]:
    loaded: dict[str, str] = _read(name)
    return loaded


@lru_cache(maxsize=1)
def cells() -> list[dict[str, str]]:
    """The cells that the brain is shown: what each is about, and its code."""
    loaded: list[dict[str, str]] = _read("cells")
    return loaded


def _read(name: str) -> Any:
    text = resources.files("ml_intern.prompts").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def isolation(sandbox: Sandbox, limits: Limits) -> str:
    """What the brain is told about the walls around its cells, or about their absence."""
    template = _templates()["walls" if sandbox.isolated else "no_walls"]
    return _rendered(template, name=sandbox.name, limits=limits)


def walls() -> str:
    """What the brain is told behind the walls that are usual."""
    return _rendered(_templates()["walls"], name="local", limits=Limits(growth_mb=20_000))


def system_prompt(
    tools: Sequence[ToolSpec],
    groups: Sequence[str] = TOOL_GROUPS,
    room: int = 0,
    task: str = "",
    planning: bool = True,
    **facts: Any,
) -> str:
    """The system prompt: how to work, the tools by group, the facts of this session.

    Args:
        tools: All that cells may call.
        groups: Groups and single tools that are told in full; the others are named.
        room: Tokens that tools from outside may take in full.
        task: The person's sentence: a group that it is plainly about is told in full.
        planning: Ask for a plan.
        **facts: Of this session: ``isolation``, ``workspace``, ``facts``.
    """
    plan = _templates("planning")["start"].strip() if planning else ""
    told = _tools_told(grouped(tools, groups, room, task))
    return _rendered(_templates()["system"], **told, cells=cells(), planning=plan, **facts)


def research_prompt(tools: Sequence[ToolSpec], **facts: Any) -> str:
    """What a research sub-agent is told before its question; what reads is told in full."""
    return _rendered(_templates("research")["system"], **_tools_told(grouped(tools, READING, 0)), **facts)


def research_task(question: str, context: str) -> str:
    """The question, as the sub-agent reads it."""
    return _rendered(_templates("research")["task"], question=question, context=context)


def last_step_note() -> str:
    """What a sub-agent is told when one step is left."""
    return _templates("research")["last_step"]


def look_back(step: int, every: int) -> str:
    """What the brain is told after every so many steps, to look at its plan again; else nothing."""
    if not every or step % every:
        return ""
    return _rendered(_templates("planning")["look_back"], steps=step)


def replan() -> str:
    """What a brain is told that turns in circles."""
    return _templates("planning")["replan"].strip()


def parts(tools: Sequence[ToolSpec], *settings: Any) -> dict[str, str]:
    """What the system prompt is made of, by part; `settings` as for `system_prompt`, up to ``planning``."""
    *how, planning = settings
    groups = grouped(tools, *how)
    told = _tools_told(groups)
    found = {f"tools: {g.name}": "\n".join(map(tool_told, g.shown)) for g in groups if g.shown}
    found["tools that are named"] = "\n".join(f"- {g.name}, {g.about}: {g.names}" for g in told["folded"])
    found["fields of results"] = "\n".join(f"- {n}: {', '.join(f)}" for n, f in told["results"].items())
    found["cells that work"] = "\n".join(f"{cell['about']}\n{cell['code']}" for cell in cells())
    return found | ({"plan": _templates("planning")["start"]} if planning else {})


def _tools_told(groups: Sequence[Group]) -> dict[str, Any]:
    """What the templates tell of the tools: the groups, and the fields of what is told in full."""
    opening, closing = CELL_TAGS
    shown = [spec for group in groups for spec in group.shown]
    results = _shared({spec.result_type: list(spec.result_fields) for spec in shown if spec.result_type})
    folded = [group for group in groups if group.folded]
    return {"groups": groups, "folded": folded, "results": results, "opening": opening, "closing": closing}


def _shared(results: dict[str, list[str]]) -> dict[str, list[str]]:
    """The fields of each result; those of another result, where it has them all and more, by its name."""
    told = {}
    for name, fields in results.items():
        base = next((b for b, f in results.items() if 1 < len(f) < len(fields) and {*f} < {*fields}), None)
        more = [field for field in fields if field not in results[base]] if base else fields
        told[name] = [f"all of {base}", *more] if base else fields
    return told


def _rendered(template: str, **facts: Any) -> str:
    return _compiled(template).render(**facts).strip()


@lru_cache(maxsize=32)
def _compiled(template: str) -> Template:
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template)


def prompt_templates(system: str) -> dict[str, Any]:
    """What `CodeAgent` asks for at its construction. Our own loop plans and has sub-agents of its own."""
    return {
        "system_prompt": system,
        "planning": {"initial_plan": "", "update_plan_pre_messages": "", "update_plan_post_messages": ""},
        "managed_agent": {"task": "", "report": ""},
        "final_answer": {"pre_messages": "", "post_messages": ""},
    }
