"""The tool reference: what the brain is told of each tool, for people."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import yaml

import ml_intern.prompts
from generating.markdown import Docstring, block, code, document, prose, sentence, table
from ml_intern.router.registry import load_tools
from ml_intern.settings import Settings
from ml_intern.tooling import ToolSpec

INTRO = """\
What cells can call. Every call passes the same router and gate. The effect says what the gate decides on:
`read` and `write` (in the workspace) are allowed, `compute` is allowed within the budget, `publish` asks
unless it is private, `destroy` asks. Where a tool has several effects, the gravest stands here.
`ml-intern tools NAME` shows one in the terminal, and `help(NAME)` shows it to the brain in a cell. [Your
own tools](../own-tools.md) join these."""


def page() -> str:
    """The whole page."""
    # Made without a source: what the machine's own settings name is not part of the reference.
    specs = load_tools(Settings.model_construct(tools=[]))
    groups = {name: list(found) for name, found in groupby(specs, key=lambda spec: spec.subject)}
    contents = table(
        ("group", "for", "tools"),
        [
            (code(n), prose(sentence(_about().get(n, ""))), ", ".join(map(_link, g)))
            for n, g in groups.items()
        ],
    )
    sections = [part for name, found in groups.items() for part in _group(name, found)]
    return document("Tools", INTRO, contents, *sections)


def _about() -> dict[str, str]:
    path = Path(next(iter(ml_intern.prompts.__path__))) / "groups.yaml"
    groups = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {name: str(group["about"]) for name, group in groups.items()}


def _link(spec: ToolSpec) -> str:
    return f"[{spec.name}](#{spec.name})"


def _group(name: str, specs: list[ToolSpec]) -> Iterator[str]:
    yield f"## Group {name}"
    for spec in specs:
        yield from _tool(spec)


def _tool(spec: ToolSpec) -> Iterator[str]:
    told = Docstring.of(spec.function)
    yield f"### {spec.name}"
    yield block(_signature(spec), "python")
    needs = f" Needs: {', '.join(map(code, spec.needs))}." if spec.needs else ""
    yield f"Effect: {code(spec.effect)}.{needs}"
    yield from told.prose
    described = told.sections.get("Args", {})
    yield table(("argument", "what"), [(code(n), prose(sentence(t))) for n, t in described.items() if n])
    for name, entries in told.sections.items():
        if name not in ("Args", "Example", "Examples"):
            yield f"{name}: " + " ".join(
                f"{code(n)}: {prose(sentence(t))}" if n else prose(t) for n, t in entries.items()
            )
    if told.examples:
        yield block("\n".join(told.examples), "python")
    yield _result(spec)


def _signature(spec: ToolSpec) -> str:
    """One line where it fits, else a line for each parameter."""
    if len(spec.signature) <= 100:
        return spec.signature
    name, _, rest = spec.signature.partition("(")
    _, arrow, returns = rest.rpartition(" -> ")
    parts = spec.shown_parameters
    lines = "".join(f"    {part},\n" for part in parts)
    return f"{name}(\n{lines}){arrow}{returns}"


def _result(spec: ToolSpec) -> str:
    """The types of what comes back, as the brain sees them."""
    if not spec.result_lines:
        return ""
    lines = (line.partition(": ") for line in spec.result_lines)
    return "\n".join(["Result:", "", *(f"- {code(name)}: {code(held)}" for name, _, held in lines)])
