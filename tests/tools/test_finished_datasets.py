"""What a tool has made is what a training takes: the guard finds nothing more in it."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ml_intern.context import Services, ToolContext
from ml_intern.data.store import DatasetStore
from ml_intern.evals.store import Evals
from ml_intern.ledger import Ledger
from ml_intern.settings import Settings
from ml_intern.tooling import specs_in
from ml_intern.tools import datasets, deduplication, filtering, mixing, reshaping
from ml_intern.workspace.files import Files

TOOLS = {
    spec.name: spec for m in (datasets, deduplication, filtering, mixing, reshaping) for spec in specs_in(m)
}
NAMES = ["anna", "ben", "carla", "dora", "emil", "frida", "georg", "hanna", "ivan", "julia", "karl", "lena"]
THINGS = ["apples", "pens", "coins", "books", "cards", "stamps", "shells", "nuts"]


def _problem(draw: random.Random) -> tuple[str, str]:
    (one, other), what = draw.sample(NAMES, 2), draw.choice(THINGS)
    a, b = draw.randint(2, 9), draw.randint(1, 9)
    asked = [
        (f"{one} has {a} {what} and {other} gives {one} {b} more. how many {what} does {one} have?", a + b),
        (f"{one} has {a + b} {what} and gives {b} to {other}. how many {what} are left for {one}?", a),
        (f"{one} has {a} {what} and {other} has twice as many. how many {what} does {other} have?", 2 * a),
    ]
    question, answer = draw.choice(asked)
    return f"{question} answer:", f" {answer}"


def _problems(count: int, seed: int) -> list[dict[str, Any]]:
    draw, found = random.Random(seed), dict[str, str]()
    while len(found) < count:
        found.update([_problem(draw)])
    return [{"prompt": prompt, "completion": completion} for prompt, completion in found.items()]


@pytest.fixture
def ctx(tmp_path: Path) -> ToolContext:
    """A session with an exam of 240 problems, and 2,000 others of the same three templates in a file.

    Of some seeds, this one among them, a few problems are met or missed with the rows around them.
    """
    for name in ("work", "project", "session"):
        (tmp_path / name).mkdir()
    folder, nothing = tmp_path / "session", None
    settings = Settings.load(state=tmp_path / "state")
    files, ledger = Files(tmp_path / "work", tmp_path / "project"), Ledger(folder / "ledger.sqlite")
    evals = Evals(folder / "evals", nothing, ledger, settings)  # type: ignore[arg-type]
    store = DatasetStore(folder / "datasets", files)
    rows = _problems(2_240, 23)
    exam = [{"input": row["prompt"], "target": row["completion"].strip()} for row in rows[:240]]
    evals.register("exam", exam, ["exact_match"])
    lines = "".join(json.dumps(row) + "\n" for row in rows[240:])
    (files.workspace / "problems.jsonl").write_text(lines)
    many: Any = (nothing, ledger, evals, nothing, lambda event: None)
    return ToolContext(Services("s", folder, settings, files, store, *many), "call", "key")


def _run(ctx: ToolContext, tool: str, **arguments: Any) -> Any:
    spec = TOOLS[tool]
    return spec.call(ctx, spec.validate(arguments))


def test_one_look_is_not_enough_for_near_copies(ctx: ToolContext) -> None:
    """Whether the guard meets a near copy depends on the rows before it: what the next test is about."""
    rows = ctx.datasets.open("problems.jsonl").rows
    found = ctx.evals.held_out(rows)
    once = rows.filter(pl.Series([at not in found for at in range(rows.height)]))
    assert found and ctx.evals.held_out(once)


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("reformat_dataset", {"source": "problems.jsonl", "target": "language_modeling"}),
        ("reformat_dataset", {"source": "problems.jsonl", "target": "conversational"}),
        ("deduplicate_dataset", {"source": "problems.jsonl"}),
        ("filter_dataset", {"source": "problems.jsonl", "where": "prompt NOT LIKE 'anna%'"}),
        ("mix_datasets", {"parts": {"problems.jsonl": 1.0}, "seed": 0}),
    ],
    ids=["text", "chat", "deduplicated", "filtered", "mixed"],
)
def test_the_guard_finds_nothing_in_what_was_made(
    ctx: ToolContext, tool: str, arguments: dict[str, Any]
) -> None:
    made = _run(ctx, tool, **arguments)
    kept = ctx.datasets.open(made["id"] if isinstance(made, dict) else made.id).rows
    assert (
        ctx.evals.guard(kept).says()
        == f"None of {kept.height} training rows holds one of 240 held-out items."
    )


def test_the_notes_count_every_row_and_say_how_near(ctx: ToolContext) -> None:
    made = reshaping.reformat_dataset(ctx, "problems.jsonl", "language_modeling")
    told = [note for note in made.notes if "held out in exam" in note]
    assert 2_000 - made.rows == sum(int(note.split()[0]) for note in told)
    assert "rows that are held out in exam or too near to what is (" in told[0]
    assert "word for word, numbers aside" in told[0] and "nearly" in told[0]


def test_a_cell_reads_all_rows_of_what_was_made(ctx: ToolContext) -> None:
    """As the help of inspect_dataset says; without `dtype=False` pandas makes numbers of answers."""
    pandas = pytest.importorskip("pandas")
    made = reshaping.reformat_dataset(ctx, "problems.jsonl", "prompt_completion")
    rows = pandas.read_json(made.path, lines=True, dtype=False)
    assert rows.to_dict("records") == ctx.datasets.open(made.id).rows.to_dicts()
    assert "pandas.read_json(made.path, lines=True, dtype=False)" in str(datasets.inspect_dataset.__doc__)
