"""A session as Markdown: to read, to paste into an issue."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ml_intern.export.notebook import said_beside
from ml_intern.export.story import Research, Step, Story


def to_markdown(story: Story) -> str:
    """Task, steps with code and observation, answer."""
    lines = [
        f"# {story.prompt}",
        "",
        f"Session `{story.id}` · {story.model} · {story.created} · {story.status or 'unfinished'}",
        "",
    ]
    if story.damage:
        lines += [f"**The journal is damaged ({story.damage}): this is what can be read of it.**", ""]
    for step in story.steps:
        lines += _step(step)
    if story.answer:
        lines += ["## Answer", "", story.answer, ""]
    return "\n".join(lines).rstrip() + "\n"


def _step(step: Step, heading: str = "##") -> Iterator[str]:
    yield f"{heading} Step {step.number}"
    yield ""
    for heard in step.heard:
        yield from ("The person:", "", *(f"> {line}" for line in heard.splitlines()), "")
    if said := said_beside(step.text):
        yield from (said, "")
    if step.code:
        yield from (*fenced("python", step.code), "")
    for research in step.research:
        yield from _research(research, f"{heading}#")
    if step.observation:
        yield from (*fenced("text", step.observation), "")


def _research(research: Research, heading: str) -> Iterator[str]:
    """A sub-agent's question, steps and answer."""
    yield f"{heading} {research.source}: {' '.join(research.question.split())}"
    yield ""
    for step in research.steps:
        yield from _step(step, f"{heading}#")
    if research.reason:
        yield from (f"No answer: {research.reason}", "")
    if research.answer:
        yield from (*fenced("text", research.answer), "")


def fenced(language: str, text: str) -> list[str]:
    """A block whose fence is longer than any in the text."""
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return [f"{fence}{language}", text.rstrip("\n"), fence]
