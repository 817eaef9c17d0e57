"""Columns that rows bring beside prompt and target: options of a multiple choice, tests of code, a rubric."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from ml_intern.errors import ToolError
from ml_intern.tooling import did_you_mean

CHOICES = ("choices", "options", "endings")
TESTS = ("tests", "test", "test_list")
RUBRIC = ("rubric", "rubrics", "criteria")


@dataclass(frozen=True)
class Columns:
    """Where an item's further parts stand; None where there is no such part."""

    choices: str | None = None
    tests: str | None = None
    rubric: str | None = None


def column_of(columns: Sequence[str], named: str | None, usual: Sequence[str], what: str) -> str:
    """The column that was named, or the first of the usual ones.

    Raises:
        ToolError: It is not there.
    """
    found = named if named in columns else None
    if named is None:
        found = next((c for c in usual if c in columns), None)
    if found is None:
        guess = did_you_mean(named, columns) if named else ""
        raise ToolError(
            f"The rows have no column {named or ' or '.join(usual)!r} for the {what}{guess}.",
            f"Columns: {', '.join(columns)}.",
        )
    return found


def choices_of(row: Mapping[str, Any], column: str, where: str) -> tuple[list[str], list[str]]:
    """The options of a row and their labels; a list, JSON of one, or ``{"text": […], "label": […]}``.

    Raises:
        ToolError: There are no two options, or more than there are letters.
    """
    value: Any = row.get(column)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    labels: Any = None
    if isinstance(value, Mapping):
        value, labels = value.get("text"), value.get("label")
    options = [str(option) for option in value] if isinstance(value, list | tuple) else []
    if not 2 <= len(options) <= len(ascii_uppercase) or not all(o.strip() for o in options):
        raise ToolError(f"{where} has no list of 2 to 26 options in the column {column!r}.")
    if isinstance(labels, list | tuple) and len(labels) == len(options):
        return options, [str(label) for label in labels]
    return options, list(ascii_uppercase[: len(options)])


def place_of(target: Any, options: Sequence[str], labels: Sequence[str], where: str) -> str:
    """Which option is right, counted from 0: said by its place, its label or letter, or its text.

    A number is a place, unless it is a string that is also a label ("1" to "4") or the text of one option.

    Raises:
        ToolError: It is none of the options.
    """
    text = str(target).strip()
    if isinstance(target, str):
        if text in labels:
            return str(labels.index(text))
        same = [at for at, option in enumerate(options) if option.strip() == text]
        if len(same) == 1:
            return str(same[0])
        if len(text) == 1 and text.upper() in ascii_uppercase[: len(options)]:
            return str(ascii_uppercase.index(text.upper()))
    if text.isdecimal() and int(text) < len(options):
        return str(int(text))
    raise ToolError(f"{where} says {text[:40]!r} is right, which is none of its {len(options)} options.")


def tests_of(row: Mapping[str, Any], column: str, where: str) -> str:
    """The tests of a row as one program; a list of statements is joined.

    The forms of HumanEval (``check(candidate)`` and a column ``entry_point``) and of MBPP (a column
    ``test_setup_code``) are made whole.

    Raises:
        ToolError: There are none, or they do not parse.
    """
    value = row.get(column)
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            pass
    tests = "\n".join(map(str, value)) if isinstance(value, list | tuple) else str(value or "")
    setup, entry = row.get("test_setup_code"), row.get("entry_point")
    if isinstance(setup, str) and setup.strip():
        tests = f"{setup}\n{tests}"
    if entry and "def check(" in tests and "\ncheck(" not in tests:
        tests = f"{tests}\n\ncheck({entry})\n"
    try:
        empty = not ast.parse(tests).body
    except (SyntaxError, ValueError, RecursionError) as error:
        raise ToolError(f"{where}: its tests are not Python: {error}.") from None
    if empty:
        raise ToolError(f"{where} has no tests in the column {column!r}.")
    return tests


def rubric_of(row: Mapping[str, Any], column: str, where: str) -> str:
    """The rubric of a row as text; what is a list is kept as JSON.

    Raises:
        ToolError: There is none, or it cannot be understood.
    """
    from ml_intern.evals.rubric import read_rubric

    value = row.get(column)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) if value else ""
    read_rubric(text, where)
    return text
