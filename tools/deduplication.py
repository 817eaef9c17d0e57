"""Take out rows that say the same as an earlier one."""

from __future__ import annotations

from ml_intern.context import ToolContext
from ml_intern.data import duplicates, formats, sealing
from ml_intern.data.results import MadeDataset
from ml_intern.data.store import Lineage
from ml_intern.data.table import name_of, need
from ml_intern.errors import ToolError
from ml_intern.tooling import tool


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


@tool(effect="write", repeatable="the same rows of the same source are the version that is there")
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
    table = sealing.openly(ctx.evals, ctx.datasets.open(source, maker=ctx.key))
    if table.rows.is_empty() and table.notes:
        raise ToolError(f"Nothing is left of {source!r}: {table.notes[-1]}", "Take another source.")
    need(table.rows, columns or [])
    ctx.progress(f"comparing {table.rows.height} rows")
    found = duplicates.find(duplicates.texts_of(table.rows, columns), near, similarity)
    kept = table.rows.filter(found.keep)
    lineage = Lineage(
        source=table.source if table.split is None else f"{table.source}:{table.split}",
        operation="deduplicate_dataset",
        arguments={"columns": columns, "near": near, **({"similarity": similarity} if near else {})},
        rows_before=table.rows.height,
        parents=[table.parent] if table.parent else [],
        sha256=table.fingerprint,
    )
    info = ctx.datasets.save(name or f"{name_of(source)}-deduplicated", kept, lineage, ctx.key)
    form = formats.detect(kept)
    notes = [*table.notes, *([form.hint] if form.hint else [])]
    if near and found.short:
        notes.append(f"{found.short} rows are too short to be compared nearly.")
    return Deduplicated(
        id=info.id,
        rows_before=info.lineage.rows_before,
        rows=info.rows,
        columns=info.columns,
        format=form.name,
        methods=list(form.methods),
        path=info.path,
        notes=notes,
        exact=found.exact,
        near=found.near,
        pairs=found.pairs,
    )
