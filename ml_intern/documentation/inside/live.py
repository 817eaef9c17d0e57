"""What an imported object says of itself, where its source is not enough: compiled, or docs that are made."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import importlib
import inspect
import io
from typing import Any

from ml_intern.documentation.inside import texts


def describe(name: str) -> dict[str, Any] | None:
    """The same as the source's description; None where nothing of that name can be imported."""
    found = _imported(name)
    if found is None:
        return None
    value, where = found
    doc = texts.clean(getattr(value, "__doc__", "") or "") if not _plain(value) else ""
    told = texts.parameters(doc)
    if inspect.isclass(value):
        told |= texts.parameters(texts.clean(getattr(value.__init__, "__doc__", "") or ""))
    file, line = _place(value)
    return {
        "name": where,
        "kind": _kind(value),
        "signature": _signature(value, where),
        "doc": texts.prose(doc) or (repr(value)[:2000] if _plain(value) else ""),
        "parameters": _parameters(value, told),
        "members": _members(value),
        "deprecated": texts.deprecated(doc),
        "file": file,
        "line": line,
        "package": (getattr(value, "__module__", None) or where).partition(".")[0],
        "how": "import",
    }


def _imported(name: str) -> tuple[Any, str] | None:
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            try:
                value: Any = importlib.import_module(".".join(parts[:count]))
            except Exception:  # noqa: BLE001 - somebody else's import may fail in any way; the source is told then
                continue
            try:
                for part in parts[count:]:
                    value = getattr(value, part)
            except Exception:  # noqa: BLE001 - the same for attributes of lazy modules
                return None
        return value, name
    return None


def _plain(value: Any) -> bool:
    return isinstance(value, (str, bytes, int, float, list, dict, tuple, set, type(None)))


def _kind(value: Any) -> str:
    if inspect.ismodule(value):
        return "module"
    if inspect.isclass(value):
        return (
            "enum"
            if issubclass(value, enum.Enum)
            else "dataclass"
            if dataclasses.is_dataclass(value)
            else "class"
        )
    if inspect.isroutine(value):
        return "function"
    return "property" if isinstance(value, property) else "constant"


def _signature(value: Any, name: str) -> str:
    short = name.rpartition(".")[2]
    if dataclasses.is_dataclass(value):
        return f"class {short}"
    try:
        return ("class " if inspect.isclass(value) else "") + short + str(inspect.signature(value))[:2000]
    except (TypeError, ValueError):
        return short


def _parameters(value: Any, told: dict[str, str]) -> list[dict[str, str]]:
    if dataclasses.is_dataclass(value):
        return [_field(item, told) for item in dataclasses.fields(value)]
    if not callable(value):
        return []
    try:
        found = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return [{"name": name, "type": "", "default": "", "help": text} for name, text in told.items()]
    return [_parameter(p, told) for p in found]


def _field(item: dataclasses.Field[Any], told: dict[str, str]) -> dict[str, str]:
    default = "" if item.default is dataclasses.MISSING else repr(item.default)
    if item.default_factory is not dataclasses.MISSING:
        default = f"{getattr(item.default_factory, '__name__', 'factory')}()"
    text = str(item.metadata.get("help", "")) if item.metadata else ""
    kind = item.type if isinstance(item.type, str) else inspect.formatannotation(item.type)
    return {
        "name": item.name,
        "type": kind,
        "default": default[:300],
        "help": text or told.get(item.name, ""),
    }


def _parameter(p: inspect.Parameter, told: dict[str, str]) -> dict[str, str]:
    star = "*" if p.kind is p.VAR_POSITIONAL else "**" if p.kind is p.VAR_KEYWORD else ""
    kind = "" if p.annotation is p.empty else inspect.formatannotation(p.annotation)
    default = "" if p.default is p.empty else repr(p.default)[:300]
    return {"name": star + p.name, "type": kind, "default": default, "help": told.get(p.name, "")}


def _members(value: Any) -> list[dict[str, str]]:
    if inspect.isclass(value) and issubclass(value, enum.Enum):
        return [{"name": m.name, "kind": "value", "summary": repr(m.value)} for m in value]
    if not (inspect.isclass(value) or inspect.ismodule(value)):
        return []
    return [{"name": n, "kind": "", "summary": ""} for n in dir(value) if not n.startswith("_")][:2000]


def _place(value: Any) -> tuple[str, int]:
    try:
        return inspect.getsourcefile(value) or "", inspect.getsourcelines(value)[1]
    except (TypeError, OSError):
        return "", 0
