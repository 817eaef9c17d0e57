"""A session as a Jupyter notebook (nbformat 4.5): what was said, the cells, their outputs."""

from __future__ import annotations

import json
from typing import Any

from ml_intern.brains.replies import CELL_TAGS
from ml_intern.export.story import Call, Research, Step, Story

CALL_CHARS = 120


def to_notebook(story: Story) -> str:
    """The notebook as JSON."""
    cells = [_words("task", f"# {story.prompt}\n\nSession {story.id}, {story.model}.")]
    for step in story.steps:
        if step.heard:
            cells.append(_words(f"heard-{step.number}", "**The person:** " + "\n\n".join(step.heard)))
        if said := said_beside(step.text):
            cells.append(_words(f"said-{step.number}", said))
        if step.code:
            cells.append(_code(step))
        cells += [_words(r.source.replace(":", "-"), told_research(r)) for r in step.research]
    if story.answer:
        cells.append(_words("answer", f"## Answer\n\n{story.answer}"))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = {
        "cells": cells,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(notebook, ensure_ascii=False, indent=1) + "\n"


def said_beside(text: str) -> str:
    """A reply without its cell."""
    opening, closing = CELL_TAGS
    before, _, rest = text.partition(opening)
    return "\n".join(part.strip() for part in (before, rest.rpartition(closing)[2]) if part.strip())


def told_research(research: Research) -> str:
    """What a sub-agent was asked, what it called and what it answered; its cells ran in another kernel."""
    calls = [f"- {call.tool}({_shown(call)})" for step in research.steps for call in step.calls]
    ended = f"No answer: {research.reason}\n\n{research.answer}" if research.reason else research.answer
    head = f"**{research.source}** {research.question}"
    return "\n\n".join(filter(None, [head, "\n".join(calls), ended]))


def _shown(call: Call) -> str:
    shown = ", ".join(f"{name}={value!r}" for name, value in call.arguments.items() if value is not None)
    return shown if len(shown) <= CALL_CHARS else shown[: CALL_CHARS - 1] + "…"


def _words(name: str, text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": _lines(text)}


def _code(step: Step) -> dict[str, Any]:
    stream = "stdout" if step.ok is not False else "stderr"
    shown = {"output_type": "stream", "name": stream, "text": _lines(step.observation)}
    return {
        "cell_type": "code",
        "id": f"step-{step.number}",
        "metadata": {},
        "execution_count": step.number,
        "source": _lines(step.code),
        "outputs": [shown] if step.observation else [],
    }


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)
