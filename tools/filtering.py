"""Keep the rows that are worth training on."""

from __future__ import annotations

from ml_intern.context import ToolContext
from ml_intern.data import filtering
from ml_intern.data.making import AGAIN, make, open_source
from ml_intern.data.results import MadeDataset
from ml_intern.data.table import name_of
from ml_intern.errors import ToolError
from ml_intern.tooling import tool


@tool(effect="write", repeatable=AGAIN)
def filter_dataset(ctx: ToolContext, source: str, where: str, name: str | None = None) -> MadeDataset:
    """Keep the rows for which a condition holds.

    Args:
        source: As for inspect_dataset.
        where: "parses_python(text)", "parses_json(answer)", or SQL such as
            "char_length(text) > 20 AND label = 'good'".
        name: Name of the new dataset.
    """
    table = open_source(ctx, source)
    kept = table.rows.filter(filtering.mask(table.rows, where))
    if kept.is_empty():
        raise ToolError(
            f"No row of {table.rows.height} meets {where!r}.", "Look at some rows with inspect_dataset."
        )
    return make(
        ctx, name or f"{name_of(source)}-filtered", kept, table, "filter_dataset", {"where": where}, []
    )
