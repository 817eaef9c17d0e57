"""Objects become columns; what does not go into one is an error, and what had to be changed is told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ml_intern.errors import ToolError

if TYPE_CHECKING:
    import polars as pl

MAX_COLUMNS = 4096
"""More come of keys that are data: an object that maps names to values in place of a list of rows."""
MAX_DEPTH = 64

_SURROGATE = re.compile("[\ud800-\udfff]")
_KINDS: dict[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a text",
    **dict.fromkeys((bool, int, float), "a number"),
}

Path = tuple[str, ...]


def frame(name: str, records: list[dict[str, Any]], notes: list[str]) -> pl.DataFrame:
    """A polars frame of dicts; what had to be changed to make columns of them is noted.

    Raises:
        ToolError: A column holds values that are no one type, or there are too many columns.
    """
    import polars as pl

    check_width(name, len(set().union(*records)))
    walk = _Walk(name)
    cleaned = [{walk.text(k): walk.value(v, (k,)) for k, v in record.items()} for record in records]
    walk.check()
    try:
        rows = pl.DataFrame(cleaned, infer_schema_length=None, strict=False)
    except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError) as error:
        why = str(error).strip().splitlines()[0]
        raise ToolError(
            f"{name}: rows make no table ({why}).", "Give every row the same kind of value."
        ) from None
    notes += [note for note in walk.notes() if note not in notes]
    return rows


def check_width(name: str, columns: int) -> None:
    """Refuse a table with more columns than anybody has meant.

    Raises:
        ToolError: It has more than `MAX_COLUMNS`.
    """
    if columns > MAX_COLUMNS:
        raise ToolError(
            f"{name} has {columns} columns, more than {MAX_COLUMNS}.",
            "Are the keys data? Write them as values, one row each.",
        )


def mixed_note(column: str) -> str:
    """What is told of a column whose values became texts."""
    return f"Column {column!r} mixes texts with other values; all were read as text."


class _Walk:
    """Goes through all values once: mends what UTF-8 cannot carry, and learns what kinds stand where."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.broken = 0
        self.kinds: dict[Path, set[type]] = {}

    def value(self, value: Any, path: Path) -> Any:
        """The value with its texts mended."""
        self.kinds.setdefault(path, set()).add(type(value))
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, (dict, list)) and len(path) > MAX_DEPTH:
            raise ToolError(f"{self.name} holds values nested more than {MAX_DEPTH} deep.", "Flatten them.")
        if isinstance(value, dict):
            return {self.text(k): self.value(v, (*path, k)) for k, v in value.items()}
        return [self.value(v, (*path, "[]")) for v in value] if isinstance(value, list) else value

    def text(self, text: str) -> str:
        """JSON can spell half a surrogate pair, UTF-8 cannot."""
        if not _SURROGATE.search(text):
            return text
        self.broken += 1
        return _SURROGATE.sub("\ufffd", text)

    def check(self) -> None:
        """Refuse values that no one type holds: polars would spell them out as text, or fail obscurely."""
        for path, types in self.kinds.items():
            kinds = self._kinds(types)
            if len(kinds) > 1 and not kinds <= {"a text", "a number"}:
                inside = "" if len(path) == 1 else f" inside ({'.'.join(path)[:80]})"
                mixed = " and ".join(sorted(kinds))
                raise ToolError(
                    f"{self.name}: column {path[0]!r} mixes kinds of values{inside}: {mixed}.",
                    "Give every row the same kind of value.",
                )

    def notes(self) -> list[str]:
        """What a reader should know."""
        found = []
        if self.broken:
            found.append(
                f"{self.name}: {self.broken} texts held half characters (lone surrogates);"
                " they are U+FFFD now."
            )
        mixed = dict.fromkeys(path[0] for path, types in self.kinds.items() if len(self._kinds(types)) > 1)
        return found + [mixed_note(name) for name in mixed]

    @staticmethod
    def _kinds(types: set[type]) -> set[str]:
        """The kinds in words, but for null; true and false become numbers beside numbers."""
        return {_KINDS.get(t, t.__name__) for t in types if t is not type(None)}
