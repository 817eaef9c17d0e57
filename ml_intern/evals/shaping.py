"""Rows of a benchmark, as its repository has them, become rows of an evaluation."""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Callable, Sequence
from typing import Any

from ml_intern.errors import UsageError
from ml_intern.evals.benchmarks import Benchmark

_COLUMN = re.compile(r"\{([^{}]+)\}")
LETTERS = string.ascii_uppercase
MOST_OPTIONS = len(LETTERS)


def shaped(
    benchmark: Benchmark, rows: Sequence[dict[str, Any]], split: str | None = None
) -> list[dict[str, Any]]:
    """The rows with the columns input, target, choices, tests, rubric, slice, as far as it has them.

    Args:
        benchmark: Says how.
        rows: As they were read.
        split: ``dev`` or ``test``, where the benchmark has a split for each.

    Raises:
        UsageError: A column is missing, or a row has nothing in it; the row is named.
    """
    made = []
    for number, row in enumerate(rows, 1):
        try:
            made.append(_shaped(benchmark, row) | ({"split": split} if split else {}))
        except _Wrong as error:
            raise UsageError(
                f"{benchmark.name}: row {number} of {benchmark.repository} {error}.",
                "It is not as the table of benchmarks says; bring the rows as a file: --eval FILE.",
            ) from None
    return made


class _Wrong(Exception):
    """What is wrong with a row."""


def _shaped(benchmark: Benchmark, row: dict[str, Any]) -> dict[str, Any]:
    text = _text(benchmark.input, row)
    made: dict[str, Any] = {"input": text}
    if benchmark.choices or benchmark.options:
        made |= _with_options(benchmark, row, text)
    elif benchmark.target:
        made["target"] = _text(benchmark.target, row)
    for name, template in (
        ("tests", benchmark.tests),
        ("rubric", benchmark.rubric),
        ("slice", benchmark.slice),
    ):
        if template:
            made[name] = _text(template, row)
    cleaned = CLEANERS[benchmark.clean](made)
    if not cleaned["input"].strip():
        raise _Wrong(f"has nothing in {benchmark.input!r}")
    return cleaned


def _with_options(benchmark: Benchmark, row: dict[str, Any], text: str) -> dict[str, Any]:
    texts = benchmark.options or [t for template in benchmark.choices for t in _texts(template, row)]
    if not 2 <= len(texts) <= MOST_OPTIONS or not all(texts):
        raise _Wrong(f"has {len(texts)} options, or an empty one")
    right = benchmark.right if benchmark.right is not None else _right(benchmark, row, texts)
    if right >= len(texts):
        raise _Wrong(f"has {len(texts)} options, and number {right + 1} is to be right")
    if benchmark.shuffle:
        texts, right = _shuffled(text, texts, right)
    return {"choices": texts, "target": right}


def _right(benchmark: Benchmark, row: dict[str, Any], texts: Sequence[str]) -> int:
    """Which option the row says is right: by its label, index, letter or text."""
    said = _value(benchmark.target, row)
    labels = benchmark.labels if isinstance(benchmark.labels, list) else _texts(benchmark.labels, row)
    if labels and len(labels) != len(texts):
        raise _Wrong(f"has {len(texts)} options and {len(labels)} labels")
    word = str(said).strip()
    if labels:
        if word not in labels:
            raise _Wrong(f"says that {word!r} is right, which is none of {', '.join(labels)}")
        return labels.index(word)
    if re.fullmatch(r"\d+", word) or isinstance(said, bool):
        return int(said)
    if len(word) == 1 and word.upper() in LETTERS[: len(texts)]:
        return LETTERS.index(word.upper())
    if list(texts).count(word) == 1:
        return list(texts).index(word)
    raise _Wrong(f"says that {word!r:.60} is right, which is none of its options")


def _shuffled(text: str, texts: Sequence[str], right: int) -> tuple[list[str], int]:
    """An order that hangs on the content alone: where the right one stands tells nothing."""
    order = sorted(range(len(texts)), key=lambda k: hashlib.sha256(f"{text}\0{texts[k]}".encode()).digest())
    return [texts[k] for k in order], order.index(right)


# Templates


def _text(template: str, row: dict[str, Any]) -> str:
    """The template with the columns' texts in it; a list becomes lines."""
    return _COLUMN.sub(lambda found: "\n".join(_strings(_column(found[1], row), found[1])), template)


def _texts(template: str, row: dict[str, Any]) -> list[str]:
    """A list of texts where the template is a column that holds one, else the one text."""
    whole = _COLUMN.fullmatch(template)
    return _strings(_column(whole[1], row), whole[1]) if whole else [_text(template, row)] if template else []


def _value(template: str, row: dict[str, Any]) -> Any:
    whole = _COLUMN.fullmatch(template)
    return _column(whole[1], row) if whole else _text(template, row)


def _column(path: str, row: dict[str, Any]) -> Any:
    found: Any = row
    for part in path.split("."):
        if not isinstance(found, dict) or part not in found:
            columns = ", ".join(map(str, row))
            raise _Wrong(f"has no column {path!r}; its columns are {columns}")
        found = found[part]
    if found is None:
        raise _Wrong(f"has nothing in the column {path!r}")
    return found


def _strings(value: Any, path: str) -> list[str]:
    many = value if isinstance(value, list) else [value]
    if any(not isinstance(v, str | int | float) for v in many):
        raise _Wrong(f"has no text in the column {path!r}")
    return [str(v) for v in many]


# What some repositories need


def _after_hashes(made: dict[str, Any]) -> dict[str, Any]:
    """``… #### 1,234`` is a worked answer whose result is 1234."""
    before, found, after = str(made["target"]).rpartition("####")
    if not found or not after.strip():
        raise _Wrong("has no result behind #### in its answer")
    return {
        **made,
        "target": after.strip().replace(",", ""),
        "also": [f"{made['input']}\n{before}####{after}"],
    }


def _wikihow(made: dict[str, Any]) -> dict[str, Any]:
    """Marks of the page that the text was taken from are no part of it."""

    def plain(text: str) -> str:
        text = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". "))
        return text.replace("  ", " ").strip()

    return {**made, "input": plain(made["input"]), "choices": [plain(c) or c for c in made["choices"]]}


def _gap(made: dict[str, Any]) -> dict[str, Any]:
    """A sentence with a gap: what stands before it is asked, each option goes on with the rest."""
    before, found, after = made["input"].partition("_")
    if not found:
        raise _Wrong("has no gap (_) in its sentence")
    whole = [made["input"].replace("_", option) for option in made["choices"]]
    return {
        **made,
        "input": before.rstrip() or "A sentence:",
        "choices": [option + after for option in made["choices"]],
        "also": [*whole, made["input"]],
    }


CLEANERS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "": lambda made: made,
    "after_hashes": _after_hashes,
    "wikihow": _wikihow,
    "gap": _gap,
}
"""What is done to a row's texts, by the word in the table."""
