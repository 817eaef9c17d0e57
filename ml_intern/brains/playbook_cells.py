"""Fills the slots of a playbook's cells with Python literals, so that no value can become code.

Every ``{{ … }}`` in a cell first becomes a name that nothing else bears. Python's own tokenizer then says
where those names stand: a name is replaced by a literal; inside of a string or a comment it is an error.
"""

from __future__ import annotations

import io
import re
import tokenize
import traceback
from collections.abc import Mapping
from typing import Any

from ml_intern.errors import UsageError

_DECLARE = "A slot must be declared in the front matter."
_RAW = "Python that is no slot, as {{ or {% or {#, stands between a line {% raw %} and a line {% endraw %}."
_SHOWN = 120
"""Characters of a line that an error shows."""


class _Literals:
    """Hands out a name for each value that a template writes."""

    def __init__(self) -> None:
        self.values: list[Any] = []

    def __call__(self, value: Any) -> _Name:
        if isinstance(value, _Name):
            return value
        if not isinstance(value, str | int | float | None):
            # An undefined value raises its own error here; any other has no business in a cell.
            raise TypeError(f"{str(value)[:40]!r} is no text and no number")
        self.values.append(value)
        return _Name(f"slot_literal_{len(self.values) - 1}_")


class _Name(str):
    """A name that stands for a literal; writing it twice does not wrap it twice."""


def fill_cell(code: str, values: Mapping[str, Any], where: str, line: int = 0) -> str:
    """The code of a cell with its slots filled in.

    Args:
        code: Python with Jinja in it.
        values: The slots.
        where: Names the cell in errors.
        line: Where it begins in its file, counted from 1; 0 where it comes from none.

    Raises:
        UsageError: A slot is not declared or stands inside quotes, or Jinja cannot read the cell.
    """
    literals = _Literals()
    rendered = _render(code, values, where, line, finalize=literals, py=literals)
    return _put_literals(rendered, literals.values, where)


def fill_prose(prose: str, values: Mapping[str, Any], where: str) -> str:
    """The prose of a cell with its slots filled in, for people."""
    return _render(prose, values, where, 0, finalize=None, py=repr)


def _render(
    template: str, values: Mapping[str, Any], where: str, line: int, *, finalize: Any, py: Any
) -> str:
    from jinja2 import StrictUndefined, TemplateError, UndefinedError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["py"] = py
    try:
        return environment.from_string(template).render(**values)
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
        why = " ".join(str(error).split()).rstrip(".")
        hint = f"{_DECLARE} {_RAW}" if isinstance(error, UndefinedError) else _RAW
        place, shown = _place(error, template, line)
        raise UsageError(f"{where}{place}: {why}{shown}.", hint) from None


def _place(error: Exception, template: str, first: int) -> tuple[str, str]:
    """In which line of a cell, and of its file, Jinja stumbled; and what stands there."""
    at = getattr(error, "lineno", None)
    if at is None:  # Raised while values were filled in: Jinja gives its frames the lines of the template.
        frames = traceback.extract_tb(error.__traceback__)
        at = next((f.lineno for f in reversed(frames) if f.filename == "<template>"), None)
    if at is None:
        return "", ""
    lines = template.splitlines()
    shown = lines[at - 1].strip()[:_SHOWN] if 0 < at <= len(lines) else ""
    of_file = f" (line {first + at - 1} of the file)" if first else ""
    return f", line {at}{of_file}", f", in {shown}" if shown else ""


def _put_literals(code: str, values: list[Any], where: str) -> str:
    if not values:
        return code
    lines = code.splitlines(keepends=True)
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(code).readline))
    except (tokenize.TokenError, SyntaxError) as error:
        raise UsageError(f"{where} is no Python: {error}.") from None
    placed = 0
    for token in reversed([t for t in tokens if t.type == tokenize.NAME]):
        if found := re.fullmatch(r"slot_literal_(\d+)_", token.string):
            (row, column), (_, end) = token.start, token.end
            line = lines[row - 1]
            lines[row - 1] = line[:column] + _literal(values[int(found[1])]) + line[end:]
            placed += 1
    if placed != len(re.findall(r"slot_literal_\d+_", code)):
        raise UsageError(
            f"{where}: a slot stands inside quotes or a comment.",
            "Write {{ slot }} without quotes around it.",
        )
    return "".join(lines)


def _literal(value: Any) -> str:
    """A Python literal on one line. Only values that a playbook can have."""
    if isinstance(value, _Name | str):
        return repr(str(value))
    return repr(value)
