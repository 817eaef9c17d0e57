"""One declaration per tool: a typed function with a docstring becomes everything else.

`@tool` reads the signature and the Google-style docstring of a function once and derives the argument model
(validation, "did you mean"), the help that the brain reads, the parameters from which the kernel makes its
proxy, and a JSON schema. The first parameter, ``ctx``, is the host's and is shown to nobody.
"""

from __future__ import annotations

import difflib
import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model
from pydantic.fields import FieldInfo

from ml_intern.errors import ToolError
from ml_intern.prices import Price

Effect = Literal["read", "write", "compute", "publish", "destroy"]
EFFECTS: tuple[Effect, ...] = typing.get_args(Effect)

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class ToolSpec:
    """What the rest of the house knows about a tool.

    Attributes:
        subject: Under what it is listed: ``SUBJECT`` of its file, else the file's name.
    """

    name: str
    function: Callable[..., Any]
    effect: Effect
    needs: tuple[str, ...] = ()
    subject: str = ""
    price: Callable[[Any, Any], Price] | None = None
    reconcile: Callable[[Any, str], Any] | None = None
    repeatable: str = ""
    prepare: Callable[[Any, Any], Any] | None = None
    effect_of: Callable[[Any], Effect] | None = None
    quiet: tuple[str, ...] = ()
    """Fields of its result that are there to be read and not printed; then empty ones are not, either."""
    origin: str = "ml_intern"
    """Who made it: ``ml_intern``, ``user`` (a file in a tools folder), ``smolagents``, ``mcp:SERVER``."""

    @cached_property
    def parameters(self) -> list[inspect.Parameter]:
        """The parameters that a cell may pass, in order; ``ctx`` is left out."""
        hints = typing.get_type_hints(self.function, include_extras=True)
        found = list(inspect.signature(self.function).parameters.values())[1:]
        return [p.replace(annotation=hints.get(p.name, Any)) for p in found]

    @cached_property
    def arguments(self) -> type[BaseModel]:
        """The pydantic model of the arguments."""
        described = _argument_docs(inspect.getdoc(self.function) or "")
        columns: dict[str, Any] = {}
        for p in self.parameters:
            default = ... if p.default is inspect.Parameter.empty else p.default
            if isinstance(default, FieldInfo):
                columns[p.name] = (p.annotation, default)
            else:
                columns[p.name] = (p.annotation, Field(default, description=described.get(p.name)))
        model: type[BaseModel] = create_model(
            f"{self.name}_arguments",
            __config__=ConfigDict(extra="forbid", arbitrary_types_allowed=True, protected_namespaces=()),
            **columns,
        )
        return model

    @cached_property
    def summary(self) -> str:
        """The first line of the docstring."""
        return (inspect.getdoc(self.function) or "").split("\n", 1)[0]

    @cached_property
    def doc(self) -> str:
        """The whole docstring."""
        return inspect.getdoc(self.function) or ""

    @cached_property
    def signature(self) -> str:
        """``name(a: int, b: str = 'x') -> Result`` as the brain reads it."""
        shown = ", ".join(self.shown_parameters)
        returns = self.return_type
        return f"{self.name}({shown})" + (f" -> {type_name(returns)}" if returns is not None else "")

    @property
    def shown_parameters(self) -> list[str]:
        """Each parameter as the signature shows it."""
        return [_show_parameter(p) for p in self.parameters]

    @cached_property
    def return_type(self) -> Any:
        """The type of what it returns; None where it is not declared.

        Raises:
            NameError: The declaration names a type that is not there.
        """
        return typing.get_type_hints(self.function).get("return")

    @cached_property
    def brief(self) -> str:
        """The signature in fewer tokens, for the prompt: no type is text, ``= None`` may be left out."""
        returns = self.return_type
        shown = _shorter_twice({p.name: _brief_parameter(p) for p in self.parameters})
        return f"{self.name}({', '.join(shown)})" + (f" -> {type_name(returns)}" if returns else "")

    @cached_property
    def result_type(self) -> str:
        """The name of what comes back, where it has fields; else an empty string."""
        model = self._result_model()
        return model.__name__ if model else ""

    @cached_property
    def result_fields(self) -> dict[str, str]:
        """The fields of what the tool returns, with their types; empty for plain values."""
        model = self._result_model()
        return {name: type_name(kind) for name, kind in _hints(model).items()} if model else {}

    def _result_model(self) -> type | None:
        """The model or dataclass in the return annotation: itself, or inside of a list or a union."""
        return _model_in(self.return_type)

    @cached_property
    def help(self) -> str:
        """The docstring and the fields of the result: what ``help(tool)`` shows in a cell."""
        told = "\n".join(f"    {name}: {kind}" for name, kind in self.result_fields.items())
        inner = "".join(f"\n{line}" for line in self.result_lines[1:])
        return f"{self.doc}\n\nFields of the result:\n{told}{inner}" if told else self.doc

    @cached_property
    def result_lines(self) -> list[str]:
        """A line for the result's type, and for each type in its fields: ``Papers: papers: list[Paper]``."""
        model = self._result_model()
        models, lines = [model] if model else [], []
        for known in models:  # grows while it is read
            fields_of = _hints(known)
            held = {name: _model_in(kind) for name, kind in fields_of.items()}
            models += [m for m in dict.fromkeys(held.values()) if m is not None and m not in models]
            shown = [f"{n}: {type_name(k)}" if held[n] else n for n, k in fields_of.items()]
            lines.append(f"{known.__name__}: {', '.join(shown)}")
        return lines

    def proxy(self) -> dict[str, Any]:
        """What the kernel needs to make a real function: name, parameters, help. JSON-able."""
        parameters = []
        for p in self.parameters:
            default = p.default
            if isinstance(default, FieldInfo):
                default = inspect.Parameter.empty if default.is_required() else default.default
            entry: dict[str, Any] = {"name": p.name, "annotation": type_name(p.annotation)}
            if default is not inspect.Parameter.empty:
                entry["default"] = default
            parameters.append(entry)
        return {
            "name": self.name,
            "parameters": parameters,
            "doc": self.help,
            "signature": self.signature,
            "group": self.subject,
            "brief": f"{self.brief}\n    {self.summary}",
            "results": self.result_lines,
            **({"quiet": list(self.quiet)} if self.quiet else {}),
        }

    def json_schema(self) -> dict[str, Any]:
        """The JSON schema of the arguments."""
        return self.arguments.model_json_schema()

    def for_call(self, arguments: BaseModel) -> ToolSpec:
        """The tool with the effect that these arguments give it, which is what the gate decides on."""
        effect = self.effect_of(arguments) if self.effect_of else self.effect
        return self if effect == self.effect else replace(self, effect=effect)

    def validate(self, given: Mapping[str, Any]) -> BaseModel:
        """Check the arguments that a cell passed.

        Raises:
            ToolError: Names each wrong argument and the nearest right one.
        """
        try:
            return self.arguments.model_validate(dict(given))
        except ValidationError as error:
            raise ToolError(*self._explain(error)) from None

    def _explain(self, error: ValidationError) -> tuple[str, str]:
        known = [p.name for p in self.parameters]
        told: list[str] = []
        for e in error.errors(include_url=False):
            where = ".".join(str(part) for part in e["loc"])
            if e["type"] == "extra_forbidden" and len(e["loc"]) == 1:
                told.append(f"unknown argument {where!r}{did_you_mean(where, known)}")
            elif e["type"] == "missing":
                told.append(f"missing argument {where!r}")
            elif e["type"] == "literal_error":
                expected = re.findall(r"'([^']*)'", str(e.get("ctx", {}).get("expected", "")))
                guess = did_you_mean(str(e["input"]), expected)
                told.append(f"{where} = {e['input']!r} is not one of {', '.join(expected)}{guess}")
            else:
                told.append(f"{where} = {_short(e['input'])}: {e['msg'].lower()}")
        return f"{self.name}: {'; '.join(told)}.", f"Signature: {self.signature}"

    def call(self, ctx: Any, arguments: BaseModel) -> Any:
        """Run the tool; what comes back is JSON-able."""
        given = {name: getattr(arguments, name) for name in type(arguments).model_fields}
        return to_json(self.function(ctx, **given))


def tool(
    *,
    effect: Effect,
    needs: typing.Sequence[str] = (),
    price: Callable[[Any, Any], Price] | None = None,
    reconcile: Callable[[Any, str], Any] | None = None,
    repeatable: str = "",
    prepare: Callable[[Any, Any], Any] | None = None,
    effect_of: Callable[[Any], Effect] | None = None,
    quiet: typing.Sequence[str] = (),
) -> Callable[[F], F]:
    """Declare a host-side function that cells can call.

    Args:
        effect: What the call does to the world; the gate decides on it.
        needs: Credentials that the tool uses, such as ``hub:write``.
        price: Estimates what a call spends, from the context and the validated arguments.
        reconcile: Given the context and the key of a call that a crash cut off, returns its result, or None
            where it has not happened; raises `ToolError` where that cannot be told.
        repeatable: Why the call may be made again after a crash instead, in words. A tool with an effect and
            with neither of the two is not called again: the brain is told that nobody knows.
        prepare: Given the context and the validated arguments, returns those that are shown, priced and run:
            what a path leads to is read here, so that it is what a person says yes to.
        effect_of: The effect of a call with these validated arguments, where one tool looks and changes;
            `effect` is then the gravest of them.
        quiet: Fields of the result, at any depth, that only repeat what others say: what is printed names
            them and leaves them out, as it does with empty ones.

    The function's first parameter is the `ToolContext`; the others become the arguments of the tool.
    """

    def declare(function: F) -> F:
        spec = ToolSpec(
            name=function.__name__,
            function=function,
            effect=effect,
            needs=tuple(needs),
            subject=function.__globals__.get("SUBJECT", function.__module__.rsplit(".", 1)[-1]),
            price=price,
            reconcile=reconcile,
            repeatable=repeatable,
            prepare=prepare,
            effect_of=effect_of,
            quiet=tuple(quiet),
        )
        function.__tool__ = spec  # type: ignore[attr-defined]
        return function

    return declare


def specs_in(module: types.ModuleType) -> list[ToolSpec]:
    """The tools that a module declares, in the order of the file."""
    found = [getattr(value, "__tool__", None) for value in vars(module).values()]
    return [
        spec for spec in found if isinstance(spec, ToolSpec) and spec.function.__module__ == module.__name__
    ]


def _model_in(annotation: Any) -> type | None:
    """The model or dataclass that an annotation names, at any depth."""
    if isinstance(annotation, type) and (is_dataclass(annotation) or issubclass(annotation, BaseModel)):
        return annotation
    return next((m for m in map(_model_in, typing.get_args(annotation)) if m is not None), None)


def _hints(model: type) -> dict[str, Any]:
    """The fields that JSON has of a model or dataclass, with their types."""
    if issubclass(model, BaseModel):
        return {name: f.annotation for name, f in model.model_fields.items() if not f.exclude}
    try:
        hints = typing.get_type_hints(model)
    except NameError:  # a type that is imported for type checkers alone
        hints = {}
    return {f.name: hints.get(f.name, Any) for f in fields(typing.cast(Any, model))}


def did_you_mean(word: str, known: typing.Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` when something close is known, else an empty string."""
    sayable = [name for name in known if name.isprintable()]
    close = difflib.get_close_matches(word, sayable, n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""


def to_json(value: Any) -> Any:
    """Turn a tool's result into what JSON can carry."""
    return TypeAdapter(Any).dump_python(value, mode="json")


def type_name(annotation: Any) -> str:
    """A type as a person would write it: ``list[str] | None``, not ``typing.Optional[...]``."""
    if annotation is inspect.Parameter.empty or annotation is Any:
        return "Any"
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return type_name(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return " | ".join(type_name(a) for a in typing.get_args(annotation))
    if origin is Literal:
        return " | ".join(repr(a) for a in typing.get_args(annotation))
    if origin is not None:
        inner = ", ".join(type_name(a) for a in typing.get_args(annotation))
        return f"{getattr(origin, '__name__', str(origin))}[{inner}]"
    return "None" if annotation is type(None) else getattr(annotation, "__name__", str(annotation))


def _show_parameter(p: inspect.Parameter) -> str:
    shown = f"{p.name}: {type_name(p.annotation)}"
    default = p.default
    if isinstance(default, FieldInfo):
        default = inspect.Parameter.empty if default.is_required() else default.default
    return shown if default is inspect.Parameter.empty else f"{shown} = {default!r}"


_PLAIN = {"str", "int", "float", "bool"}
"""Types that a default tells by itself."""

_LONG = 60
"""Characters of a list of choices that is not told twice in one signature."""


def _brief_parameter(p: inspect.Parameter) -> str:
    default = p.default
    if isinstance(default, FieldInfo):
        default = inspect.Parameter.empty if default.is_required() else default.default
    kind = type_name(p.annotation).replace("dict[str, Any]", "dict")
    if default is inspect.Parameter.empty:
        return p.name if kind == "str" else f"{p.name}: {kind}"
    kind = kind.removesuffix(" | None")
    if kind in _PLAIN and (kind == "str" or default is not None):
        return f"{p.name}={default!r}"
    return f"{p.name}: {kind} = {default!r}"


def _shorter_twice(parameters: Mapping[str, str]) -> list[str]:
    """The parameters; a long list of choices that an earlier one has is told by that one's name."""
    told: dict[str, str] = {}
    shown: list[str] = []
    for name, text in parameters.items():
        for choices in re.findall(r"'\w+'(?: \| '\w+')+", text):
            if len(choices) > _LONG and told.setdefault(choices, name) != name:
                text = text.replace(choices, f"one of the {told[choices]}")
        shown.append(text)
    return shown


def _argument_docs(doc: str) -> dict[str, str]:
    section = re.search(r"^Args:\n(.*?)(?:^\S|\Z)", doc, re.M | re.S)
    if not section:
        return {}
    entries = re.findall(r"^ {4}(\w+)(?: \([^)]*\))?: (.*?)(?=^ {4}\w|\Z)", section[1], re.M | re.S)
    return {name: " ".join(text.split()) for name, text in entries}


def _short(value: Any, limit: int = 60) -> str:
    shown = repr(value)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
