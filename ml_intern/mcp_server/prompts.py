"""Ways to begin that a client shows to its person: how to work, and the playbooks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import mcp_types as types

from ml_intern.errors import UsageError

if TYPE_CHECKING:
    from ml_intern.brains.playbook import Playbook
    from ml_intern.settings import Settings

EXPERIMENT = "experiment"
TASK = types.PromptArgument(name="task", description="What is to be done, in a sentence.", required=True)


def listed(settings: Settings) -> list[types.Prompt]:
    """All prompts."""
    found = [
        types.Prompt(
            name=EXPERIMENT,
            title="Work like ML Intern",
            description="How to get from a sentence to a model whose every number can be traced.",
            arguments=[TASK],
        )
    ]
    return found + [_of_playbook(p) for p in _playbooks(settings) if p.name != EXPERIMENT]


def filled(settings: Settings, name: str, given: Mapping[str, str]) -> types.GetPromptResult:
    """A prompt with its arguments.

    Raises:
        UsageError: There is none of that name, or an argument is none or is missing.
    """
    if name == EXPERIMENT:
        return _said(f"{how_to_work()}\n\n# The task\n{given.get('task', '').strip() or 'Ask what it is.'}")
    playbook = next((p for p in _playbooks(settings) if p.name == name), None)
    if playbook is None:
        raise UsageError(f"There is no prompt {name[:80]!r}.", "prompts/list names those that there are.")
    if unknown := given.keys() - playbook.head.slots.keys():
        raise UsageError(f"The prompt {name} takes no argument {sorted(unknown)[0][:80]!r}.")
    values = {**playbook.defaults()}
    for slot, text in given.items():
        if not playbook.head.slots[slot].takes(text):
            raise UsageError(f"{slot} = {text[:80]!r} does not fit: {playbook.head.slots[slot].help}.")
        values[slot] = playbook.head.slots[slot].value(text)
    if missing := [slot for slot, value in values.items() if value is None]:
        told = "; ".join(f"{slot}: {playbook.head.slots[slot].help}" for slot in missing)
        raise UsageError(f"The prompt {name} needs {' and '.join(missing)} ({told}).", "Ask for it again.")
    return _said(plan(playbook, values))


def how_to_work() -> str:
    """Of what our own brain is told, the part that holds for any assistant."""
    from ml_intern.agent.instructions import _templates

    whole = _templates()["system"]
    return "# How to work" + whole.partition("# How to work")[2].partition("{%")[0].rstrip()


def plan(playbook: Playbook, values: Mapping[str, object]) -> str:
    """A playbook's cells with the values filled in, to be followed call by call."""
    from ml_intern.brains.playbook_cells import fill_cell, fill_prose

    lines = [
        f"Follow this plan of ML Intern's ({playbook.summary}). Each block is Python over the tools: run it "
        "with run_cell where that is offered, else make the same calls one by one. Stop where a number says."
    ]
    for cell in playbook.cells:
        where = f"playbook {playbook.name}"
        lines += [
            "",
            fill_prose(cell.prose, values, where),
            f"```python\n{fill_cell(cell.code, values, where)}\n```",
        ]
    return "\n".join(lines)


def _playbooks(settings: Settings) -> list[Playbook]:
    from ml_intern.brains.playbook import list_playbooks

    return list_playbooks(settings.playbooks, lambda problem: None)


def _of_playbook(playbook: Playbook) -> types.Prompt:
    slots = [
        types.PromptArgument(name=name, description=slot.help or None, required=slot.default is None)
        for name, slot in playbook.head.slots.items()
    ]
    return types.Prompt(name=playbook.name, description=playbook.summary, arguments=slots)


def _said(text: str) -> types.GetPromptResult:
    message = types.PromptMessage(role="user", content=types.TextContent(text=text))
    return types.GetPromptResult(messages=[message])
