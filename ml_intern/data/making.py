"""What the dataset tools share: a source without what is held out, and a new version with its lineage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ml_intern.data import formats, sealing
from ml_intern.data.results import MadeDataset
from ml_intern.data.store import DatasetInfo, Lineage
from ml_intern.data.table import Table
from ml_intern.data.units import CHUNK_CHARS, Unit
from ml_intern.errors import ToolError

if TYPE_CHECKING:
    import polars as pl

    from ml_intern.context import ToolContext

AGAIN = "the same rows of the same source are the version that is there"
"""Why what makes a dataset may be called again: it does not read what it has made itself."""


def open_source(ctx: ToolContext, source: str, unit: Unit | None = None, size: int = CHUNK_CHARS) -> Table:
    """A source to make something of, without the rows that are held out.

    Raises:
        ToolError: It cannot be opened, or all of it is held out.
    """
    table = sealing.openly(ctx.evals, ctx.datasets.open(source, unit=unit, size=size, maker=ctx.key))
    if table.rows.is_empty() and table.notes:
        raise ToolError(f"Nothing is left of {source!r}: {table.notes[-1]}", "Take another source.")
    return table


def make(
    ctx: ToolContext,
    name: str,
    rows: pl.DataFrame,
    table: Table,
    operation: str,
    told: dict[str, Any],
    notes: list[str],
) -> MadeDataset:
    """Save rows that were made of one table, and say what came of it."""
    rows, more = finished(ctx, name, rows)
    return described(save(ctx, name, rows, table, operation, told), rows, [*table.notes, *notes, *more])


def finished(ctx: ToolContext, name: str, rows: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """The rows as a training may read them, and a note where that took some of them.

    Cut, joined or put in another order, rows may hold what the source did not show: an item that was too
    short to count, a near copy that the guard just missed.

    Raises:
        ToolError: Nothing is left.
    """
    kept, held = sealing.without_held_out(ctx.evals, rows)
    notes = sealing.left_out(ctx.evals, rows, held)
    if kept.is_empty() and notes:
        raise ToolError(f"Nothing is left for the dataset {name!r}: {notes[0]}", "Take another source.")
    return kept, notes


def save(
    ctx: ToolContext, name: str, rows: pl.DataFrame, table: Table, operation: str, told: dict[str, Any]
) -> DatasetInfo:
    """Save rows that were made of one table as a new version."""
    return ctx.datasets.save(name, rows, lineage_of(table, operation, told), ctx.key)


def lineage_of(table: Table, operation: str, told: dict[str, Any]) -> Lineage:
    """Where rows come from that were made of one table."""
    return Lineage(
        source=table.source if table.split is None else f"{table.source}:{table.split}",
        revision=table.revision,
        operation=operation,
        arguments=told,
        rows_before=table.rows.height + table.held,
        parents=[table.parent] if table.parent else [],
        sha256=table.fingerprint,
    )


def described(info: DatasetInfo, rows: pl.DataFrame, notes: list[str]) -> MadeDataset:
    """What a tool answers about a dataset that it has made."""
    found = formats.detect(rows)
    return MadeDataset(
        id=info.id,
        rows_before=info.lineage.rows_before,
        rows=info.rows,
        columns=info.columns,
        format=found.name,
        methods=list(found.methods),
        path=info.path,
        notes=[*notes, *([found.hint] if found.hint else [])],
    )
