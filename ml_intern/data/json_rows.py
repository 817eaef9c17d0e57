"""JSON, read strictly: a key twice, NaN, a number too large are told, not passed over in silence."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml_intern.data.loading import decode, is_utf16, load, opened, refuse

BATCH_BYTES = 16 * 2**20
MAX_DIGITS = 38
"""Of an integer: 128 bits. A longer one would become a missing value further on, without a word."""
SHOWN = 60

Record = dict[str, Any]


def lines(path: Path, notes: list[str], batch_bytes: int = BATCH_BYTES) -> Iterator[list[Record]]:
    """The objects of a file of JSON lines, batch by batch.

    Raises:
        ToolError: Names the first line that is no object.
    """
    if is_utf16(path):
        yield _records(path, decode(path, load(path), notes), 1)
        return
    number = 1
    with opened(path) as file:
        while piece := file.read(batch_bytes):
            piece += file.readline()
            text = decode(path, piece, notes, first_line=number)
            yield _records(path, text, number)
            number += piece.count(b"\n")


def document(path: Path, text: str) -> list[Record]:
    """The rows of a JSON document: a list of objects, columns of values, or one object a line.

    Raises:
        ToolError: It is none of these.
    """
    try:
        value = _parse(text)
    except json.JSONDecodeError as error:
        # Many files called .json hold one object a line.
        if error.msg == "Extra data" and text.lstrip()[:1] == "{":
            return _records(path, text, 1)
        refuse(path, f"line {error.lineno}: not JSON ({error.msg}, column {error.colno})")
    except (ValueError, RecursionError) as error:
        refuse(path, f"holds JSON that cannot be read ({error})")
    if isinstance(value, dict):
        value = _unwrapped(path, value)
    if not isinstance(value, list):
        refuse(path, f"holds {kind(value)}", "Expected a list of objects, or one object a line.")
    for number, record in enumerate(value, 1):
        if not isinstance(record, dict):
            refuse(path, f"holds a list whose item {number} is {kind(record)}", "Expected a list of objects.")
    if not any(value):
        refuse(path, "has no rows")
    return value


def kind(value: Any) -> str:
    """A JSON value in words."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _records(path: Path, text: str, first: int) -> list[Record]:
    records = []
    for number, line in enumerate(text.split("\n"), first):
        if not line.strip():
            continue
        try:
            record = _parse(line)
        except (ValueError, RecursionError) as error:
            why = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            refuse(path, f"line {number}: not JSON ({why}): {line.strip()[:SHOWN]!r}")
        if not isinstance(record, dict):
            refuse(path, f"line {number}: expected an object, found {kind(record)}")
        records.append(record)
    return records


def _unwrapped(path: Path, value: Record) -> list[Any]:
    """The rows of ``{"data": [...]}`` or of ``{"a": [1, 2], "b": [3, 4]}``."""
    lists = {k: v for k, v in value.items() if isinstance(v, list)}
    of_rows = {k: v for k, v in lists.items() if v and all(isinstance(item, dict) for item in v)}
    if len(of_rows) == 1:
        return next(iter(of_rows.values()))
    if not lists or len(lists) != len(value):
        return [value]
    lengths = {k: len(v) for k, v in lists.items()}
    if len(set(lengths.values())) != 1:
        shown = ", ".join(f"{k} {n}" for k, n in lengths.items())
        refuse(path, "holds columns of different lengths", f"Lengths: {shown}.")
    return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]


def _constant(word: str) -> Any:
    raise ValueError(f"{word} is no value of JSON; write null")


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a whole number of {len(digits)} digits; write it as a text")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {digits[:20]} is too large; write it as a text")
    return value


def _object(pairs: list[tuple[str, Any]]) -> Record:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice[:SHOWN]!r} stands twice in one object")
    return found


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer, parse_float=_number
)


def _parse(text: str) -> Any:
    if text.startswith("\ufeff"):
        raise json.JSONDecodeError("a byte order mark in the midst of the file", text, 0)
    return _DECODER.decode(text)
