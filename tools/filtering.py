"""Keep the rows that are worth training on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ml_intern.context import ToolContext
from ml_intern.data import filtering
from ml_intern.data.difficulty import TIMEOUT_S, Difficulty, PassRates, measure
from ml_intern.data.making import make, open_source
from ml_intern.data.results import FilteredDataset
from ml_intern.data.table import name_of
from ml_intern.errors import ToolError
from ml_intern.jobs.hardware import gpu_count
from ml_intern.jobs.model import JobStatus
from ml_intern.models import resolve_model
from ml_intern.prices import Price
from ml_intern.tooling import tool

if TYPE_CHECKING:
    import polars as pl

SUBJECT = "datasets"

AGAIN = "the same rows of the same source are the version that is there, and a job that runs is waited for"
LOOK = "Look at some rows with inspect_dataset."


def _price(ctx: ToolContext, arguments: Any) -> Price:
    """A condition costs nothing; samples are drawn in a job of this machine."""
    if arguments.difficulty is None:
        return Price()
    return Price(usd=0.0, gpu_hours=min(1, gpu_count()) * TIMEOUT_S / 3600, jobs=1)


@tool(effect="compute", needs=["hub:read"], price=_price, repeatable=AGAIN)
def filter_dataset(
    ctx: ToolContext,
    source: str,
    where: str | None = None,
    name: str | None = None,
    difficulty: Difficulty | None = None,
) -> FilteredDataset:
    """Keep the rows for which a condition (SQL) holds, or that are neither too easy nor too hard for a model.

    With `difficulty`, a job draws samples of a model for every row and the host scores them against the row's
    own answer; kept rows have a new column `pass_rate`, the share that was right.

    Args:
        source: As for inspect_dataset.
        where: "parses_python(text)", "parses_json(answer)", or SQL such as
            "char_length(text) > 20 AND label = 'good'".
        name: Name of the new dataset.
        difficulty: {"model": …, "samples": 8, "lowest": 0.1, "highest": 0.9}; where `where` is given too, it
            is looked at first.
    """
    if where is None and difficulty is None:
        raise ToolError("Nothing says which rows to keep.", "Give `where`, `difficulty` or both.")
    table = open_source(ctx, source)
    rows, unmet = table.rows, 0
    if where is not None:
        rows = rows.filter(filtering.mask(rows, where))
        unmet = table.rows.height - rows.height
        if rows.is_empty():
            raise ToolError(f"No row of {table.rows.height} meets {where!r}.", LOOK)
    told: dict[str, Any] = {"where": where}
    left_out = {f"does not meet {where!r}": unmet} if unmet else {}
    left_out |= {"held out in an evaluation": table.held} if table.held else {}
    rates: PassRates | None = None
    if difficulty is not None:
        rates = _measured(ctx, rows, difficulty)
        rows = _between(rows, rates, difficulty)
        left_out |= rates.left_out(difficulty)
        told["difficulty"] = {**difficulty.model_dump(), "scorer": rates.scorer, "job": rates.job}
    called = name or f"{name_of(source)}-filtered"
    made = make(ctx, called, rows, table, "filter_dataset", told, [])
    spread = rates.spread() if rates else {}
    return FilteredDataset(**made.model_dump(), left_out=left_out, pass_rates=spread)


def _measured(ctx: ToolContext, rows: pl.DataFrame, difficulty: Difficulty) -> PassRates:
    model = resolve_model(ctx, difficulty.model)

    def progress(status: JobStatus) -> None:
        ctx.progress(f"sampling {difficulty.model}: {status.state}")

    folder = ctx.services.folder / "sampling"
    return measure(rows, difficulty, model, ctx.jobs, folder, ctx.key, ctx.cancelled, progress)


def _between(rows: pl.DataFrame, rates: PassRates, difficulty: Difficulty) -> pl.DataFrame:
    """The rows between the bounds, with their pass rates.

    Raises:
        ToolError: There are none.
    """
    import polars as pl

    kept = rows.with_columns(pl.Series("pass_rate", rates.rates, pl.Float64)).filter(
        pl.Series(rates.kept(difficulty))
    )
    if kept.is_empty():
        shown = ", ".join(f"{count} at {rate}" for rate, count in list(rates.spread().items())[:6])
        raise ToolError(
            f"No row lies between the bounds; pass rates: {shown}.", "Widen them, or ask another."
        )
    return kept
