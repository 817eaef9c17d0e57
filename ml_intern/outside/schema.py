"""JSON schemas read as types: what an outside tool takes, checked on the host and told in words.

The subset is what tools use: types, choices, nested objects, lists, unions, local references, bounds. What is
not understood is let through, since the tool checks its arguments itself. Regular expressions of a schema are
left to the tool: one written with bad intent could keep the host busy for ever. Nothing is ever fetched.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    create_model,
    model_serializer,
)

from ml_intern.outside.words import one_line

DEEPEST = 6
MOST_CHOICES = 200
MOST_BRANCHES = 8
MOST_FIELDS = 64
LONGEST_TYPE = 160

Schema = Mapping[str, Any]
_PLAIN = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}


class Given(BaseModel):
    """Arguments of which only those that were given are told and sent: the tool knows its own defaults."""

    model_config = ConfigDict(extra="forbid", serialize_by_alias=True, protected_namespaces=())

    @model_serializer(mode="wrap")
    def _only_given(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        unset = {fields[name].alias for name in fields.keys() - self.model_fields_set}
        return {name: value for name, value in serialize(self).items() if name not in unset}


class Open(Given):
    """The same, for objects that may hold more than their schema names."""

    model_config = ConfigDict(extra="allow")


def properties(schema: Schema) -> dict[str, Schema]:
    """The named parts of an object's schema."""
    found = schema.get("properties")
    if not isinstance(found, Mapping):
        return {}
    return {str(name): part if isinstance(part, Mapping) else {} for name, part in found.items()}


def required(schema: Schema) -> set[str]:
    """Which of them must be there."""
    found = schema.get("required")
    return {name for name in found if isinstance(name, str)} if isinstance(found, list) else set()


def make_model(
    name: str, schema: Schema, root: Schema, names: Mapping[str, str] | None = None, depth: int = 0
) -> type[BaseModel]:
    """The pydantic model of an object's schema.

    Args:
        name: Shown in errors.
        schema: The object's.
        root: Where local references point into.
        names: What the cell calls a property, by the tool's own name for it; nothing: as the tool does.
        depth: How deep the object lies in the arguments.
    """
    columns: dict[str, Any] = {}
    needed = required(schema)
    for number, (raw, part) in enumerate(properties(schema).items()):
        alias = names[raw] if names else raw
        # Pydantic keeps names such as `model_dump`, `copy` or `_id` for itself: such a field gets a number.
        own = names is not None and not hasattr(BaseModel, alias)
        kind, told = annotation(part, root, depth + 1), one_line(str(part.get("description") or ""), 300)
        default = ... if raw in needed else None
        columns[alias if own else f"f{number}"] = (
            kind if raw in needed else kind | None if kind is not Any else Any,
            Field(default, alias=alias, description=told or None),
        )
    more = schema.get("additionalProperties")
    # Unlike the letter of JSON schema, arguments that nobody declared are a mistake of who writes the call.
    is_open = bool(more) if depth == 0 else more is not False
    model: type[BaseModel] = create_model(name, __base__=Open if is_open else Given, **columns)
    return model


def annotation(schema: Any, root: Schema, depth: int = 0) -> Any:
    """The type of one value; `Any` where the schema says nothing that is understood."""
    schema = resolve(schema, root)
    if not schema or depth > DEEPEST:
        return Any
    if choices := _choices(schema):
        return Literal[tuple(choices)]
    if branches := _branches(schema):
        return _union([annotation(branch, root, depth + 1) for branch in branches])
    kind = schema.get("type")
    if isinstance(kind, list):
        return _union([annotation({**schema, "type": one}, root, depth + 1) for one in kind[:MOST_BRANCHES]])
    return _typed(kind, schema, root, depth)


def _typed(kind: Any, schema: Schema, root: Schema, depth: int) -> Any:
    if kind == "string":
        return Annotated[str, _bounds(schema, min_length="minLength", max_length="maxLength")]
    if kind in ("integer", "number"):
        bounds = _bounds(schema, ge="minimum", le="maximum", gt="exclusiveMinimum", lt="exclusiveMaximum")
        # A whole number stays one: 3 is not sent as 3.0.
        return Annotated[int, bounds] if kind == "integer" else Annotated[int | float, bounds]
    if kind == "array":
        items: Any = annotation(schema.get("items"), root, depth + 1)
        return Annotated[list[items], _bounds(schema, min_length="minItems", max_length="maxItems")]
    if kind == "object" or (kind is None and properties(schema)):
        if 0 < len(properties(schema)) <= MOST_FIELDS:
            return make_model("object", schema, root, depth=depth + 1)
        return dict[str, Any]
    return {"boolean": bool, "null": None}.get(str(kind), Any)


def _bounds(schema: Schema, **keys: str) -> Any:
    found: dict[str, Any] = {}
    for name, key in keys.items():
        bound = schema.get(key)
        if isinstance(bound, bool) or not isinstance(bound, int | float):
            continue
        if "length" not in name or (isinstance(bound, int) and bound >= 0):
            found[name] = bound
    return Field(**found)


def _choices(schema: Schema) -> list[Any]:
    found = [schema["const"]] if "const" in schema else schema.get("enum")
    if not isinstance(found, list) or not 0 < len(found) <= MOST_CHOICES:
        return []
    return found if all(isinstance(one, str | int | None) for one in found) else []


def _branches(schema: Schema) -> list[Any]:
    for key in ("anyOf", "oneOf", "allOf"):
        found = schema.get(key)
        if (
            isinstance(found, list)
            and 0 < len(found) <= MOST_BRANCHES
            and (key != "allOf" or len(found) == 1)
        ):
            return found
    return []


def _union(kinds: list[Any]) -> Any:
    return Any if not kinds or Any in kinds else reduce(or_, kinds)


def resolve(schema: Any, root: Schema) -> Schema:
    """Follow local references (``#/$defs/x``); empty for what leads elsewhere, nowhere or in a circle."""
    for _ in range(DEEPEST):
        if not isinstance(schema, Mapping):
            return {}
        pointer = schema.get("$ref")
        if not isinstance(pointer, str):
            return schema
        if not pointer.startswith("#/"):
            return {}
        found: Any = root
        for part in pointer[2:].split("/"):
            found = (
                found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
            )
        schema = found
    return {}


def type_words(schema: Any, root: Schema, depth: int = 0) -> str:
    """A schema as a Python type that a person reads: ``list[str] | None``."""
    shown = _type_words(schema, root, depth)
    return shown if len(shown) <= LONGEST_TYPE else "Any"


def _type_words(schema: Any, root: Schema, depth: int) -> str:
    schema = resolve(schema, root)
    if not schema or depth > 3:
        return "Any"
    if choices := _choices(schema):
        return " | ".join(repr(one_line(c, 40) if isinstance(c, str) else c) for c in choices[:20])
    if branches := _branches(schema):
        return " | ".join(dict.fromkeys(_type_words(b, root, depth + 1) for b in branches))
    kind = schema.get("type")
    if isinstance(kind, list):
        return " | ".join(
            _type_words({**schema, "type": one}, root, depth + 1) for one in kind[:MOST_BRANCHES]
        )
    if kind == "array":
        return f"list[{_type_words(schema.get('items'), root, depth + 1)}]"
    if kind == "object":
        parts = properties(schema)
        inner = [f"{one_line(n, 40)}: {_type_words(p, root, depth + 1)}" for n, p in list(parts.items())[:12]]
        return f"{{{', '.join(inner)}}}" if inner else "dict"
    return _PLAIN.get(str(kind), "Any")
