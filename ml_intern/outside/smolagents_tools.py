"""smolagents tools in a person's folder: objects, classes and decorated functions of its files.

They run on the host, behind the router. What a call does is told by an attribute ``effect`` of the tool; one
without it is asked about each time, as an MCP tool is. ``price_usd`` tells the dollars of a call, and
``repeatable`` in words why it may be made again after a crash; without it the brain is told instead.
"""

from __future__ import annotations

import inspect
import json
import sys
import threading
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticSerializationError

from ml_intern.errors import Interrupted, ToolError, UsageError
from ml_intern.outside.config import DEFAULT_EFFECT
from ml_intern.outside.results import keep_small
from ml_intern.outside.spec import OutsideSpec, declared_price
from ml_intern.outside.words import clean, one_line
from ml_intern.secrets.masking import mask_all
from ml_intern.tooling import EFFECTS, ToolSpec, did_you_mean, to_json

if TYPE_CHECKING:
    from ml_intern.context import ToolContext

FILES = ("image", "audio")
"""Inputs that a cell gives as a path which it may read."""
POLL_S = 0.1


def smolagents_tools(module: ModuleType) -> list[ToolSpec]:
    """The smolagents tools of a module: what it made, then classes of its own that need no arguments.

    Raises:
        UsageError: A class cannot be made into a tool, or an effect or a price is none.
    """
    library = sys.modules.get("smolagents")
    if library is None:  # a file with such a tool has imported it
        return []
    kind = library.Tool
    made = {id(v): v for v in vars(module).values() if isinstance(v, kind)}
    classes = {type(one) for one in made.values()}
    for value in vars(module).values():
        own = inspect.isclass(value) and issubclass(value, kind) and value.__module__ == module.__name__
        if own and value not in classes and not inspect.isabstract(value) and hasattr(value, "name"):
            instance = _make(value, module)
            made[id(instance)] = instance
    return [_spec(one, module) for one in made.values()]


def _make(kind: type, module: ModuleType) -> Any:
    try:
        return kind()
    except Exception as error:  # a person's own code, told as one line
        told = one_line(str(error), 200).rstrip(".")
        raise UsageError(
            f"{module.__file__}: {kind.__name__}() failed: {type(error).__name__}: {told}.",
            "Make the tool in the file, as in `search = MyTool(key)`.",
        ) from error


def _spec(tool: Any, module: ModuleType) -> ToolSpec:
    where = f"{module.__file__}: the tool {tool.name!r}"
    effect = getattr(tool, "effect", DEFAULT_EFFECT)
    if effect not in EFFECTS:
        guess = did_you_mean(str(effect), EFFECTS)
        raise UsageError(f"{where} has the effect {effect!r}, not one of {', '.join(EFFECTS)}{guess}.")
    usd = getattr(tool, "price_usd", None if effect == "compute" else 0.0)
    if usd is not None and not (isinstance(usd, int | float) and usd >= 0):
        raise UsageError(f"{where} has the price {usd!r}, not dollars.")
    try:
        return OutsideSpec(
            name=tool.name,
            function=partial(_call, tool, threading.Lock(), effect == "read"),
            effect=effect,
            subject=module.__name__.rpartition(".")[2],
            origin="smolagents",
            price=declared_price(usd),
            repeatable=str(getattr(tool, "repeatable", "") or ""),
            schema=_schema(tool.inputs),
            returns=_returns(tool),
            description=tool.description,
            speaker=f"smolagents tool {tool.name!r}",
        )
    except ToolError as error:
        raise UsageError(f"{module.__file__}: {error}") from None


def _schema(inputs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    parts = {}
    for name, given in inputs.items():
        kept = {
            k: v for k, v in given.items() if k in ("description", "enum", "items", "properties", "default")
        }
        kind = given["type"]
        if kind != "any":
            kept["type"] = "string" if kind in FILES else kind
        parts[name] = json.loads(json.dumps(kept, default=str))
    needed = [name for name, given in inputs.items() if not given.get("nullable")]
    return {"type": "object", "properties": parts, "required": needed}


def _returns(tool: Any) -> dict[str, Any]:
    known = tool.output_type in ("string", "boolean", "integer", "number", "array", "object")
    return getattr(tool, "output_schema", None) or ({"type": tool.output_type} if known else {})


def _call(
    tool: Any, busy: threading.Lock, repeatable: bool, ctx: ToolContext, arguments: dict[str, Any]
) -> Any:
    """Run it, one call at a time: such an object may keep what a call needs in itself."""
    for name, given in tool.inputs.items():
        if given["type"] in FILES and isinstance(arguments.get(name), str):
            arguments[name] = str(ctx.files.readable(arguments[name]))
    while not busy.acquire(timeout=POLL_S):
        if ctx.cancelled():
            raise Interrupted(f"The call of {tool.name} was stopped.")
    try:
        value = tool(**arguments)
    except Exception as error:
        if repeatable:
            raise  # the router tries again what passes by itself
        told = one_line(str(error), 300).rstrip(".")
        raise ToolError(f"{tool.name} failed: {type(error).__name__}: {told}.") from error
    finally:
        busy.release()
    return keep_small(mask_all(_plain(value)), ctx, tool.name)


def _plain(value: Any) -> Any:
    try:
        return to_json(value)
    except (PydanticSerializationError, ValueError, RecursionError):
        return {"kind": type(value).__name__, "text": clean(str(value), 2000)}
