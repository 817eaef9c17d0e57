"""The cells that prompts show run: each call fits the tool's signature, each field is one of its result."""

from __future__ import annotations

import builtins
import dataclasses
import inspect
import re
import types
import typing
from importlib import resources
from typing import Any, Literal

import pytest
import yaml
from pydantic import BaseModel

from ml_intern.agent.instructions import cells
from ml_intern.router.registry import load_tools
from ml_intern.settings import Settings
from ml_intern.tooling import ToolSpec

TOOLS = {spec.name: spec for spec in load_tools(Settings())}


class Seen(dict[str, Any]):
    """What a tool returned, as a cell has it: fields are attributes too."""

    def __getattr__(self, name: str) -> Any:
        if name not in self:
            raise AssertionError(f"no field {name!r}; there are: {', '.join(self)}")
        return self[name]


def made(kind: Any) -> Any:
    """A value of a type, with something in every list; of several types the first."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType, typing.Annotated):
        return made(inner[0])
    if origin is Literal:
        return inner[0]
    if origin in (list, tuple):
        return [made(inner[0]) if inner else 0]
    if origin is dict:
        return {"name": made(inner[1])}
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return Seen({name: made(f.annotation) for name, f in kind.model_fields.items() if not f.exclude})
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return Seen({f.name: made(hints[f.name]) for f in dataclasses.fields(kind)})
    return kind() if kind in (str, int, float, bool, dict, list) else None


class Standing:
    """Stands in for a tool: checks the call as the router does and gives back what the tool could."""

    def __init__(self, spec: ToolSpec, called: list[str]) -> None:
        self.spec, self.called = spec, called

    def __call__(self, *given: Any, **named: Any) -> Any:
        bound = inspect.Signature(self.spec.parameters).bind(*given, **named)
        self.spec.validate(bound.arguments)
        self.called.append(self.spec.name)
        wanted = typing.get_type_hints(self.spec.function).get("return")
        if self.spec.name == "wait_for_job":
            jobs = bound.arguments["job"]
            several = isinstance(jobs, list)
            status = [made(typing.get_args(wanted)[0]) | {"state": "succeeded"} for _ in range(2)]
            return [*map(Seen, status)][: len(jobs)] if several else Seen(status[0])
        return made(wanted)


def namespace(called: list[str]) -> dict[str, Any]:
    standing = {name: Standing(spec, called) for name, spec in TOOLS.items()}
    answer = {"final_answer": lambda text: None, "ToolError": Exception}
    return {**standing, **answer, "print": lambda *told: None}


def test_the_cells_that_work_run_in_their_order() -> None:
    called: list[str] = []
    names = namespace(called)
    for shown in cells():
        exec(compile(shown["code"], shown["about"], "exec"), names)
    assert {"extract_recipe", "split_dataset", "launch_training", "compare_experiments"} <= set(called)


@pytest.mark.parametrize("name", ["system", "research"])
def test_the_cell_that_shows_the_form_runs(name: str) -> None:
    text = prompt(name)["system"]
    [code] = re.findall(
        r"\{\{ opening \}\}\n(.*?)\{\{ closing \}\}", text.split("# Cells that work")[0], re.S
    )
    called: list[str] = []
    exec(code, namespace(called))
    assert called


@pytest.mark.parametrize("name", ["system", "research", "planning", "compaction"])
def test_a_prompt_names_no_call_that_does_not_exist(name: str) -> None:
    """`name(…)` in the words of a prompt is a tool, with arguments that it takes."""
    words = "\n".join(map(str, prompt(name).values()))
    words = re.sub(r"\{\{.*?\}\}|\{%.*?%\}", "", words)
    known = {*TOOLS, *dir(builtins), "final_answer"}
    calls = re.findall(r"\b([a-z]\w*)\(([^()\n]*)\)", words)
    assert [tool for tool, _ in calls if tool not in known] == []
    for tool, given in calls:
        if tool in TOOLS:
            taken = {p.name for p in TOOLS[tool].parameters}
            assert set(re.findall(r"\b(\w+)=", given)) <= taken, (tool, given)


@pytest.mark.parametrize("name", ["system", "research", "groups"])
def test_every_name_with_an_underscore_is_known(name: str) -> None:
    text = resources.files("ml_intern.prompts").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    words = re.sub(r"\{\{.*?\}\}|\{%.*?%\}", "", text)
    fields = {field for spec in TOOLS.values() for field in spec.result_fields}
    taken = {p.name for spec in TOOLS.values() for p in spec.parameters}
    known = {*TOOLS, *fields, *taken, *prompt(name), "higher_is_better", "final_answer"}
    assert set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", words)) - known == set()


def prompt(name: str) -> dict[str, Any]:
    text = resources.files("ml_intern.prompts").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def test_a_wrong_field_would_be_seen() -> None:
    names = namespace([])
    with pytest.raises(AssertionError, match="no field 'modle'"):
        exec("print(job_status('x').modle)", names)
    with pytest.raises(TypeError, match="sectoin"):
        exec("read_paper('2401.00001', sectoin='1')", names)
