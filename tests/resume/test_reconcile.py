"""Each tool, cut off between doing and recording: done once, and the cell is told what came of it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from cut_off import Cell, Cut, journaled, ran

from ml_intern.jobs.model import FINISHED
from ml_intern.router.registry import load_tools
from ml_intern.settings import Settings

# What is declared


def test_every_tool_says_what_to_do_after_a_crash(tmp_path: Path) -> None:
    """A new tool with an effect and with neither of the two fails here: decide which it is."""
    specs = load_tools(Settings.load(state=tmp_path))
    effects = [spec for spec in specs if spec.effect != "read"]
    silent = [spec.name for spec in effects if spec.reconcile is None and not spec.repeatable]
    assert len(effects) > 15 and silent == []
    assert [spec.name for spec in specs if spec.reconcile is not None and spec.repeatable] == []
    assert [
        spec.name for spec in specs if spec.effect == "read" and (spec.reconcile or spec.repeatable)
    ] == []
    assert all(len(spec.repeatable.split()) > 3 for spec in effects if spec.repeatable)


# Done before the crash, recorded after it

MADE = ("reformat_dataset", "filter_dataset", "deduplicate_dataset", "mix_datasets", "split_dataset")


@pytest.mark.parametrize(
    "name", [*MADE[3:], *(pytest.param(name, marks=pytest.mark.thorough) for name in MADE[:3])]
)
def test_a_dataset_is_made_once(cut: Cut, tmp_path: Path, name: str) -> None:
    cell = cut(name, "result:before")
    before = {info.id: info for info in cell.services.datasets.list()}
    outcome = cell.play(name)
    assert outcome.ok, outcome.message
    assert {info.id: info for info in cell.services.datasets.list()} == before
    undisturbed = Cell(tmp_path / "undisturbed")
    value = undisturbed.play(name).value
    same = ("id", "train", "rows", "rows_before", "eval", "dropped_duplicates", "notes", "datasets")
    assert {k: outcome.value.get(k) for k in same} == {k: value.get(k) for k in same}
    undisturbed.close()


def test_an_edit_is_not_made_twice(cut: Cut) -> None:
    cell = cut("edit_file", "result:before")
    outcome = cell.play("edit_file")
    assert outcome.ok and outcome.value["places"] == 2 and "+aa b aa" in outcome.value["diff"]
    assert (cell.workspace / "grows.txt").read_text() == "aa b aa\n"


def test_an_edit_that_was_not_made_is_made(cut: Cut) -> None:
    cell = cut("edit_file", "intent:after")
    assert cell.play("edit_file").ok and (cell.workspace / "grows.txt").read_text() == "aa b aa\n"


def test_an_edit_that_was_only_noted_is_made(cut: Cut) -> None:
    cell = cut("edit_file", "result:before")
    cell.services.notes.clear()  # as if the crash had come after the receipt and before the new text
    (cell.workspace / "grows.txt").write_text("a b a\n")
    assert cell.play("edit_file").ok and (cell.workspace / "grows.txt").read_text() == "aa b aa\n"


def test_an_edit_of_a_file_that_somebody_changed_since_is_told(cut: Cut) -> None:
    cell = cut("edit_file", "result:before")
    (cell.workspace / "grows.txt").write_text("mine\n")
    outcome = cell.play("edit_file")
    assert not outcome.ok and "Nobody knows" in outcome.message and "Read it" in outcome.hint
    assert (cell.workspace / "grows.txt").read_text() == "mine\n"


def test_a_command_runs_once(cut: Cut) -> None:
    cell = cut("run_command", "result:before")
    outcome = cell.play("run_command")
    assert outcome.ok and (outcome.value["output"], outcome.value["exit_code"]) == ("ran\n", 0)
    assert (cell.workspace / "log.txt").read_text() == "ran\n"


def test_a_command_that_never_started_runs(cut: Cut) -> None:
    cell = cut("run_command", "intent:after")
    assert cell.play("run_command").value["output"] == "ran\n"


def test_a_command_that_was_cut_off_is_told(cut: Cut) -> None:
    cell = cut("cut_command", "result:before")
    outcome = cell.play("cut_command")
    assert not outcome.ok and "cut off" in outcome.message and "Look at" in outcome.hint
    assert (cell.workspace / "log.txt").read_text() == "ran\n"


@pytest.mark.parametrize("name", ["start_experiment", "finish_experiment"])
def test_the_ledger_has_one_row(cut: Cut, name: str) -> None:
    cell = cut(name, "result:before")
    [row] = cell.services.ledger.list()
    outcome = cell.play(name)
    assert outcome.ok and outcome.value["id"] == "exp-1"
    assert cell.services.ledger.list() == [row]
    assert row.verdict == ("open" if name == "start_experiment" else "crashed")


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["write_file", "plan"])
def test_what_is_written_again_is_the_same(cut: Cut, name: str) -> None:
    cell = cut(name, "result:before")
    assert cell.play(name).ok
    if name == "plan":
        assert [item["text"] for item in cell.services.notes["plan"]] == ["one", "two"]
    else:
        assert (cell.workspace / "a.txt").read_text() == "once"


def test_a_job_is_started_once_and_its_experiment_knows_it(cut: Cut) -> None:
    cell = cut("launch_script", "result:before")
    outcome = cell.play("launch_script")
    assert outcome.ok and outcome.value["id"] == "job-1"
    [status] = cell.services.jobs.wait(["job-1"], 60)
    assert status.state == "succeeded" and [s.id for s in cell.services.jobs.list()] == ["job-1"]
    assert (Path(status.output) / "ran.txt").read_text() == "ran\n"
    assert cell.services.ledger.get("exp-1").jobs == ["job-1"]


@pytest.mark.thorough
def test_a_job_that_the_ledger_did_not_hear_of_is_told_to_it(cut: Cut, tmp_path: Path) -> None:
    cell = cut("launch_script", "intent:after")
    assert [s.id for s in cell.services.jobs.list()] == []
    assert cell.play("launch_script").ok and cell.services.ledger.get("exp-1").jobs == ["job-1"]
    cell.services.jobs.wait(["job-1"], 60)


@pytest.mark.thorough
def test_a_job_that_was_cancelled_stays_so(cut: Cut) -> None:
    cell = cut("cancel_job", "result:before")
    assert cell.services.jobs.status("long-1").state in FINISHED
    outcome = cell.play("cancel_job")
    assert outcome.ok and outcome.value["state"] == "cancelled"


def test_a_dev_query_is_counted_once(cut: Cut) -> None:
    cell = cut("evaluate", "result:before")
    assert cell.services.evals.get("sums").queries_used == 1
    outcome = cell.play("evaluate")
    assert outcome.ok and outcome.value["metrics"]["exact_match"]["n"] == 20
    assert cell.services.evals.get("sums").queries_used == 1 and cell.answers.specs == []
    assert len(cell.services.ledger.scores()) == 1


def test_the_test_split_is_scored_once(cut: Cut) -> None:
    cell = cut("freeze_experiment", "result:before")
    outcome = cell.play("freeze_experiment")
    assert outcome.ok and outcome.value["test"]["exact_match"]["n"] == 20
    assert len(cell.services.ledger.scores(split="test")) == 1 and cell.answers.specs == []
    assert cell.services.evals.get("sums").queries_used == 1


def test_a_dataset_is_published_once(cut: Cut) -> None:
    cell = cut("publish_dataset", "result:before", hub="embedded")
    outcome = cell.play("publish_dataset")
    assert outcome.ok, outcome.message
    commits = cell.services.hub.api.list_repo_commits(outcome.value["repo"], repo_type="dataset")
    published = [commit.commit_id for commit in commits if "Publish" in commit.title]
    assert published == [outcome.value["commit"]]


# What nobody can tell


@pytest.mark.thorough
def test_what_nobody_can_ask_about_is_told_and_not_repeated(cut: Cut, tmp_path: Path) -> None:
    cell = cut("unknown", "result:before")
    outcome = cell.play("unknown")
    assert not outcome.ok and not outcome.denied and "Nobody knows whether tell" in outcome.message
    assert ran(tmp_path / "state") == ["hello"]
    assert cell.play("unknown").ok and ran(tmp_path / "state") == ["hello", "hello"], "a new call is made"


def test_what_may_have_been_spent_counts_as_spent(cut: Cut) -> None:
    cell = cut("unknown_price", "intent:after")
    assert not cell.play("unknown_price").ok
    assert (cell.budget.spent["usd"], cell.budget.reserved("usd")) == (2.0, 0.0)
    assert journaled(cell, "result")[-1]["budget"]["spent"]["usd"] == 2.0


@pytest.mark.parametrize("name", ["own_again", pytest.param("own_read", marks=pytest.mark.thorough)])
def test_reading_and_what_is_declared_so_is_done_again(cut: Cut, tmp_path: Path, name: str) -> None:
    cell = cut(name, "result:before")
    assert cell.play(name).ok and ran(tmp_path / "state") == ["hello", "hello"]


def test_a_folder_that_was_renamed_is_the_same_session(cut: Cut, tmp_path: Path) -> None:
    cut("announce", "result:before").close()
    state = tmp_path / "state"
    (state / "sessions" / "s1").rename(state / "sessions" / "renamed")
    cell = Cell(state, session="renamed")
    assert cell.play("announce").ok and ran(state) == ["first to me/x"]
    cell.close()


@pytest.mark.thorough
def test_a_second_crash_while_it_is_found_out(cut: Cut, tmp_path: Path) -> None:
    cut("announce", "result:before").close()
    cell = cut("announce", "result:before")
    began = time.monotonic()
    assert cell.play("announce").value == "first to me/x" and ran(tmp_path / "state") == ["first to me/x"]
    assert time.monotonic() - began < 60 and len(journaled(cell, "intent")) == 1
