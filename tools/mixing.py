"""Put data together."""

from __future__ import annotations

from ml_intern.context import ToolContext
from ml_intern.data import mixing
from ml_intern.data.making import AGAIN, described, finished, open_source
from ml_intern.data.results import Mixture
from ml_intern.data.store import Lineage
from ml_intern.data.table import name_of
from ml_intern.errors import ToolError
from ml_intern.tooling import tool

SUBJECT = "datasets"


@tool(effect="write", repeatable=AGAIN)
def mix_datasets(
    ctx: ToolContext,
    parts: dict[str, float],
    rows: int | None = None,
    upsample: bool = True,
    seed: int = 0,
    name: str | None = None,
) -> Mixture:
    """Put datasets of one format together by weight, in random order; of one, so many rows.

    `parts` of the result tells of each how many of its rows stand there, and how often one at the most.

    Args:
        parts: Source → weight: {"code-train": 3, "prose-train": 1} takes three rows of four from the first.
            A single part is shuffled, and cut or repeated to `rows`.
        rows: Rows of the mixture; nothing means as many as the parts have together.
        upsample: Whether rows of a part that is too small are repeated.
        seed: The same seed gives the same mixture.
        name: Name of the new dataset.
    """
    if not parts:
        raise ToolError("A mixture needs a part.", 'Such as {"a": 3, "b": 1}.')
    tables = {source: open_source(ctx, source) for source in parts}
    frames = {source: table.rows for source, table in tables.items()}
    wanted = mixing.shares({source: f.height for source, f in frames.items()}, parts, rows, upsample)
    mixed = mixing.mix(frames, wanted, seed)
    called = name or "-".join(["mix", *map(name_of, parts)])[:60]
    mixed, more = finished(ctx, called, mixed)
    counted = mixing.counted({source: f.height for source, f in frames.items()}, wanted)
    told = {"parts": parts, "rows": rows, "upsample": upsample, "seed": seed}
    notes = [note for table in tables.values() for note in table.notes]
    notes += [*(mixing.told(part) for part in counted), *more]
    lineage = Lineage(
        source=" + ".join(t.source for t in tables.values()),
        operation="mix_datasets",
        arguments=told,
        rows_before=sum(f.height for f in frames.values()),
        parents=[t.parent for t in tables.values() if t.parent],
        sha256=" ".join(t.fingerprint for t in tables.values()),
    )
    info = ctx.datasets.save(called, mixed, lineage, ctx.key)
    made = described(info, mixed, notes)
    return Mixture(**made.model_dump(), parts=counted)
