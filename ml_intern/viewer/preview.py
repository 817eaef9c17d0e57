"""The first look at a dataset of huggingface.co, without a download where the viewer has it.

What a sealed evaluation holds out is as closed here as where the whole dataset is loaded. A page of a hundred
rows does not tell what the whole would: as soon as any of it is near to an evaluation, the whole is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ml_intern.data import formats, layout
from ml_intern.data.frames import frame
from ml_intern.data.results import DatasetView
from ml_intern.data.table import columns_of, group_column, sample_of
from ml_intern.errors import ToolError
from ml_intern.viewer.answers import Rows, SplitName
from ml_intern.viewer.client import MOST_ROWS, Viewer, ViewerError
from ml_intern.viewer.features import bare, in_words

if TYPE_CHECKING:
    import polars as pl

    from ml_intern.context import ToolContext

SERVICE = "dataset-viewer"


@dataclass(frozen=True)
class Asked:
    """What is to be shown."""

    source: str
    repo: str
    split: str
    offset: int
    rows: int
    chars: int


def look(ctx: ToolContext, source: str, split: str, offset: int, rows: int, chars: int) -> DatasetView | str:
    """What the viewer shows of a source; else why not, empty where it was not even asked.

    Raises:
        ToolError: It is an evaluation's, or has no such split.
    """
    named = ctx.datasets.on_the_hub(source)
    if named is None or not _reached(ctx, named[0]):
        return ""
    asked = Asked(source, named[0], named[1] or split, offset, rows, chars)
    ctx.evals.refuse(asked.repo, asked.split)
    viewer = Viewer(ctx.web, ctx.credential("hub"))
    try:
        splits = _by_name(viewer.splits(asked.repo).splits)
        chosen = _chosen(splits, asked)
        ctx.evals.refuse(asked.repo, chosen)
        found, notes = _rows(viewer, asked, splits[chosen])
    except ViewerError as error:
        return error.message
    return _view(ctx, asked, chosen, list(splits), found, notes) or ""


def _reached(ctx: ToolContext, repo: str) -> bool:
    """Whether the viewer knows this Hub, and looking there spares a download."""
    mirrored = SERVICE in ctx.settings.web_mirrors
    kept = ctx.hub.cache / f"datasets--{repo.replace('/', '--')}"
    return (ctx.hub.official or mirrored) and not ctx.web.offline and not kept.exists()


def _by_name(splits: list[SplitName]) -> dict[str, SplitName]:
    """Splits as they are called where a dataset is loaded: those of the default subset by their bare names.

    Raises:
        ViewerError: There are none.
    """
    if not splits:
        raise ViewerError("The dataset viewer knows no split of it.", "", "broken")
    configs = list(dict.fromkeys(s.config for s in splits))
    default = configs[0] if len(configs) == 1 else "default"
    return {s.split if s.config == default else str(s): s for s in splits}


def _chosen(splits: dict[str, SplitName], asked: Asked) -> str:
    """The split that is meant; of several subsets the first that has it.

    Raises:
        ToolError: None has it.
    """
    try:
        return layout.choose({name: [] for name in splits}, asked.split, asked.repo)
    except ToolError:
        if found := next((n for n, s in splits.items() if s.split == asked.split), None):
            return found
        raise


def _rows(viewer: Viewer, asked: Asked, split: SplitName) -> tuple[Rows, list[str]]:
    """A page of rows, or the first ones where no page can be had.

    Raises:
        ViewerError: Neither.
    """
    try:
        return viewer.rows(asked.repo, split.config, split.split, asked.offset, MOST_ROWS), []
    except ViewerError as error:
        if asked.offset or error.why not in ("broken", "not ready", "closed"):
            raise
        first = viewer.first_rows(asked.repo, split.config, split.split)
        return first, [f"The viewer has the first {len(first.rows)} rows alone; the split may have more."]


def _view(
    ctx: ToolContext, asked: Asked, split: str, splits: list[str], found: Rows, notes: list[str]
) -> DatasetView | None:
    """The view of a page; None where the whole has to be loaded to know what may be shown."""
    shown = [{k: bare(v, found.features.get(k)) for k, v in row.items()} for row in found.rows]
    table = frame(asked.source, shown, notes) if shown else _no_rows(found)
    if ctx.evals.list() and (found.cut or _is_near(ctx, table)):
        return None
    total = found.total if found.total is not None else asked.offset + len(shown)
    sample = sample_of(table, 0, min(asked.rows, table.height), asked.chars)
    end = asked.offset + len(sample)
    fitting = formats.detect(table)
    types = {name: in_words(feature) for name, feature in found.features.items()} or columns_of(table)
    notes = [
        "Shown by the dataset viewer of the Hub, without a download.",
        *notes,
        *_told(found, splits, split),
    ]
    return DatasetView(
        source=asked.source,
        split=split,
        splits=splits,
        rows=total,
        columns=types,
        unit=None,
        group=group_column(table),
        format=fitting.name,
        methods=list(fitting.methods),
        sample=sample,
        more=f"offset={end} shows the next rows, chars=1000 longer texts" if end < total else "",
        notes=[*notes, *([fitting.hint] if fitting.hint else [])],
    )


def _is_near(ctx: ToolContext, rows: pl.DataFrame) -> bool:
    """Whether anything of a page reminds of an evaluation, be it too short to count by itself."""
    if rows.is_empty():
        return False
    found = ctx.evals.guard(rows)
    return not found.clean or found.short_matches > 0 or bool(ctx.evals.held_out(rows))


def _told(found: Rows, splits: list[str], split: str) -> list[str]:
    told = []
    if found.cut:
        told.append(f"The viewer cut long cells of {', '.join(sorted(found.cut))}.")
    if found.partial:
        told.append("The viewer knows the first part of this split only.")
    if "/" in split:
        told.append(f"It has subsets; other tools want the split as '{split}'.")
    return told


def _no_rows(found: Rows) -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame(schema=dict.fromkeys(found.features, pl.String))
