"""What a script is given, and what a training goes on with, is compared with the evaluations as well."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ml_intern.context import Services, ToolContext
from ml_intern.data.store import DatasetStore, Lineage
from ml_intern.errors import ToolError
from ml_intern.evals.store import Evals
from ml_intern.jobs.asking import guard_again
from ml_intern.jobs.local import Jobs
from ml_intern.jobs.model import JobSpec
from ml_intern.ledger import Ledger
from ml_intern.settings import Settings
from ml_intern.tools import training
from ml_intern.workspace.files import Files

ITEM = "If nineteen herons share 40 fish with seven otters, how many fish are left for the ferryman?"
OTHER = ITEM.replace("40", "55")


@pytest.fixture
def ctx(tmp_path: Path) -> ToolContext:
    settings = Settings(state=tmp_path / "state")
    folder = settings.state / "session"
    (folder / "workspace").mkdir(parents=True)
    files, ledger = Files(folder / "workspace", tmp_path), Ledger(folder / "ledger.sqlite")
    jobs, hub = Jobs(folder / "jobs", None, settings, lambda event: None), None
    evals = Evals(folder / "evals", jobs, ledger, settings)
    store = DatasetStore(folder / "datasets", files)
    many: Any = (store, jobs, ledger, evals, hub, lambda event: None)
    return ToolContext(Services("s", folder, settings, files, *many), "call", "key")


def seal(ctx: ToolContext) -> None:
    ctx.evals.register("birds", [{"text": ITEM}], ["bits_per_byte"])


@pytest.mark.parametrize("given", ["code", "file", "folder", "dataset"])
def test_a_script_gets_no_items(ctx: ToolContext, given: str) -> None:
    rows = [{"text": "A clean row about nothing in particular."}, {"text": OTHER}]
    ctx.datasets.save("mine", rows, Lineage(source="t", operation="t"))
    seal(ctx)
    (ctx.files.workspace / "data").mkdir()
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    for place in ("rows.jsonl", "data/train.jsonl"):
        (ctx.files.workspace / place).write_text(lines)
    code = f"rows = [{OTHER!r}]" if given == "code" else "print(1)"
    inputs = {"code": None, "file": ["rows.jsonl"], "folder": ["data"], "dataset": ["mine"]}[given]
    with pytest.raises(ToolError, match="hold items of birds: 1 word for word, numbers aside"):
        training.launch_script(ctx, code, inputs=inputs, hardware="cpu")
    assert ctx.jobs.list() == []


def test_a_training_does_not_go_on_with_what_was_sealed_since(ctx: ToolContext) -> None:
    ctx.datasets.save("mine", [{"text": OTHER}] * 3, Lineage(source="t", operation="t"))
    spec = JobSpec(name="n", method="sft", config={"dataset": "mine@1"}, timeout_s=1)
    guard_again(ctx, spec)
    seal(ctx)
    with pytest.raises(ToolError, match="3 of 3 training rows"):
        guard_again(ctx, spec)


def test_nor_with_held_out_texts_that_were_sealed_since(ctx: ToolContext) -> None:
    store, lineage = ctx.datasets, Lineage(source="t", operation="t")
    made = store.save("mine", [{"text": "A clean row about nothing in particular."}], lineage)
    watched = store.save("watched", [{"text": OTHER}], lineage)
    config = {"dataset": made.id, "held_out_texts": str(watched.path)}
    spec = JobSpec(name="t", method="sft", config=config)
    guard_again(ctx, spec)
    seal(ctx)
    with pytest.raises(ToolError, match="hold items of birds"):
        guard_again(ctx, spec)
