"""Look at data, judge it, and turn it into what a training takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.context import ToolContext
from ml_intern.data import audit as auditing
from ml_intern.data import filtering, formats, mixing, sealing, splitting
from ml_intern.data.audit import AuditReport
from ml_intern.data.formats import Target
from ml_intern.data.results import DatasetView, MadeDataset, SplitResult
from ml_intern.data.store import DatasetInfo, Lineage, check_name
from ml_intern.data.table import Table, columns_of, group_column, name_of, sample_of
from ml_intern.data.units import CHUNK_CHARS, UNITS, Unit
from ml_intern.errors import ToolError
from ml_intern.evals.scorers import ScorerName
from ml_intern.tooling import tool

if TYPE_CHECKING:
    import polars as pl

AGAIN = "the same rows of the same source are the version that is there"
"""Why what makes a dataset may be called again: it does not read what it has made itself."""
SHOWN_ROWS = 50
SHOWN_CHARS = 300


@tool(effect="read")
def inspect_dataset(
    ctx: ToolContext,
    source: str,
    split: str = "train",
    rows: int = 5,
    offset: int = 0,
    chars: int = SHOWN_CHARS,
) -> DatasetView:
    """Show what a dataset holds: rows, columns, splits, TRL format, and a few rows.

    What a sealed evaluation holds out is left out, here and where a dataset is made; notes say how many rows.

    Args:
        source: A dataset of this session ("name@2"), a file (jsonl, json, csv, parquet, text), a folder of
            data or source files, "python-stdlib" (code lines of Python's own library), or a Hub id
            ("owner/name:split").
        split: Which split to show, where the source has several.
        rows: Rows to show, at most 50.
        offset: First row to show.
        chars: Longest text to show; longer ones are shortened and say so.
    """
    table = sealing.openly(ctx.evals, ctx.datasets.open(source, split))
    found = formats.detect(table.rows)
    offset = max(0, offset)
    sample = sample_of(table.rows, offset, max(0, min(rows, SHOWN_ROWS)), max(1, chars))
    end = offset + len(sample)
    return DatasetView(
        source=table.source,
        split=table.split,
        splits=list(table.splits),
        rows=table.rows.height,
        columns=columns_of(table.rows),
        unit=table.unit,
        group=group_column(table.rows),
        format=found.name,
        methods=list(found.methods),
        sample=sample,
        more=f"offset={end} shows the next rows, chars=1000 longer texts" if end < table.rows.height else "",
        notes=[*table.notes, *([found.hint] if found.hint else [])],
    )


@tool(effect="read")
def audit_dataset(ctx: ToolContext, source: str, text: str | None = None) -> AuditReport:
    """Measure what is wrong with a dataset: missing values, duplicates, lengths, labels, leaks, encoding.

    Where the text looks like Python, `python_parse_share` is the share of rows that parse alone.

    Args:
        source: As for inspect_dataset.
        text: Column of the text; nothing means the one that has a usual name.
    """
    table = ctx.datasets.open(source)
    ctx.progress(f"auditing {table.rows.height} rows")
    report = auditing.audit(table.rows, table.source, text)
    report.findings += list(table.notes)
    if len(table.splits) > 1:
        tables = {name: ctx.datasets.open(source, name).rows for name in table.splits if name != table.split}
        report.leaks = auditing.leaks({str(table.split): table.rows, **tables})
        report.findings[:0] = auditing.describe_leaks(report.leaks)
    return report


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
            (messages), preference (prompt, chosen, rejected), prompt_only (prompt, and all other columns
            as they are), or a unit of text: statements (code lines of Python files), lines, paragraphs,
            chunks.
        mapping: Column of the target → column of the source or a template: {"prompt": "Q: {question}\\n"}.
        name: Name of the new dataset.
        size: Characters of a chunk.
    """
    if size < 1:
        raise ToolError(f"size = {size} is not a number of characters.", "Give 1 or more.")
    unit: Unit | None = target if target in UNITS else None
    table = _open(ctx, source, unit, size)
    if table.unit and target in (table.unit, "auto", "language_modeling"):
        rows, notes = table.rows, list[str]()
    else:
        rows, notes = formats.reformat(table.rows, target, mapping, size)
        # Cut into smaller units, a row may turn out to hold an item that was too short to count before.
        rows, held = sealing.without_held_out(ctx.evals, rows)
        notes = [*notes, *sealing.left_out(held)]
    told = {"target": target, "mapping": mapping, **({"size": size} if target == "chunks" else {})}
    return _made(
        ctx,
        name or f"{name_of(source)}-{target.replace('_', '-')}",
        rows,
        table,
        "reformat_dataset",
        told,
        notes,
    )


@tool(effect="write", repeatable=AGAIN)
def filter_dataset(ctx: ToolContext, source: str, where: str, name: str | None = None) -> MadeDataset:
    """Keep the rows for which a condition holds.

    Args:
        source: As for inspect_dataset.
        where: "parses_python(text)", "parses_json(answer)", or SQL such as
            "char_length(text) > 20 AND label = 'good'".
        name: Name of the new dataset.
    """
    table = _open(ctx, source)
    kept = table.rows.filter(filtering.mask(table.rows, where))
    if kept.is_empty():
        raise ToolError(
            f"No row of {table.rows.height} meets {where!r}.", "Look at some rows with inspect_dataset."
        )
    return _made(
        ctx, name or f"{name_of(source)}-filtered", kept, table, "filter_dataset", {"where": where}, []
    )


@tool(effect="write", repeatable=AGAIN)
def deduplicate_dataset(
    ctx: ToolContext,
    source: str,
    columns: list[str] | None = None,
    near: bool = False,
    name: str | None = None,
) -> MadeDataset:
    """Keep the first of rows that say the same.

    Args:
        source: As for inspect_dataset.
        columns: What to compare; nothing means the content without the row's origin.
        near: Whether texts that differ only in case, digits and signs are the same.
        name: Name of the new dataset.
    """
    table = _open(ctx, source)
    kept = auditing.first_of_each(table.rows, columns, near)
    told = {"columns": columns, "near": near}
    return _made(ctx, name or f"{name_of(source)}-deduplicated", kept, table, "deduplicate_dataset", told, [])


@tool(effect="write", repeatable=AGAIN)
def split_dataset(
    ctx: ToolContext,
    source: str,
    fractions: dict[str, float] = {"train": 0.9, "dev": 0.05, "test": 0.05},  # noqa: B006
    seed: int = 0,
    group: str | None = None,
    seal: str | bool | None = None,
    scorers: list[ScorerName] | None = None,
    name: str | None = None,
    max_rows: dict[str, int] | None = None,
    seal_where: str | None = None,
    primary: ScorerName | None = None,
    own_splits: bool = False,
) -> SplitResult:
    """Divide a dataset into a training set and a sealed evaluation that no cell and no training can read.

    Groups (files, say) stay whole, and a training row that repeats a held-out one is left out. Once rows are
    sealed, no tool shows them, and cells can no longer read the datasets of this session that hold them.

    Args:
        source: As for inspect_dataset.
        fractions: Share of the rows for train and for dev, test or both.
        seed: The same seed gives the same split.
        group: Column whose groups stay whole; nothing means the file, where rows come from several.
        seal: Name of the evaluation; nothing means the source's name; False makes datasets of held-out rows.
        scorers: Metrics of the evaluation; nothing means what suits the data. bits_per_byte reads held-out
            text, python_parses samples from nothing (the only one that does), exact_match and numeric_match
            compare greedy answers with what is right. help(evaluate) says what each counts.
        name: Name of the training set; nothing means the source's name and "-train".
        max_rows: Most rows of each split: {"train": 20000, "dev": 400, "test": 400}.
        seal_where: Condition for held-out rows, as in filter_dataset; training rows need not meet it.
        primary: The metric that decides; nothing means the first scorer.
        own_splits: Hold out the dev and test that the source has, and make only what it lacks.
    """
    called = check_name(name or f"{name_of(source)}-train")
    # What is sealed anew may be sealed already; what is not sealed is shown to everybody.
    table = _open(ctx, source) if seal is False else ctx.datasets.open(source, maker=ctx.key)
    given = _own(ctx, source, table) if own_splits else {}
    ctx.progress(f"splitting {table.rows.height} rows")
    parts = splitting.split(table.rows, fractions, seed, group, seal_where, max_rows, given)
    result = SplitResult(
        train="",
        path=Path(),
        eval=None,
        rows={},
        dropped_duplicates=parts.dropped,
        group=parts.group,
        notes=[*table.notes, *parts.notes],
    )
    if seal is not False:
        _seal(ctx, seal if isinstance(seal, str) else name_of(source), parts, result, scorers, primary)
    told = {
        "fractions": fractions,
        "seed": seed,
        "group": parts.group,
        "max_rows": max_rows,
        "seal_where": seal_where,
        "own_splits": own_splits,
    }
    for split, rows in parts.rows.items():
        result.rows[split] = rows.height
        if split == "train" or seal is False:
            called = name if name and split == "train" else f"{name or name_of(source)}-{split}"
            made = _save(
                ctx, called, rows, table, "split_dataset", {**told, "eval": result.eval, "split": split}
            )
            result.datasets[split] = made.id
            result.path = made.path if split == "train" else result.path
    result.train = result.datasets.pop("train")
    return result


def _own(ctx: ToolContext, source: str, table: Table) -> dict[str, pl.DataFrame]:
    """The held-out splits that a source comes with."""
    names = [name for name in table.splits if name != table.split and "/" not in name]
    if not names:
        raise ToolError(f"{source} has no held-out splits of its own.", "Leave own_splits out.")
    return {name: ctx.datasets.open(source, name, maker=ctx.key).rows for name in names}


def _seal(
    ctx: ToolContext,
    name: str,
    parts: splitting.Parts,
    result: SplitResult,
    scorers: Sequence[str] | None,
    primary: str | None,
) -> None:
    """Register what is held out before anything is written, and take it out of what can be read."""
    held = {split: rows for split, rows in parts.rows.items() if split != "train"}
    eval_ = sealing.prepare(name, held, parts.group, scorers, primary)
    sealing.register(ctx.evals, eval_)
    told = ctx.evals.described(ctx.evals.get(eval_.name)).detectable
    result.notes += [f"dev: {told['dev'].says}"] if "dev" in told else []
    parts.rows["train"], again = sealing.sweep(ctx.evals, parts.rows["train"])
    result.eval, result.scorers, result.primary = eval_.name, eval_.scorers, eval_.primary
    result.dropped_duplicates += again
    result.notes += eval_.notes
    if closed := sealing.withdraw(ctx.evals, ctx.datasets):
        result.notes.append(
            f"Cells cannot read {', '.join(closed)} any more: held-out rows are among the rows."
        )


@tool(effect="write", repeatable=AGAIN)
def mix_datasets(
    ctx: ToolContext,
    parts: dict[str, float],
    rows: int | None = None,
    upsample: bool = True,
    seed: int = 0,
    name: str | None = None,
) -> MadeDataset:
    """Put datasets of one format together by weight, in random order; of one, so many rows.

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
    tables = {source: _open(ctx, source) for source in parts}
    frames = {source: table.rows for source, table in tables.items()}
    wanted = mixing.shares({source: f.height for source, f in frames.items()}, parts, rows, upsample)
    mixed = mixing.mix(frames, wanted, seed)
    told = {"parts": parts, "rows": rows, "upsample": upsample, "seed": seed}
    notes = [note for table in tables.values() for note in table.notes]
    notes += [f"{source}: {count} of {frames[source].height} rows" for source, count in wanted.items()]
    lineage = Lineage(
        source=" + ".join(t.source for t in tables.values()),
        operation="mix_datasets",
        arguments=told,
        rows_before=sum(f.height for f in frames.values()),
        parents=[t.parent for t in tables.values() if t.parent],
        sha256=" ".join(t.fingerprint for t in tables.values()),
    )
    info = ctx.datasets.save(name or "-".join(["mix", *map(name_of, parts)])[:60], mixed, lineage, ctx.key)
    return _result(info, mixed, notes)


def _open(ctx: ToolContext, source: str, unit: Unit | None = None, size: int = CHUNK_CHARS) -> Table:
    """A source to make something of, without the rows that are held out."""
    table = sealing.openly(ctx.evals, ctx.datasets.open(source, unit=unit, size=size, maker=ctx.key))
    if table.rows.is_empty() and table.notes:
        raise ToolError(f"Nothing is left of {source!r}: {table.notes[-1]}", "Take another source.")
    return table


def _made(
    ctx: ToolContext,
    name: str,
    rows: pl.DataFrame,
    table: Table,
    operation: str,
    told: dict[str, Any],
    notes: list[str],
) -> MadeDataset:
    return _result(_save(ctx, name, rows, table, operation, told), rows, [*table.notes, *notes])


def _save(
    ctx: ToolContext, name: str, rows: pl.DataFrame, table: Table, operation: str, told: dict[str, Any]
) -> DatasetInfo:
    lineage = Lineage(
        source=table.source if table.split is None else f"{table.source}:{table.split}",
        operation=operation,
        arguments=told,
        rows_before=table.rows.height,
        parents=[table.parent] if table.parent else [],
        sha256=table.fingerprint,
    )
    return ctx.datasets.save(name, rows, lineage, ctx.key)


def _result(info: DatasetInfo, rows: pl.DataFrame, notes: list[str]) -> MadeDataset:
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
