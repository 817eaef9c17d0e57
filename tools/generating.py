"""Have the session's model write data."""

from __future__ import annotations

from math import ceil
from typing import Annotated, Any

from pydantic import Field

from ml_intern.context import ToolContext
from ml_intern.data import generating
from ml_intern.data.frames import frame
from ml_intern.data.generating import Drafts, Kind, Writer
from ml_intern.data.making import described, finished, open_source
from ml_intern.data.results import GeneratedDataset
from ml_intern.data.store import Lineage, check_name
from ml_intern.data.table import Table, digest, slug
from ml_intern.errors import Interrupted, ToolError
from ml_intern.tooling import tool

SUBJECT = "datasets"
AGAIN = "what the model has answered stands in the journal, and only what is missing is asked"
MOST_SEEDS = 1_000
NO_MODEL = "There is no language model to write data."


@tool(effect="compute", repeatable=AGAIN)
def generate_data(
    ctx: ToolContext,
    instructions: Annotated[str, Field(min_length=1)],
    seeds: str | list[dict[str, Any]] | None = None,
    count: Annotated[int, Field(ge=1, le=10_000)] = 20,
    columns: dict[str, Kind] | None = None,
    where: str | None = None,
    name: str | None = None,
    seed: int = 0,
) -> GeneratedDataset:
    """Have the session's model write rows, check each of them, and make a dataset of those that are sound.

    Rows with other columns, of other kinds, empty, repeated, against the rule, or that hold what an
    evaluation holds out are left out: `rejected` counts them by reason, `rejected_examples` shows some.
    Tokens and dollars count for the budget. Read some rows before you train on them: their form is checked
    here, their truth is not.

    Args:
        instructions: What the rows shall say, for whom, how varied; in plain words.
        seeds: Rows that show the form, or a source of them as for inspect_dataset; not part of the result.
        count: Rows wanted; fewer come back where the model repeats itself, and notes say so.
        columns: What each column holds; nothing means the columns of the seeds.
        where: A rule that every row must meet, as in filter_dataset: "char_length(prompt) < 400".
        name: Name of the new dataset.
        seed: Decides which seeds stand in which question.
    """
    called = check_name(name or f"generated-{slug(instructions)[:40]}".strip("-"))
    table = _seeds(ctx, seeds)
    kinds = columns or (generating.columns_of_seeds(table.rows) if table else None)
    if not kinds:
        raise ToolError("Nothing tells the columns.", "Give seeds, or columns={'prompt': 'text', …}.")
    rows = table.rows.head(MOST_SEEDS).to_dicts() if table else []
    if rows and (missing := [column for column in kinds if column not in rows[0]]):
        raise ToolError(f"The seeds have no column {missing[0]!r}.", f"They have {', '.join(rows[0])}.")
    writer = Writer(instructions, kinds, rows, where, ctx.evals.held_out, seed)
    notes = _write(ctx, writer, count)
    told = {"instructions": instructions, "columns": kinds, "count": count, "where": where, "seed": seed}
    return _saved(ctx, called, writer.drafts, table, told, notes)


def _seeds(ctx: ToolContext, seeds: str | list[dict[str, Any]] | None) -> Table | None:
    """The seeds as a table; what is held out is none of them."""
    if isinstance(seeds, str):
        return open_source(ctx, seeds)
    if not seeds:
        return None
    rows = frame("seeds", seeds, [])
    return Table(rows, "seeds", digest(rows.write_ndjson().encode()))


def _write(ctx: ToolContext, writer: Writer, count: int) -> list[str]:
    """Ask until there are enough rows, the model has nothing new, or too much was asked."""
    if ctx.services.consult is None:
        raise ToolError(NO_MODEL, "Run with --model SCHEME:NAME.")
    drafts, idle = writer.drafts, 0
    most = generating.EXCESS * ceil(count / generating.AT_ONCE) + 1
    while (missing := count - len(drafts.rows)) > 0 and drafts.requests < most and idle < generating.PATIENCE:
        if ctx.cancelled():
            raise Interrupted("Stopped; what was written so far is kept for when the session goes on.")
        wanted = min(missing, generating.AT_ONCE)
        said = ctx.services.consult(ctx, writer.question(wanted), drafts.requests)
        idle = 0 if writer.take(said.text, missing) else idle + 1
        _count(drafts, said.tokens, said.usd, said.model)
        ctx.progress(f"{len(drafts.rows)} of {count} rows", len(drafts.rows) / count)
    if not drafts.rows:
        raise ToolError(
            f"No sound row came back: {_reasons(drafts)}.", "Say it in other words, or give seeds."
        )
    short = count - len(drafts.rows)
    return [f"{len(drafts.rows)} of {count} rows; others were left out: {_reasons(drafts)}."] if short else []


def _count(drafts: Drafts, tokens: tuple[int, int], usd: float | None, model: str) -> None:
    drafts.tokens = [have + new for have, new in zip(drafts.tokens, tokens, strict=True)]
    drafts.usd = None if usd is None or drafts.usd is None else drafts.usd + usd
    drafts.model = model


def _reasons(drafts: Drafts) -> str:
    return "; ".join(f"{n} {why}" for why, n in drafts.rejected.most_common(3)) or "the replies were empty"


def _saved(
    ctx: ToolContext, name: str, drafts: Drafts, seeds: Table | None, told: dict[str, Any], notes: list[str]
) -> GeneratedDataset:
    rows, more = finished(ctx, name, frame("rows", drafts.rows, []))
    cost = {"model": drafts.model, "requests": drafts.requests, "tokens": drafts.tokens, "usd": drafts.usd}
    lineage = Lineage(
        source=f"written by {drafts.model}" + (f" after {seeds.source}" if seeds else ""),
        revision=seeds.revision if seeds else "",
        operation="generate_data",
        arguments={**told, **cost, "rejected": dict(drafts.rejected)},
        rows_before=drafts.proposed,
        parents=[seeds.parent] if seeds and seeds.parent else [],
        sha256=seeds.fingerprint if seeds else "",
    )
    made = described(ctx.datasets.save(name, rows, lineage, ctx.key), rows, [*notes, *more])
    return GeneratedDataset(
        **made.model_dump(),
        rejected=dict(drafts.rejected),
        rejected_examples=drafts.examples,
        requests=drafts.requests,
        tokens=sum(drafts.tokens),
        usd=drafts.usd,
        model=drafts.model,
    )
