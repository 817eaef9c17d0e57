"""Take out rows that say the same as an earlier one."""

from __future__ import annotations

from ml_intern.context import ToolContext
from ml_intern.data import duplicates
from ml_intern.data.making import AGAIN, make, open_source
from ml_intern.data.results import MadeDataset
from ml_intern.data.table import name_of, need
from ml_intern.tooling import tool

SUBJECT = "datasets"


class Deduplicated(MadeDataset):
    """A dataset without repetitions, and what was taken out.

    Attributes:
        exact: Rows that were the same as an earlier one.
        near: Further rows that were nearly the same.
        pairs: Some of those, each with an earlier row that it repeats; positions in the source.
    """

    exact: int
    near: int
    pairs: list[tuple[int, int]]


@tool(effect="write", repeatable=AGAIN)
def deduplicate_dataset(
    ctx: ToolContext,
    source: str,
    columns: list[str] | None = None,
    near: bool = False,
    name: str | None = None,
    similarity: float = duplicates.SIMILARITY,
) -> Deduplicated:
    """Keep the first of rows that say the same.

    Args:
        source: As for inspect_dataset.
        columns: What to compare; nothing means the content without the row's origin.
        near: Whether texts that are nearly the same count too: of their pieces of eight letters and digits
            they have the share `similarity` in common. Texts under 24 letters are compared exactly.
        name: Name of the new dataset.
        similarity: From 0.5 to 1; at 0.8 two texts of 200 letters may differ in some three words.
    """
    table = open_source(ctx, source)
    need(table.rows, columns or [])
    ctx.progress(f"comparing {table.rows.height} rows")
    found = duplicates.find(duplicates.texts_of(table.rows, columns), near, similarity)
    kept = table.rows.filter(found.keep)
    told = {"columns": columns, "near": near, **({"similarity": similarity} if near else {})}
    notes = [f"{found.short} rows are too short to be compared nearly."] if near and found.short else []
    made = make(
        ctx, name or f"{name_of(source)}-deduplicated", kept, table, "deduplicate_dataset", told, notes
    )
    return Deduplicated(**made.model_dump(), exact=found.exact, near=found.near, pairs=found.pairs)
