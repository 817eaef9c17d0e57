"""Held-out rows that are a multiple choice, bring tests of code, or bring a rubric."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ml_intern.data.table import is_messages, text_of
from ml_intern.errors import ToolError
from ml_intern.evals.columns import CHOICES, RUBRIC, TESTS, column_of
from ml_intern.evals.items import INPUTS, RIGHT_OPTIONS, TARGETS
from ml_intern.evals.scorers import Part, scorer

if TYPE_CHECKING:
    import polars as pl

QUESTIONS = (*INPUTS, "query", "ctx", "stem", "instruction")
SOLUTIONS = (*TARGETS, "canonical_solution", "solution", "code")
SUITS: dict[Part, list[str]] = {
    "choices": ["multiple_choice", "multiple_choice_normalized"],
    "tests": ["code_passes"],
    "rubric": ["rubric"],
}
CODE_TOKENS, PROSE_TOKENS = 512, 1024


def parts_of(rows: pl.DataFrame, scorers: Sequence[str] | None) -> list[Part]:
    """What the scorers need of the rows; without scorers, what the columns tell."""
    if scorers:
        needed = {part for name in scorers for part in scorer(name).needs}
        return [part for part in SUITS if part in needed]
    found: list[Part] = []
    if _column(rows, CHOICES) and _column(rows, RIGHT_OPTIONS) and _column(rows, QUESTIONS):
        found.append("choices")
    tests = _column(rows, TESTS)
    if tests and _column(rows, QUESTIONS) and rows.height and "assert" in str(rows[tests][0]):
        found.append("tests")
    if _column(rows, RUBRIC) and _column(rows, QUESTIONS):
        found.append("rubric")
    return found[:1]


def frame_of(rows: pl.DataFrame, parts: Sequence[Part]) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The rows with the columns of an evaluation, and how they are asked.

    Raises:
        ToolError: A column is missing.
    """
    import polars as pl

    columns = rows.columns
    question = column_of(columns, None, QUESTIONS, "question")
    chat = is_messages(rows, question)
    asked = [text_of(value[-1].get("content")) if chat else text_of(value) for value in rows[question]]
    if not all(asked):
        raise ToolError(f"Some held-out rows have nothing in the column {question!r}.", "Filter them out.")
    made = {"input": pl.Series(asked)}
    right = _column(rows, RIGHT_OPTIONS if "choices" in parts else SOLUTIONS)
    if right and right != question:
        made["target"] = rows[right]
    for part, usual in (("choices", CHOICES), ("tests", TESTS), ("rubric", RUBRIC)):
        if part in parts:
            made[part] = rows[column_of(columns, None, usual, part)]
    for beside in ("entry_point", "test_setup_code"):
        if "tests" in parts and beside in columns:
            made[beside] = rows[beside]
    asking: dict[str, Any] = {"chat": chat}
    if parts and "choices" not in parts:
        asking["max_new_tokens"] = CODE_TOKENS if "tests" in parts else PROSE_TOKENS
    if "tests" in parts:
        asking["continues"] = not chat and all(map(_is_code, asked))
    return pl.DataFrame(made), asking


def _column(rows: pl.DataFrame, usual: Sequence[str]) -> str | None:
    return next((c for c in usual if c in rows.columns), None)


def _is_code(text: str) -> bool:
    """Whether a question is the beginning of a program: a function with its docstring and no body, say."""
    try:
        return bool(ast.parse(text).body)
    except (SyntaxError, ValueError, RecursionError):
        return False
