"""deduplicate_dataset beside the real store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ml_intern.context import Services, ToolContext
from ml_intern.data.store import DatasetStore
from ml_intern.errors import ToolError
from ml_intern.evals.store import Evals
from ml_intern.ledger import Ledger
from ml_intern.settings import Settings
from ml_intern.tools.deduplication import deduplicate_dataset
from ml_intern.workspace.files import Files

ROWS = [
    {"text": f"The {n} {what} of the harbour were counted by {who} on the first of the month.", "n": n}
    for n, (what, who) in enumerate(
        [
            ("lanterns", "a clerk"),
            ("barrels", "two sisters"),
            ("anchors", "nobody"),
            ("sailors", "their mothers"),
        ]
    )
]


@pytest.fixture
def ctx(tmp_path: Path) -> ToolContext:
    for name in ("work", "project", "session"):
        (tmp_path / name).mkdir()
    folder, nothing = tmp_path / "session", None
    settings = Settings.load(state=tmp_path / "state")
    files, ledger = Files(tmp_path / "work", tmp_path / "project"), Ledger(folder / "ledger.sqlite")
    evals = Evals(folder / "evals", nothing, ledger, settings)  # type: ignore[arg-type]
    store = DatasetStore(folder / "datasets", files)
    many: Any = (nothing, ledger, evals, nothing, lambda event: None)
    return ToolContext(Services("s", folder, settings, files, store, *many), "call", "key")


def write(ctx: ToolContext, rows: list[dict[str, Any]]) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (ctx.files.workspace / "rows.jsonl").write_text(lines)


def test_exact_and_near_with_a_report_and_lineage(ctx: ToolContext) -> None:
    near = [{**row, "text": row["text"].upper()} for row in ROWS[:2]]
    write(ctx, [*ROWS, ROWS[0], *near])
    made = deduplicate_dataset(ctx, "rows.jsonl", ["text"], near=True)
    assert (made.rows_before, made.rows, made.exact, made.near) == (7, 4, 1, 2)
    assert made.pairs == [(5, 0), (6, 1)]
    kept = ctx.datasets.open(made.id).rows
    assert kept["n"].to_list() == [0, 1, 2, 3] and kept.columns == ["text", "n"]
    lineage = ctx.datasets.info(made.id).lineage
    assert (lineage.source, lineage.operation) == ("rows.jsonl", "deduplicate_dataset")
    assert lineage.arguments == {"columns": ["text"], "near": True, "similarity": 0.8}
    assert (lineage.rows_before, lineage.rows_after) == (7, 4)
    assert deduplicate_dataset(ctx, "rows.jsonl", ["text"], near=True).id == made.id


def test_held_out_rows_are_left_out(ctx: ToolContext) -> None:
    held = "Whoever finds the seventh key opens the little cupboard under the stairs."
    ctx.evals.register("held", [{"text": held}], ["bits_per_byte"])
    write(ctx, [*ROWS, ROWS[0], {"text": held, "n": 0}])
    made = deduplicate_dataset(ctx, "rows.jsonl")
    assert (made.rows, made.exact) == (4, 1)
    near = "or too near to what is (1 word for word, numbers aside)"
    assert made.notes == [f"1 rows that are held out in held {near} are left out."]


def test_a_column_that_is_not_there(ctx: ToolContext) -> None:
    write(ctx, ROWS)
    with pytest.raises(ToolError, match="did you mean 'text'"):
        deduplicate_dataset(ctx, "rows.jsonl", ["texts"])
