"""Judge data before anything is trained on it."""

from __future__ import annotations

from ml_intern.context import ToolContext
from ml_intern.data import audit as auditing
from ml_intern.data.audit import AuditReport
from ml_intern.tooling import tool


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
