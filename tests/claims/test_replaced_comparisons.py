"""What a comparison said before more seeds replaced it: true in a note of its time, not in today's answer."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.measured_session import ledger_of
from support.told_session import Told

from ml_intern.claims.answers import marked, warning
from ml_intern.claims.gathering import evidence_of
from ml_intern.claims.judging import review
from ml_intern.context import ToolContext
from ml_intern.data.store import DatasetStore
from ml_intern.errors import ToolError
from ml_intern.evals.store import Evals
from ml_intern.hub.card import CardFacts, model_card
from ml_intern.hub.publishing import check_card, check_words, trail
from ml_intern.jobs.local import Jobs
from ml_intern.ledger import Ledger
from ml_intern.reports.findings import comparisons
from ml_intern.reports.measured import measured
from ml_intern.reports.story import read_story
from ml_intern.settings import Settings
from ml_intern.tools import experiments
from ml_intern.workspace.files import Files

THEN = "exp-2 against exp-1 in exact match: difference +0.315 [+0.2625, +0.3675]"
NOW = "exp-2 against exp-1 in exact match: difference +0.281 [+0.2142, +0.3477]"
REPLACED = {"difference": 0.281, "low": 0.2142, "high": 0.3477, "value_b": 0.8235, "seeds_b": 3, "p": 0.0004}


@pytest.fixture
def ctx(tmp_path: Path) -> ToolContext:
    ledger, settings = ledger_of(tmp_path), Settings(state=tmp_path / "state")
    jobs = Jobs(tmp_path / "jobs", None, settings, lambda event: None)
    files = Files(tmp_path / "workspace", tmp_path, [], [], [])
    services: Any = SimpleNamespace(
        ledger=ledger, jobs=jobs, settings=settings, folder=tmp_path, heard=lambda: None, emit=lambda event: None,
        evals=Evals(tmp_path / "evals", jobs, ledger, settings),
        datasets=DatasetStore(tmp_path / "datasets", files, lambda ref: Path(), lambda *args: None),  # type: ignore[arg-type]
    )  # fmt: skip
    return ToolContext(services=services, call="call-1", key="key-1")


def replace(ledger: Ledger) -> None:
    """Three seeds of exp-2 say less than the first one did."""
    first = next(c for c in ledger.comparisons() if c.b == "exp-2")
    ledger.record_comparison(first.model_copy(update=REPLACED))


def test_a_note_of_its_time_is_published_with_what_replaced_it(ctx: ToolContext) -> None:
    experiments.finish_experiment(ctx, "exp-2", "discarded", THEN)
    replace(ctx.ledger)
    check_words(ctx.ledger, [], evidence_of(ctx.services))
    facts = CardFacts(repo="me/model", session="s", parameters=287_744)
    card = model_card(ctx.ledger.get("exp-2"), ctx.ledger, facts)
    assert "+0.315 [+0.2625, +0.3675] on 1 and 1 seeds, replaced by +0.281 [+0.2142, +0.3477]" in card
    check_card(ctx.ledger.get("exp-2"), ctx.ledger, facts)
    kept = trail(ctx.ledger.get("exp-2"), ctx.ledger, facts)["replaced"]
    assert [c["difference"] for c in kept] == [0.315] and kept[0]["replaced"] > 0


@pytest.mark.parametrize("text", [THEN, "exp-2 gained 0.315 [0.2625, 0.3675] of exact match over exp-1"])
def test_the_replaced_figure_is_no_present_result(ctx: ToolContext, text: str) -> None:
    assert review(text, evidence_of(ctx.services)).stands
    replace(ctx.ledger)
    found = review(text, evidence_of(ctx.services))
    assert {f.shown.strip("+") for f in found.unverified} >= {"0.2625", "0.3675"}
    assert all("a later comparison took its place" in f.why for f in found.unverified)
    assert all("now +0.281 [+0.2142, +0.3477]" in f.nearest for f in found.unverified)
    assert "[replaced since]" in marked(text, found) and "not verified" not in marked(text, found)
    assert "nothing that was measured" not in warning(found) and "+0.281" in warning(found)
    with pytest.raises(ToolError, match=r"a later comparison took its place.*now \+0\.281"):
        experiments.finish_experiment(ctx, "exp-2", "discarded", text)


def test_a_note_that_is_written_again_today_is_of_today(ctx: ToolContext) -> None:
    replace(ctx.ledger)
    ctx.ledger.finish("exp-2", "discarded", THEN)
    with pytest.raises(ToolError, match=r"0\.2625"):
        check_words(ctx.ledger, [], evidence_of(ctx.services))


def test_an_answer_may_tell_how_it_came(ctx: ToolContext) -> None:
    replace(ctx.ledger)
    told = f"At first it was +0.315 [+0.2625, +0.3675] for exp-2 in exact match. {NOW}."
    assert review(told, evidence_of(ctx.services)).stands
    assert not review(told.replace("0.2625", "0.2425"), evidence_of(ctx.services)).stands
    assert not review("At first it was right in 0.7311 for exp-2.", evidence_of(ctx.services)).stands


def test_what_never_was_said_is_still_invented(ctx: ToolContext) -> None:
    ctx.ledger.finish("exp-2", "discarded", THEN.replace("0.2625", "0.2425"))
    replace(ctx.ledger)
    with pytest.raises(ToolError, match=r"0\.2425"):
        check_words(ctx.ledger, [], evidence_of(ctx.services))


def test_only_other_figures_replace_a_comparison(ctx: ToolContext) -> None:
    first = ctx.ledger.comparisons()[0]
    ctx.ledger.record_comparison(first.model_copy(update={"says": "in other words", "notes": ["x"]}))
    assert ctx.ledger.replaced() == [] and ctx.ledger.comparisons()[-1].says == "in other words"
    replace(ctx.ledger)
    replace(ctx.ledger)
    assert [(c.b, c.difference) for c in ctx.ledger.replaced()] == [("exp-2", 0.315)]
    assert [c.difference for c in ctx.ledger.comparisons()] == [0.0125, 0.281]


def test_a_ledger_from_before_is_read_and_written_on(tmp_path: Path) -> None:
    ledger_of(tmp_path).close()
    file = sqlite3.connect(tmp_path / "ledger.sqlite")
    file.execute("DROP TABLE replaced")
    file.commit()
    file.close()
    ledger = Ledger(tmp_path / "ledger.sqlite")
    assert len(ledger.comparisons()) == 2 and ledger.replaced() == []
    replace(ledger)
    assert [c.difference for c in ledger.replaced()] == [0.315]
    ledger.close()


def test_a_report_has_no_doubt_of_a_note_of_its_time(tmp_path: Path) -> None:
    told = Told(tmp_path / "session")
    base = told.experiment("defaults", "run-1", 0.50)
    more = told.experiment(
        "a larger step", "run-2", 0.62, "kept", base.id, "the gain is 0.12 [0.0912, 0.1512]"
    )
    found = {"low": 0.0912, "high": 0.1512}
    told.compare(base, more, "better")
    first = told.ledger.comparisons()[0].model_copy(update=found)
    told.ledger.record_comparison(first)
    told.ledger.finish(more.id, "kept", "the gain over exp-1 was 0.12 [0.0912, 0.1512]")
    told.ledger.record_comparison(first.model_copy(update={"low": 0.01, "high": 0.11, "difference": 0.06}))
    told.ledger.finish(base.id, "kept", "exp-2 gains 0.12 [0.0912, 0.1512]")
    told.journal()
    folder = told.close()
    assert read_story(folder).doubtful == {base.id: ["0.0912", "0.1512"]}
    assert len(measured(folder)["replaced"]) == 2
    assert "+0.12 [+0.0912, +0.1512] on 1 and 1 seeds, replaced by +0.06" in comparisons(read_story(folder))
