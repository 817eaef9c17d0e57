"""Tables fit a terminal of any width, and lose nothing in a pipe; experiments are a tree with intervals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.measured_session import ledger_of

from ml_intern.cli import experiments
from ml_intern.cli.main import run
from ml_intern.cli.tables import table, width_of

HEADER = ("#", "session", "status", "model", "prompt")
ROWS = [
    (str(n), f"20260101-1200{n:02}-abcd", "done", "openai:" + "m" * n, "数学の問題 " * n + "\ttab\nline")
    for n in range(1, 12)
]


@pytest.mark.parametrize("width", [20, 40, 61, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    lines = table(HEADER, ROWS, width, whole=(0, 1))
    assert all(width_of(line) <= max(width, 32) for line in lines)
    assert all(any(row[1] in line for line in lines) for row in ROWS), "an id is never cut"


def test_a_narrow_terminal_leaves_out_what_matters_least() -> None:
    assert "openai" in table(HEADER, ROWS, 120, (0, 1), spare=(3,))[-1]
    assert "openai" not in table(HEADER, ROWS, 64, (0, 1), spare=(3,))[-1]


def test_nothing_is_cut_in_a_pipe_and_there_are_no_tabs() -> None:
    lines = table(HEADER, ROWS)
    assert len(lines) == 12 and not any("…" in line or "\t" in line for line in lines)
    assert lines[-1].count("数学の問題") == 11


def test_a_column_without_a_word_is_left_out_and_an_indent_stays() -> None:
    assert table(("a", "b", "c"), [("x", "", "1"), ("  └ y", "", "2")]) == [
        "a      c",
        "x      1",
        "  └ y  2",
    ]


def test_a_row_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in "".join(table(("a",), [("\x1b]0;owned\x07red\x1b[31m",)]))


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with one session of four experiments."""
    folder = tmp_path_factory.mktemp("state") / "sessions" / "20260101-120000-abcd"
    folder.mkdir(parents=True)
    ledger_of(folder).close()
    card = {"id": folder.name, "prompt": "p", "status": "done", "created": "2026-01-01T12:00:00+00:00"}
    (folder / "session.json").write_text(json.dumps(card))
    return folder


def test_experiments_stand_below_their_parents_with_what_they_gained(session: Path) -> None:
    lines = experiments.lines_of(*experiments.read(session))
    assert [line.split("  ")[0].rstrip() for line in lines[1:]] == ["exp-1", "└ exp-2", "", ""]
    assert lines[3].startswith("  └ exp-3") and "+0.0125 [-0.0125, +0.0375] inconclusive" in lines[3]
    assert "0.8575 [0.8225, 0.89]" in lines[2] and "+0.315 [+0.263, +0.367] better" in lines[2]
    assert "0.8325 [0.795, 0.8675]" in lines[2] and lines[0].split()[:3] == [
        "experiment",
        "verdict",
        "exact_match",
    ]


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_numbers_of_experiments_are_never_cut(session: Path, width: int) -> None:
    lines = experiments.lines_of(*experiments.read(session), width)
    told = " ".join(" ".join(lines).split())
    assert all(width_of(line) <= width for line in lines)
    for number in ("0.5425 [0.4925, 0.5925]", "+0.315 [+0.263, +0.367] better", "0.8325 [0.795, 0.8675]"):
        assert number in told, lines
    assert "batch 4096" in told


def test_values_that_nobody_compared_say_so() -> None:
    def row(id: str, parent: str | None, value: float) -> dict[str, Any]:
        dev = {"accuracy": {"value": value, "low": value - 0.1, "high": value + 0.1}}
        return {
            "id": id,
            "parent": parent,
            "verdict": "open",
            "primary": "accuracy",
            "dev": dev,
            "change": "c",
        }

    again = row("d", "a", 0.7) | {"replicates": "b", "seed": 7}
    lines = experiments.lines_of([row("a", None, 0.5), row("b", "a", 0.75), row("c", "lost", 0.6), again])
    assert "compared" not in lines.pop(3)
    assert "+0.25 (not compared)" in lines[2] and "compared" not in lines[1] + lines[3]


def test_a_circle_in_a_damaged_ledger_is_still_shown() -> None:
    rows = [{"id": "a", "parent": "b"}, {"id": "b", "parent": "a"}, {"id": "c", "parent": "c"}]
    assert [row["id"] for _, row in experiments.tree(rows)] == ["c", "a", "b"]


def test_json_has_the_comparisons(session: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["experiments", "--json", "--state", str(session.parents[1])]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [c["verdict"] for c in told["comparisons"]] == ["better", "inconclusive"]
    assert len(told["experiments"]) == 4


def test_json_has_all_of_the_ledger(session: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ml_intern.ledger.model import Comparison, Experiment, Scores

    assert run(["experiments", "--json", "--state", str(session.parents[1])]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) >= {"jobs", "datasets", "spent", "answer"} and told["best"] == "exp-3"
    scored = [Scores.model_validate(scoring) for scoring in told["scorings"]]
    assert {s.experiment for s in scored if s.split == "dev"} == {
        e["id"] for e in told["experiments"] if e["dev"]
    }
    assert [Comparison.model_validate(c).b for c in told["comparisons"]] and "samples" not in told[
        "scorings"
    ][0]
    assert next(Experiment.model_validate(e).id for e in told["experiments"]) == "exp-1"


def test_a_session_without_a_ledger_has_every_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "sessions" / "20260101-120000-abcd"
    folder.mkdir(parents=True)
    (folder / "session.json").write_text(json.dumps({"id": folder.name, "prompt": "p", "status": "done"}))
    before = sorted(folder.iterdir())
    assert run(["experiments", "--json", "--state", str(tmp_path)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["experiments"] == told["comparisons"] == told["scorings"] == [] and told["best"] is None
    assert sorted(folder.iterdir()) == before
