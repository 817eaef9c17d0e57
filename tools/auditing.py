"""Judge data before anything is trained on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ml_intern.context import ToolContext
from ml_intern.data import audit as auditing
from ml_intern.data import duplicates, language, sealing
from ml_intern.data.audit import AuditReport, CountTokens
from ml_intern.data.boundaries import cut_prompts
from ml_intern.data.report import NOTHING, REORDERED, SHOWN, describe_reordered
from ml_intern.data.splitting import texts_of
from ml_intern.data.streams import Stream
from ml_intern.data.table import Table
from ml_intern.evals.repositories import SealedSource
from ml_intern.models import resolve_tokenizer
from ml_intern.tooling import tool

if TYPE_CHECKING:
    import polars as pl
    from tokenizers import Tokenizer

SUBJECT = "datasets"
NO_LEAKS = "The source is large, so its splits were not compared; audit_dataset of a sample does."

SEALED = "Sealed, and so not compared: {names}. The guard holds every training against what is sealed."


@tool(effect="read", needs=["hub:read"], quiet=("bytes", "near_means", "language_rows", "python_parse_rows"))
def audit_dataset(
    ctx: ToolContext,
    source: str,
    text: str | None = None,
    tokenizer: str | None = None,
    region: str | None = None,
) -> AuditReport:
    """Measure what is wrong with a dataset; `findings` says it in words, `evidence` has the numbers of rows.

    inspect_dataset(source, offset=row) shows a row.

    Types and missing values, empty rows, exact and near duplicates, the same words in another order (3+4 and
    4+3), two answers to one question, outliers among numbers, lengths, balance of labels, languages, personal
    data (e-mail, phone, card, IBAN) and signs of a wrong encoding in any column of text, rows that stand in
    two splits. Where the text looks like Python, `python_parse_share` is the share of rows that parse alone.
    Near duplicates are those that deduplicate_dataset(near=True) takes out. A large source is read piece by
    piece, and its near duplicates are rows that differ only in case, digits and signs.

    Args:
        source: As for inspect_dataset.
        text: Column of the text; nothing means the one that has a usual name.
        tokenizer: A model, job or folder whose tokenizer counts tokens and tells which prompts lose their end
            to the completion; nothing: neither.
        region: Country, such as "DE", whose national phone numbers count as well as international ones.
    """
    reader = _tokenizer(ctx, tokenizer) if tokenizer else None
    count = _counter(reader) if reader else None
    if stream := ctx.datasets.stream(source):
        report = auditing.audit(_pieces(ctx, stream), stream.source, text, count, region)
        report.streamed = True
        report.findings += stream.notes
        report.findings += [NO_LEAKS] if len(stream.splits) > 1 else []
    else:
        table = ctx.datasets.open(source)
        shown = sealing.openly(ctx.evals, table)
        ctx.progress(f"auditing {shown.rows.height} rows")
        report = auditing.audit(shown.rows, table.source, text, count, region, duplicates.Nearly())
        _look_for_other_orders(shown.rows, report)
        _look_for_cut_prompts(shown.rows, reader, report)
        _compare_splits(ctx, table, report)
        report.findings += [*describe_reordered(report), *shown.notes]
    if report.languages is None and not report.looks_like_python:
        report.findings.append(language.MISSING)
    return report


def _look_for_other_orders(rows: pl.DataFrame, report: AuditReport) -> None:
    """Questions whose words stand in another one in another order."""
    found = [at for at, _ in auditing.reordered([text for text, *_ in texts_of(rows)])]
    if found:
        report.reordered = len(found)
        report.evidence[REORDERED] = found[:SHOWN]
        report.findings = [f for f in report.findings if f != NOTHING]


def _look_for_cut_prompts(rows: pl.DataFrame, tokenizer: Tokenizer | None, report: AuditReport) -> None:
    """Prompts whose end grows into their completion, which only a tokenizer can tell."""
    if tokenizer is not None and (told := cut_prompts(rows, tokenizer)):
        report.findings = [*(f for f in report.findings if f != NOTHING), f"{told}."]


def _compare_splits(ctx: ToolContext, table: Table, report: AuditReport) -> None:
    """What stands in two splits, counted on all rows: that a held-out text is in train is no secret."""
    if len(table.splits) < 2:
        return
    rows, sealed = {str(table.split): table.rows}, list[str]()
    for name in table.splits:
        try:
            rows[name] = rows[name] if name in rows else ctx.datasets.open(table.source, name).rows
        except SealedSource:
            sealed.append(name)
    report.leaks = auditing.leaks(rows)
    report.reordered_leaks = auditing.reordered_leaks(rows)
    if report.leaks or report.reordered_leaks:
        report.findings = [f for f in report.findings if f != NOTHING]
    report.findings[:0] = auditing.describe_leaks(report.leaks)
    report.findings += [SEALED.format(names=", ".join(sealed))] if sealed else []


def _pieces(ctx: ToolContext, stream: Stream) -> Iterator[pl.DataFrame]:
    """The pieces without what is held out."""
    done = held = 0
    for piece in stream.pieces():
        rows, out = sealing.without_held_out(ctx.evals, piece)
        done, held = done + piece.height, held + len(out)
        ctx.progress(f"audited {done} rows")
        yield rows
    if held:
        stream.notes.append(f"{held} rows that are held out, or too near to what is, were left out.")


def _tokenizer(ctx: ToolContext, ref: str) -> Tokenizer:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(resolve_tokenizer(ctx, ref) / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _counter(tokenizer: Tokenizer) -> CountTokens:
    """Counts tokens as a model reads them, without the special ones."""

    def count(texts: Sequence[str]) -> list[int]:
        return [len(e.ids) for e in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    return count
