"""Notes of experiments: what they claim is looked at when they are written, not hours later."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.measured_session import ledger_of

from ml_intern.claims.gathering import evidence_of
from ml_intern.claims.notes import loose_numbers
from ml_intern.context import ToolContext
from ml_intern.data.store import DatasetStore
from ml_intern.errors import ToolError
from ml_intern.evals.store import Evals
from ml_intern.hub.card import loose_words
from ml_intern.hub.confirming import behind_its_parent, luck_of_the_seed
from ml_intern.hub.publishing import check_words
from ml_intern.jobs.local import Jobs
from ml_intern.ledger import Comparison
from ml_intern.settings import Settings
from ml_intern.tools import experiments, session
from ml_intern.workspace.files import Files


@pytest.fixture
def ctx(tmp_path: Path) -> ToolContext:
    ledger, settings, told = ledger_of(tmp_path), Settings(state=tmp_path / "state"), []
    jobs = Jobs(tmp_path / "jobs", None, settings, lambda event: None)
    files = Files(tmp_path / "workspace", tmp_path, [], [], [])
    services: Any = SimpleNamespace(
        ledger=ledger, jobs=jobs, settings=settings, folder=tmp_path, heard=lambda: None, emit=told.append, told=told, notify=lambda text: None,
        evals=Evals(tmp_path / "evals", jobs, ledger, settings),
        datasets=DatasetStore(tmp_path / "datasets", files, lambda ref: Path(), lambda *args: None),  # type: ignore[arg-type]
    )  # fmt: skip
    return ToolContext(services=services, call="call-1", key="key-1")


@pytest.mark.parametrize(
    "notes",
    [
        "a gain of 31.5 points over exp-1 (0.858 against 0.543 exact match)",
        "58 % better than exp-1 in exact match",
        "three seeds would be better; next try a learning rate of 5e-4",
        "as good",
    ],
)
def test_notes_that_hold_are_written_and_published(ctx: ToolContext, notes: str) -> None:
    assert experiments.finish_experiment(ctx, "exp-2", "discarded", notes).notes == notes
    check_words(ctx.ledger, [], evidence_of(ctx.services))


@pytest.mark.parametrize(
    "notes", ["exact match is 0.91 now", "a gain of 40 points over exp-1", "test exact match 0.858; 12x"]
)
def test_notes_with_an_invented_number_are_refused_at_once(ctx: ToolContext, notes: str) -> None:
    before = ctx.ledger.get("exp-2").notes
    with pytest.raises(ToolError, match="nobody measured"):
        experiments.finish_experiment(ctx, "exp-2", "discarded", notes)
    assert ctx.ledger.get("exp-2").notes == before
    ctx.ledger.finish("exp-2", "discarded", notes)
    assert loose_words(ctx.ledger, [], evidence_of(ctx.services))


def test_what_a_crash_has_said_is_kept_with_a_warning(ctx: ToolContext) -> None:
    told = "CUDA out of memory: tried to allocate 2.53 GB"
    assert experiments.finish_experiment(ctx, "exp-4", "crashed", told).notes == told
    assert any("nobody measured" in str(event) for event in ctx.services.told)  # type: ignore[attr-defined]


def test_better_beside_an_inconclusive_verdict_is_told(ctx: ToolContext) -> None:
    experiments.finish_experiment(ctx, "exp-3", "inconclusive", "exp-3 is better than exp-2")
    assert any("inconclusive" in str(event) for event in ctx.services.told)  # type: ignore[attr-defined]


def test_a_number_that_only_a_cell_printed_is_no_note(ctx: ToolContext) -> None:
    assert loose_numbers("the median length is 88.5", evidence_of(ctx.services)) == ["88.5"]


@pytest.mark.parametrize(
    ("confirmed", "verdict", "words"),
    [
        (None, "better", "was not confirmed on new seeds"),
        (True, "better", "was confirmed: it held on 2 new seeds"),
        (False, "inconclusive", "did not hold on 2 new seeds"),
        (None, "inconclusive", "is not clearly apart from its parent `exp-1` in exact_match."),
        (None, "worse", "is worse than its parent `exp-1` in exact_match."),
    ],
)
def test_a_card_says_what_is_known_of_the_luck_of_a_seed(
    ctx: ToolContext, confirmed: bool | None, verdict: Any, words: str
) -> None:
    found = next(c for c in ctx.ledger.comparisons() if c.b == "exp-2")
    changed: Comparison = found.model_copy(
        update={"confirmed": confirmed, "verdict": verdict, "new_seeds": 2}
    )
    ctx.ledger.record_comparison(changed)
    assert words in luck_of_the_seed(ctx.ledger.get("exp-2"), ctx.ledger)


@pytest.mark.parametrize(
    ("verdict", "words"), [("worse", "is worse than"), ("inconclusive", "scored lower than")]
)
def test_who_publishes_what_is_behind_its_parent_is_told_in_which_metric(
    ctx: ToolContext, verdict: Any, words: str
) -> None:
    own = ctx.ledger.get("exp-2")
    assert behind_its_parent(own, ctx.ledger) == "", "exp-2 scored better"
    found = next(c for c in ctx.ledger.comparisons() if c.b == "exp-2")
    ctx.ledger.record_comparison(found.model_copy(update={"verdict": verdict}))
    lower = own.dev["exact_match"].model_copy(update={"value": 0.25})
    told = behind_its_parent(own.model_copy(update={"dev": {"exact_match": lower}}), ctx.ledger)
    assert told.startswith(f"exp-2 {words} its parent exp-1 in exact_match, which decides: 0.25 against 0.5")


def test_a_card_says_where_nothing_was_compared(ctx: ToolContext) -> None:
    assert luck_of_the_seed(ctx.ledger.get("exp-1"), ctx.ledger) == ""
    assert "never compared" in luck_of_the_seed(ctx.ledger.get("exp-4"), ctx.ledger)


def test_a_word_to_the_person_is_marked(ctx: ToolContext) -> None:
    assert session.notify(ctx, message="exp-2 has exact match 0.858 on dev") == "told"
    assert "0.95" in session.notify(ctx, message="exact match is 0.95 now")
    assert "0.95 [not verified]" in str(ctx.services.told[-1])  # type: ignore[attr-defined]
