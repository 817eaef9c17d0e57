"""Keep the rows for which a condition holds: a polars SQL expression with a few predicates of our own.

What the expression may say is in `ml_intern.data.expressions`; it never reaches a file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ml_intern.data.expressions import HINT, check, refused, unknown_function
from ml_intern.data.table import need, text_of
from ml_intern.data.units import parse_all, parses_json
from ml_intern.errors import ToolError

if TYPE_CHECKING:
    import polars as pl

# Each takes a whole column, so that it can be quick about it.
PREDICATES: dict[str, Callable[[Sequence[str]], list[bool]]] = {
    "parses_python": parse_all,
    "parses_json": lambda texts: [parses_json(text) for text in texts],
}
_CALL = re.compile(rf"'(?:[^']|'')*'|\b({'|'.join(PREDICATES)})\(\s*\"?(\w+)\"?\s*\)")


def mask(rows: pl.DataFrame, where: str) -> pl.Series:
    """For each row whether the condition holds; where it cannot be said (missing values), it does not.

    Raises:
        ToolError: The condition cannot be read, names a column that is not there, or says neither yes nor no.
    """
    import polars as pl

    check(where, PREDICATES)
    expression, extra = _with_predicates(rows, where)
    try:
        found = rows.with_columns(extra).select(pl.sql_expr(expression).alias("keep"))["keep"]
    except pl.exceptions.ColumnNotFoundError as error:
        name = (re.search(r'"([^"]+)"', str(error)) or ["", where])[1]
        need(rows, [name])
        raise refused(where, "it names a column that is not there") from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        if function := re.search(r"unsupported function '(\w+)'", str(error)):
            raise unknown_function(where, function[1], PREDICATES) from None
        raise refused(where, _reason(error)) from None
    if found.dtype != pl.Boolean:
        raise ToolError(f"The condition {where!r} does not say yes or no.", HINT)
    if found.len() == 1 and rows.height > 1:
        # A condition that names no column is one answer for all rows.
        found = found.new_from_index(0, rows.height)
    return found.fill_null(False)


def _with_predicates(rows: pl.DataFrame, where: str) -> tuple[str, list[pl.Series]]:
    """Work out the predicates and leave a column in their place."""
    import polars as pl

    extra: dict[str, pl.Series] = {}

    def place(call: re.Match[str]) -> str:
        if call[1] is None:
            return call[0]
        need(rows, [call[2]])
        name = f"__{call[1]}_{call[2]}"
        if name not in extra:
            extra[name] = pl.Series(
                name, PREDICATES[call[1]]([text_of(v) for v in rows[call[2]].to_list()]), dtype=pl.Boolean
            )
        return f'"{name}"'

    expression = _CALL.sub(place, where)
    return expression, list(extra.values())


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:160].rstrip(".")
