"""The table of experiments, their intervals and their tree, read from a ledger beside its owner."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from support.fragments import Fragment, harmless
from support.told_session import Told, many
from support.web_session import NASTY, everything

from ml_intern.ledger import Publication
from ml_intern.webapp.panels.experiment_table import (
    experiment_detail,
    experiment_table,
    find,
    intervals,
    tree,
)
from ml_intern.webapp.panels.ledgers import Ledgers, read_ledger


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return everything(tmp_path_factory.mktemp("web") / "sessions" / "20261121-130000-abcd")


def test_a_row_tells_value_interval_verdict_change_seed_and_cost(session: Path) -> None:
    words = harmless(experiment_table(read_ledger(session / "ledger.sqlite"), "exp-2"))
    for told in (
        "fine-tuned on chats", "0.71 [0.67, 0.75]", "exact_match", "kept", "+0.5 [+0.47, +0.53]",
        "better · held on new seeds", "not measured", "$0.02", "20s",
    ):  # fmt: skip
        assert told in words, told


def test_the_comparison_with_the_parent_is_told_in_full(session: Path) -> None:
    found = read_ledger(session / "ledger.sqlite")
    words = harmless(experiment_detail(found, find(found.experiments, "exp-2")))
    assert "exp-2 against exp-1: exact_match 0.21 → 0.71, +0.5 [+0.47, +0.53], p < 0.0001" in words
    assert "Published: local/calls" in words and "calls-train@1" in words


def test_the_tree_and_the_intervals_are_drawn(session: Path) -> None:
    found = read_ledger(session / "ledger.sqlite")
    words = harmless(tree(found))
    assert words.index("exp-1") < words.index("exp-2") < words.index("exp-4") < words.index("exp-3")
    drawn = intervals(found)
    harmless(drawn)
    assert drawn.count("<circle") == 3


def test_hostile_words_stay_words(session: Path) -> None:
    found = read_ledger(session / "ledger.sqlite")
    shown = NASTY.replace("\u202e", "�")
    assert shown in harmless(experiment_table(found, "exp-4"))
    assert shown in harmless(experiment_detail(found, find(found.experiments, "exp-4")))
    assert shown in harmless(tree(found))


def test_a_link_that_would_run_something_is_no_link(session: Path) -> None:
    found = read_ledger(session / "ledger.sqlite")
    tuned = find(found.experiments, "exp-2")
    assert tuned is not None
    bad = tuned.model_copy(
        update={"published": [Publication(repo="r", url="javascript:alert(1)", commit="c")]}
    )
    words = harmless(experiment_detail(found, bad))
    assert "Published: r" in words


def test_a_look_writes_nothing_and_sees_what_its_owner_writes(tmp_path: Path) -> None:
    told = Told(tmp_path / "sessions" / "s")
    ledgers = Ledgers()
    assert not ledgers.of(told.folder).experiments
    told.experiment("first", "a-1", 0.3, "kept")
    before = sorted(path.name for path in told.folder.iterdir())
    [one] = ledgers.of(told.folder).experiments
    assert one.change == "first" and ledgers.of(told.folder) is ledgers.of(told.folder)
    told.experiment("second", "b-1", 0.4)
    assert [e.change for e in ledgers.of(told.folder).experiments] == ["first", "second"]
    folder = told.close()
    assert [e.change for e in ledgers.of(folder).experiments] == ["first", "second"]
    left = sorted(path.name for path in folder.iterdir())
    assert "ledger.sqlite-wal" in before and "ledger.sqlite-wal" not in left


def test_a_ledger_that_is_none_is_told_and_a_missing_one_is_not_made(tmp_path: Path) -> None:
    assert not Ledgers().of(tmp_path).experiments and not (tmp_path / "ledger.sqlite").exists()
    (tmp_path / "ledger.sqlite").write_bytes(b"no database at all" * 100)
    assert "cannot be read" in harmless(experiment_table(Ledgers().of(tmp_path), ""))


def test_a_row_that_cannot_be_read_does_not_hide_the_others(tmp_path: Path) -> None:
    told = Told(tmp_path / "sessions" / "s")
    told.experiment("first", "a-1", 0.3)
    told.experiment("second", "b-1", 0.3)
    folder = told.close()
    with sqlite3.connect(folder / "ledger.sqlite") as db:
        db.execute("UPDATE experiments SET body = '{}' WHERE number = 1")
    db.close()
    assert [e.change for e in Ledgers().of(folder).experiments] == ["second"]


def test_very_many_experiments_are_bounded(tmp_path: Path) -> None:
    found = read_ledger(many(tmp_path / "s", 230) / "ledger.sqlite")
    assert "And 30 older ones." in harmless(experiment_table(found, ""))
    harmless(tree(found))
    harmless(intervals(found))


def test_a_report_in_a_frame_can_neither_run_nor_reach_anything(session: Path) -> None:
    pytest.importorskip("gradio")
    from ml_intern.webapp.panels.experiments import framed
    from ml_intern.webapp.panels.offered import report_of

    [frame] = Fragment(framed(report_of(session))).frames
    assert frame["sandbox"] == "" and "src" not in frame
    page = frame["srcdoc"] or ""
    assert page.startswith("<!doctype html>") and "fine-tuned on chats" in page and "<script" not in page
