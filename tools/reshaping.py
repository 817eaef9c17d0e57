"""Bring data into the form that a training takes."""

from __future__ import annotations

from ml_intern.context import ToolContext
from ml_intern.data import formats
from ml_intern.data.formats import Target
from ml_intern.data.making import AGAIN, make, open_source
from ml_intern.data.results import MadeDataset
from ml_intern.data.table import name_of
from ml_intern.data.units import CHUNK_CHARS, UNITS, Unit
from ml_intern.errors import ToolError
from ml_intern.tooling import tool

SUBJECT = "datasets"


@tool(effect="write", repeatable=AGAIN)
def reformat_dataset(
    ctx: ToolContext,
    source: str,
    target: Target,
    mapping: dict[str, str] | None = None,
    name: str | None = None,
    size: int = CHUNK_CHARS,
) -> MadeDataset:
    """Bring a dataset into a format that trainings take, or cut its text into units.

    Args:
        source: As for inspect_dataset; the source itself is never changed.
        target: auto (what suits the source), language_modeling (text), prompt_completion, conversational
            (messages), preference (prompt, chosen, rejected), unpaired_preference (prompt, completion,
            label), prompt_only (prompt, and other columns as they are), or a unit of text: statements (code
            lines of Python files), lines, paragraphs, chunks.
        mapping: Column of the target → column of the source or a template: {"prompt": "Q: {question}\\n"}.
        name: Name of the new dataset.
        size: Characters of a chunk.
    """
    if size < 1:
        raise ToolError(f"size = {size} is not a number of characters.", "Give 1 or more.")
    unit: Unit | None = target if target in UNITS else None
    table = open_source(ctx, source, unit, size)
    if table.unit and target in (table.unit, "auto", "language_modeling"):
        rows, notes = table.rows, list[str]()
    else:
        rows, notes = formats.reformat(table.rows, target, mapping, size)
    told = {"target": target, "mapping": mapping, **({"size": size} if target == "chunks" else {})}
    return make(
        ctx,
        name or f"{name_of(source)}-{target.replace('_', '-')}",
        rows,
        table,
        "reformat_dataset",
        told,
        notes,
    )
