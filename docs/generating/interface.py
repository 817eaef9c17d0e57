"""The reference of the Python interface: what `from ml_intern import …` gives, and what a tool gets."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import ml_intern
from generating.markdown import Docstring, block, code, document, prose, sentence
from ml_intern.context import ToolContext
from ml_intern.errors import ToolError
from ml_intern.hosting import Hosted
from ml_intern.router.approval import Answer

INTRO = """\
`from ml_intern import MLIntern` imports nothing heavy: the libraries come when they are used. The
settings that `MLIntern` takes stand in the [settings reference](settings.md), the events in [their
own](events.md)."""

TOOLS = "For [tools of your own](../own-tools.md)."
FACES = "For faces of your own: a session that lives in this process, while those who look at it come and go."


def page() -> str:
    """The whole page."""
    from ml_intern import MLIntern, RunResult, Settings, tool

    shown = {MLIntern, Answer, RunResult, Settings, tool, ToolError}
    missing = [name for name in ml_intern.__all__ if getattr(ml_intern, name) not in shown]
    assert not missing, f"docs/generating/interface.py does not tell {missing}"
    return document(
        "Python interface",
        INTRO,
        *_class(MLIntern),
        *_class(RunResult),
        *_class(Answer),
        *_class(Settings),
        *_function("tool", tool, "##"),
        TOOLS,
        *_class(ToolContext),
        *_class(ToolError),
        *_class(Hosted),
        FACES,
    )


def _class(kind: type) -> Iterator[str]:
    yield f"## {kind.__name__}"
    if not _is_settings(kind):
        yield block(f"{kind.__name__}{signature(kind)}", "python")
    yield from _told(Docstring.of(kind))
    for name, value in vars(kind).items():
        if name.startswith(("_", "model_", "settings_")):
            continue
        if isinstance(value, property | cached_property):
            yield f"### {kind.__name__}.{name}"
            yield from _told(Docstring.of(value))
        elif isinstance(value, classmethod) or inspect.isfunction(value):
            yield from _function(f"{kind.__name__}.{name}", getattr(value, "__func__", value), "###")


def _is_settings(kind: type) -> bool:
    return hasattr(kind, "model_fields")


def _function(name: str, function: Any, level: str) -> Iterator[str]:
    yield f"{level} {name}"
    yield block(f"{name}{signature(function)}", "python")
    yield from _told(Docstring.of(function))


def _told(told: Docstring) -> Iterator[str]:
    yield from told.prose
    for name, entries in told.sections.items():
        if name.startswith("Example"):
            yield block("\n".join(told.examples), "python")
            continue
        lines = (f"- {code(n)}: {prose(sentence(t))}" if n else f"- {prose(t)}" for n, t in entries.items())
        yield "\n".join([f"{name}:", "", *lines])


def signature(function: Any) -> str:
    """The parameters as they stand in the code, without ``self``; long ones on lines of their own."""
    try:
        found = inspect.signature(function)
    except (TypeError, ValueError):
        return "(...)"
    parts, bare = list[str](), False
    for p in found.parameters.values():
        if p.name in ("self", "cls"):
            continue
        if p.kind is p.KEYWORD_ONLY and not bare:
            bare = True
            parts.append("*")
        bare = bare or p.kind is p.VAR_POSITIONAL
        parts.append(_parameter(p))
    returns = found.return_annotation
    end = "" if returns in (inspect.Signature.empty, None, "None") else f" -> {returns}"
    line = f"({', '.join(parts)}){end}"
    return line if len(line) <= 90 else "(\n" + "".join(f"    {part},\n" for part in parts) + f"){end}"


def _parameter(p: inspect.Parameter) -> str:
    stars = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
    kind = "" if p.annotation is p.empty else f": {p.annotation}"
    default = "" if p.default is p.empty else f" = {_default(p.default)}"
    return f"{stars}{p.name}{kind}{default}"


def _default(value: Any) -> str:
    return "..." if callable(value) or "<" in repr(value) else repr(value)
