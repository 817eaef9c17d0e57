"""``--eval FILE``: a jsonl or csv file becomes a sealed evaluation."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_intern.errors import UsageError
from ml_intern.evals.columns import CHOICES, RUBRIC, TESTS
from ml_intern.evals.items import INPUTS, RIGHT_OPTIONS, TARGETS
from ml_intern.evals.model import EvalInfo
from ml_intern.evals.scorers import SCORERS, last_number
from ml_intern.evals.store import Evals

PARTS = {"choices": CHOICES, "tests": TESTS, "rubric": RUBRIC}


def register_file(evals: Evals, path: Path, name: str | None = None) -> EvalInfo:
    """Register a file. With a column of targets it is scored by matching them, without one by bits per byte.

    Columns ``choices``, ``tests`` or ``rubric`` make it a multiple choice, a test of code, or answers that
    are judged. A column ``split`` (dev or test) is followed, ``group`` keeps rows together, ``slice`` breaks
    scores down. The setting ``metric`` may name the metric that decides, if the file's columns suit it;
    ``eval_tokens`` and ``eval_chat`` say how the items are asked.

    Raises:
        UsageError: The file is missing, broken (which line is said), empty, or lacks the columns.
    """
    rows = read_rows(path)
    columns = list(rows[0])
    input = next((c for c in INPUTS if c in columns), None)
    if input is None:
        raise UsageError(f"{path.name} has no column {', '.join(INPUTS)}. Its columns: {', '.join(columns)}.")
    parts: dict[str, str | None] = {
        name: next((c for c in usual if c in columns), None) for name, usual in PARTS.items()
    }
    right = RIGHT_OPTIONS if parts["choices"] else TARGETS
    parts["target"] = target = next((c for c in right if c in columns and c != input), None)
    _check(path, rows, [input, target] if target else [input])
    scorers = _scorers(parts, target and [str(row[target]) for row in rows])
    wanted = evals.settings.metric
    # Whether targets are numbers is seen above; for the other metrics the person's word is enough.
    if wanted in SCORERS and wanted not in (*scorers, "numeric_match") and (needs := SCORERS[wanted].needs):
        scorers += [wanted] if all(parts[part] for part in needs) else []
    if wanted == "reward":  # Of prompts alone the answers are judged, not the prompts' own likelihood.
        scorers = [*(s for s in scorers if s != "bits_per_byte"), "reward"]
    return evals.register(
        name or name_of(path),
        rows,
        scorers,
        wanted if wanted in scorers else scorers[0],
        input=input,
        target=target,
        slice_by="slice" if "slice" in columns else None,
        asking={"max_new_tokens": evals.settings.eval_tokens, "chat": evals.settings.eval_chat},
        choices=parts["choices"],
        tests=parts["tests"],
        rubric=parts["rubric"],
    )


def name_of(path: Path) -> str:
    """What an evaluation from a file is called: as the file, without what no name may have."""
    return re.sub(r"[^\w.-]+", "-", path.stem).strip("-._") or "eval"


def _scorers(parts: Mapping[str, str | None], targets: Sequence[str] | None) -> list[str]:
    """What suits the columns."""
    if parts["choices"] and targets:
        return ["multiple_choice", "multiple_choice_normalized"]
    if parts["tests"]:
        return ["code_passes"]
    if parts["rubric"]:
        return ["rubric"]
    if not targets:
        return ["bits_per_byte"]
    return ["exact_match", "numeric_match"] if all(map(_is_number, targets)) else ["exact_match"]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a jsonl or csv file.

    Raises:
        UsageError: See `register_file`.
    """
    if not path.is_file():
        raise UsageError(f"There is no file {str(path)!r} to evaluate with.")
    if path.suffix not in (".jsonl", ".csv"):
        raise UsageError(
            f"{path.name} is neither .jsonl nor .csv; an eval file has columns input and target."
        )
    try:
        rows = _read_jsonl(path) if path.suffix == ".jsonl" else _read_csv(path)
    except UnicodeDecodeError:
        raise UsageError(f"{path.name} is not text in UTF-8.") from None
    if not rows:
        raise UsageError(f"{path.name} has no rows.")
    return rows


def _read_jsonl(path: Path) -> list[dict[str, Any]]:
    rows = []
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise UsageError(f"{path.name} line {number} is not JSON: {error}.") from None
            if not isinstance(row, dict):
                raise UsageError(f"{path.name} line {number} is not an object with columns.")
            rows.append(row)
    return rows


def _read_csv(path: Path) -> list[dict[str, Any]]:
    rows = []
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        try:
            for row in reader:
                if None in row or None in row.values():
                    wanted = len(reader.fieldnames or ())
                    raise UsageError(f"{path.name} line {reader.line_num} does not have {wanted} columns.")
                rows.append(row)
        except csv.Error as error:
            raise UsageError(f"{path.name} line {reader.line_num} is not csv: {error}.") from None
    return rows


def _check(path: Path, rows: list[dict[str, Any]], columns: list[str]) -> None:
    for number, row in enumerate(rows, 1):
        for column in columns:
            value = row.get(column)
            if value is None or (isinstance(value, str) and not value):
                raise UsageError(f"{path.name}: row {number} has nothing in the column {column!r}.")


def _is_number(text: str) -> bool:
    return last_number(text) is not None and bool(re.fullmatch(r"[-\d.,eE+\s]+", text))
