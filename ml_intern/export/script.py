"""A session as one Python script: its cells in order, for people to read, change and take parts of."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ml_intern.export.story import Story


def to_script(story: Story) -> str:
    """The cells, with what came of them as comments; the tools that they call are named on top."""
    tools = sorted({call.tool for step in story.cells for call in step.calls})
    head = [
        f'"""{_quoted(story.prompt)}',
        "",
        f"Exported from session {story.id} ({story.model}), which ended as {story.status or 'unfinished'}.",
        "`ml-intern replay` runs it with its tools. Outside of a session the tools are missing: "
        f"{', '.join(tools) or 'none was called'}.",
        '"""',
        "",
    ]
    body = [line for step in story.cells for line in _cell(step.number, step.code, step.ok, step.observation)]
    return "\n".join([*head, *body]).rstrip() + "\n"


def _cell(number: int, code: str, ok: bool | None, observation: str) -> Iterator[str]:
    yield f"# %% step {number}" + ("" if ok else ": failed" if ok is False else ": not finished")
    # What does not parse would break the whole file.
    yield from code.splitlines() if parses(code) else (f"# {line}" for line in code.splitlines())
    yield from (f"#> {line}" for line in observation.splitlines()[:20])
    yield ""


def parses(code: str) -> bool:
    """Whether it is Python as it stands."""
    try:
        ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
