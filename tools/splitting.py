"""Divide data into what trains and what measures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ml_intern.context import ToolContext
from ml_intern.data import sealing, splitting
from ml_intern.data.making import AGAIN, open_source, save
from ml_intern.data.results import SplitResult
from ml_intern.data.store import check_name
from ml_intern.data.table import Table, name_of
from ml_intern.errors import ToolError
from ml_intern.evals.scorers import ScorerName
from ml_intern.tooling import tool

if TYPE_CHECKING:
    import polars as pl

SUBJECT = "datasets"


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

    Groups (files, say) stay whole, and a training row that repeats a held-out one is left out; `left_out`
    says why rows are in no split. Once rows are sealed, no tool shows them, no other evaluation takes them,
    and cells can no longer read the datasets of this session that hold them.

    Args:
        source: As for inspect_dataset.
        fractions: Share of the rows for train and for dev, test or both.
        seed: The same seed gives the same split.
        group: Column whose groups stay whole; nothing means the file, where rows come from several.
        seal: Name of the evaluation; nothing means the source's name; False makes datasets of held-out rows.
        scorers: Metrics of the evaluation; nothing means what suits the data. bits_per_byte reads held-out
            text, python_parses samples from nothing (the only one that does), exact_match, numeric_match and
            math_match compare greedy answers with what is right, multiple_choice and
            multiple_choice_normalized need a column of options (choices), code_passes one of Python (tests),
            rubric one of criteria, reward the setting reward_model. help(evaluate) says what each counts.
        name: Name of the training set; nothing means the source's name and "-train".
        max_rows: Most rows of each split: {"train": 20000, "dev": 400, "test": 400}.
        seal_where: Condition for held-out rows, as in filter_dataset; training rows need not meet it.
        primary: The metric that decides; nothing means the first scorer.
        own_splits: Hold out the dev and test that the source has, and make only what it lacks.
    """
    called = check_name(name or f"{name_of(source)}-train")
    # What is sealed anew may be sealed already; what is not sealed is shown to everybody.
    table = open_source(ctx, source) if seal is False else ctx.datasets.open(source, maker=ctx.key)
    given = _own(ctx, source, table) if own_splits else {}
    ctx.progress(f"splitting {table.rows.height} rows")
    parts = splitting.split(table.rows, fractions, seed, group, seal_where, max_rows, given)
    result = SplitResult(
        train="",
        path=Path(),
        eval=None,
        rows_before=len(parts.fates),
        rows={},
        dropped_duplicates=parts.dropped,
        group=parts.group,
        notes=[*table.notes, *parts.notes],
    )
    if seal is not False:
        result.notes += _still_open(ctx, source)
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
            made = save(
                ctx, called, rows, table, "split_dataset", {**told, "eval": result.eval, "split": split}
            )
            result.datasets[split] = made.id
            result.path = made.path if split == "train" else result.path
    result.train = result.datasets.pop("train")
    result.left_out = parts.left_out
    _record(ctx, parts, result)
    return result


def _record(ctx: ToolContext, parts: splitting.Parts, result: SplitResult) -> None:
    """Write down where each row went. Of sealed rows only the host may know which they were."""
    lines = "".join(json.dumps({"row": row, "to": to}) + "\n" for row, to in enumerate(parts.fates))
    sealed = result.eval is not None
    folder = ctx.evals.folder / "splits" if sealed else result.path.parent
    file = folder / (f"{result.train}.jsonl" if sealed else "rows.jsonl")
    folder.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}")
    fresh.write_text(lines, encoding="utf-8")
    fresh.chmod(0o600 if sealed else 0o644)
    fresh.replace(file)
    result.record = None if sealed else file


def _held(parts: splitting.Parts) -> dict[str, pl.DataFrame]:
    return {split: rows for split, rows in parts.rows.items() if split != "train"}


def _still_open(ctx: ToolContext, source: str) -> list[str]:
    """A note where cells go on reading the source, as it lies where they work."""
    for name in filter(None, (source, source.rpartition(":")[0])):
        path = ctx.files.workspace / name
        if path.exists() and path.resolve().is_relative_to(ctx.files.workspace):
            return [
                f"Cells still read the held-out rows in {name!r}, which lies in the workspace, and no script"
                " starts beside it: delete it if it is a copy that you made."
            ]
    return []


def _own(ctx: ToolContext, source: str, table: Table) -> dict[str, pl.DataFrame]:
    """The held-out splits that a source comes with."""
    names = [name for name in table.splits if name != table.split and "/" not in name]
    if not names:
        raise ToolError(f"{source} has no held-out splits of its own.", "Leave own_splits out.")
    return {name: ctx.datasets.open(table.source, name, maker=ctx.key).rows for name in names}


def _seal(
    ctx: ToolContext,
    name: str,
    parts: splitting.Parts,
    result: SplitResult,
    scorers: Sequence[str] | None,
    primary: str | None,
) -> None:
    """Register what is held out before anything is written, and take it out of what can be read."""
    held = _held(parts)
    eval_ = sealing.prepare(name, held, parts.group, scorers, primary)
    if twice := sealing.sealed_elsewhere(ctx.evals, eval_, held):
        for split, positions in twice.items():
            parts.drop(split, positions, "sealed in another evaluation")
        eval_ = sealing.prepare(name, _held(parts), parts.group, scorers, primary)
    sealing.register(ctx.evals, eval_)
    told = ctx.evals.described(ctx.evals.get(eval_.name)).detectable
    result.notes += [f"dev: {told['dev'].says}"] if "dev" in told else []
    again = sealing.sweep(ctx.evals, parts.rows["train"])
    parts.drop_train(again, "holds a row of an evaluation")
    result.eval, result.scorers, result.primary = eval_.name, eval_.scorers, eval_.primary
    result.dropped_duplicates += len(again)
    result.notes += eval_.notes
    if closed := sealing.withdraw(ctx.evals, ctx.datasets):
        result.notes.append(
            f"Cells cannot read {', '.join(closed)} any more: held-out rows are among the rows."
        )
