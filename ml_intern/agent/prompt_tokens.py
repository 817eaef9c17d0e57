"""What the prompts cost: tokens of the system prompt, part by part, and of what sub-agents are told."""

from __future__ import annotations

from collections.abc import Sequence

from ml_intern.agent.counting import counters
from ml_intern.agent.instructions import parts, research_prompt, system_prompt, walls
from ml_intern.settings import Settings
from ml_intern.tooling import ToolSpec

FOLDER = "/home/you/.local/state/ml-intern/sessions/20260101-120000-0000/workspace"

Table = dict[str, dict[str, int]]
"""Tokens by part of the prompt, and by who counts."""


def count(tools: Sequence[ToolSpec], settings: Settings, task: str = "") -> Table:
    """Tokens by part: the text, the tools, all together, and a sub-agent's whole prompt.

    What a session tells of itself (budget, evals, machine) is some 200 tokens on top.

    Args:
        tools: All that cells may call.
        settings: Say which groups are told in full.
        task: The person's sentence.
    """
    how = settings.tool_groups, settings.tool_tokens, task, bool(settings.planning)
    whole = system_prompt(tools, *how, isolation=walls(), workspace=FOLDER, facts="")
    known = counters()
    made = {part: _counted(text) for part, text in parts(tools, *how).items()}
    total = _counted(whole)
    text = {name: total[name] - sum(row[name] for row in made.values()) for name in known}
    reads = [spec for spec in tools if spec.effect == "read"]
    room = {"isolation": walls(), "workspace": FOLDER, "scratch": FOLDER, "facts": ""}
    beside = _counted(research_prompt(reads, **room, steps=settings.research_steps, sentences=12))
    return {"text": text, **made, "the whole system prompt": total, "a research sub-agent's": beside}


def _counted(text: str) -> dict[str, int]:
    return {name: counter(text) for name, counter in counters().items()}
