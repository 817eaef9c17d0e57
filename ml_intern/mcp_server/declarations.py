"""What a client reads of a tool: made from the same declaration as everything else."""

from __future__ import annotations

import re
import typing
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

import mcp_types as types
from pydantic import TypeAdapter
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from ml_intern.mcp_server.words import RUN_CELL
from ml_intern.tooling import ToolSpec, did_you_mean

OPEN_SUBJECTS = frozenset({"papers", "code", "docs", "hub"})
"""Subjects whose tools meet the world outside of this machine."""
ASKS = {
    "publish": "It leaves this machine: a person may be asked first.",
    "destroy": "It cannot be undone: a person is asked first.",
    "compute": "It spends: it is held against the budget.",
}
RESULT = "result"
"""The one field of a result that is no object by itself."""


class Told(GenerateJsonSchema):
    """Schemas of what really arrives: JSON has no NaN, so a number may be null."""

    def float_schema(self, schema: Any) -> JsonSchemaValue:
        """A number, or null where it is none."""
        return {"anyOf": [super().float_schema(schema), {"type": "null"}]}


def chosen(specs: typing.Iterable[ToolSpec], wanted: typing.Sequence[str]) -> list[ToolSpec]:
    """The tools that are offered: all, or those of the named groups and globs."""
    if not wanted:
        return list(specs)
    return [s for s in specs if any(s.subject == w or fnmatchcase(s.name, w) for w in wanted)]


def misspelt(specs: typing.Sequence[ToolSpec], wanted: typing.Sequence[str]) -> list[str]:
    """A line for each name that means no tool."""
    known = {word for spec in specs for word in (spec.name, spec.subject)}
    return [
        f"There is no tool and no group {name!r}{did_you_mean(name, known)}."
        for name in wanted
        if not chosen(specs, [name])
    ]


def declared(spec: ToolSpec) -> types.Tool:
    """A tool as MCP lists it."""
    about = [described(spec), ASKS.get(spec.effect, "")]
    return types.Tool(
        name=spec.name,
        title=spec.name.replace("_", " ").strip().capitalize(),
        description="\n\n".join(filter(None, about)),
        input_schema=spec.json_schema(),
        output_schema=output_schema(spec),
        annotations=hints(spec),
        _meta={"ml-intern/effect": spec.effect, "ml-intern/group": spec.subject},
    )


def run_cell() -> types.Tool:
    """The tool that runs Python."""
    return types.Tool(
        name=RUN_CELL,
        title="Run a cell",
        description=(
            "Run Python in a persistent kernel behind the sandbox's walls: no network, no credentials. "
            "Variables stay from cell to cell. Every other tool is a function there, under the same rules: "
            "print(inspect_dataset('data.jsonl').rows); help() lists them. Print what you want to see."
        ),
        input_schema={
            "type": "object",
            "properties": {"code": {"type": "string", "description": "The Python to run."}},
            "required": ["code"],
            "additionalProperties": False,
        },
        annotations=types.ToolAnnotations(
            read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=True
        ),
        _meta={"ml-intern/effect": "write", "ml-intern/group": "cells"},
    )


def described(spec: ToolSpec) -> str:
    """The docstring without what the schemas say."""
    return re.sub(r"\n*^(?:Args|Raises):\n(?:(?: .*)?\n?)*", "\n", spec.doc, flags=re.M).strip()


def hints(spec: ToolSpec) -> types.ToolAnnotations:
    """Hints from the effect; a tool of somebody else's is not believed to be harmless."""
    ours = spec.origin in ("ml_intern", "user")
    reads = spec.effect == "read"
    changes = spec.effect == "destroy" or (spec.effect == "write" and spec.subject == "workspace")
    meets = bool(spec.needs) or spec.effect == "publish" or spec.subject in OPEN_SUBJECTS or not ours
    return types.ToolAnnotations(
        read_only_hint=reads,
        destructive_hint=not reads and (changes or not ours),
        idempotent_hint=reads or bool(spec.repeatable),
        open_world_hint=meets,
    )


@lru_cache(maxsize=512)
def _schema_of(annotation: Any) -> dict[str, Any] | None:
    try:
        found = TypeAdapter(annotation).json_schema(mode="serialization", schema_generator=Told)
    except (PydanticSchemaGenerationError, PydanticUserError, TypeError):
        return None
    return found


def output_schema(spec: ToolSpec) -> dict[str, Any] | None:
    """The schema of what comes back, an object; None where it is plain text or nobody says."""
    found = _returned(spec)
    return wrapped(found) if found and not is_object(found) else found


def wraps(spec: ToolSpec) -> bool:
    """Whether what comes back is put into an object, since it is none by itself."""
    found = _returned(spec)
    return found is not None and not is_object(found)


def _returned(spec: ToolSpec) -> dict[str, Any] | None:
    if spec.origin not in ("ml_intern", "user"):
        return None
    try:
        returns = spec.return_type
    except (NameError, TypeError):
        return None
    return None if returns in (None, str, Any, type(None)) else _schema_of(returns)


def is_object(schema: dict[str, Any]) -> bool:
    """Whether only objects fit."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return is_object(schema.get("$defs", {}).get(name, {}))
    return schema.get("type") == "object"


def wrapped(schema: dict[str, Any]) -> dict[str, Any]:
    """An object with the one field that holds it."""
    inner = {key: value for key, value in schema.items() if key != "$defs"}
    defs = {"$defs": schema["$defs"]} if "$defs" in schema else {}
    return {"type": "object", "properties": {RESULT: inner}, "required": [RESULT], **defs}
