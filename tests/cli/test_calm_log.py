"""A long run in a log that people can read: what is folded, what is said of a call, of the plan, of money."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from ml_intern.cli.board import Board, show_call
from ml_intern.cli.calm import CALLS, LINES_A_CELL, Calm, Plan, count, gap
from ml_intern.cli.plain import PlainView
from ml_intern.events import (
    BrainAnswered,
    BudgetChanged,
    CellFinished,
    CellOutput,
    CellStarted,
    Event,
    Notice,
    SessionStarted,
    ToolFinished,
    ToolStarted,
)

UNITS = ("usd", "gpu_hours", "tokens", "jobs", "seconds")


def log(events: Iterable[Event], verbose: int = 0) -> str:
    """What the view for pipes writes, without its times."""
    lines: list[str] = []
    view = PlainView(lines.append, verbose, pulse_s=600)
    for event in events:
        view.show(event)
    view.close()
    return "\n".join(line.partition("] ")[2] for line in lines)


def reading(papers: int, seconds: float = 2.0) -> list[Event]:
    """A cell that reads so many papers, one after another; the last one is not there."""
    events: list[Event] = [CellStarted(1, "for p in papers: print(extract_recipe(p))")]
    for n in range(papers):
        ok = n < papers - 1
        events += [
            ToolStarted(f"c{n}", "extract_recipe", "read", {"id": f"2401.{n:05}", "offset": 0}),
            ToolFinished(f"c{n}", "extract_recipe", ok, "{}" if ok else "There is no such paper.", seconds),
            CellOutput(1, f"paper {n}\n\nrow 1\nrow 2\nrow 3\nrow 4\nrow 5\n"),
        ]
    return [*events, CellFinished(1, True, "", 9.0)]


def test_the_end_of_a_call_says_what_it_was_about() -> None:
    told = log(reading(2))
    assert "✓ extract_recipe('2401.00000') 2.0s" in told
    assert "✗ extract_recipe('2401.00001') 2.0s: There is no such paper." in told


def test_many_calls_and_much_output_are_counted() -> None:
    told = log(reading(20))
    assert told.count("→ extract_recipe") == CALLS and "There is no such paper." in told
    assert f"more calls: {20 - CALLS - 1} of extract_recipe" in told
    assert told.count("  < ") <= LINES_A_CELL and "more lines of output (-v shows all)" in told


def test_verbose_folds_nothing() -> None:
    told = log(reading(20), verbose=1)
    assert told.count("→ extract_recipe(id=") == 20 and "more calls" not in told
    assert told.count("row 5") == 20


def test_a_slow_call_is_told_even_where_others_are_folded() -> None:
    assert log(reading(6, seconds=40.0)).count("✓ extract_recipe") == 5


def test_each_cell_begins_anew() -> None:
    told = log([*reading(5), *reading(5)])
    assert told.count("→ extract_recipe") == 2 * CALLS and told.count("more calls: 1 of") == 2


def test_a_notice_that_says_the_same_is_told_once_and_a_warning_each_time() -> None:
    same = [Notice("info", "The job may run 2h."), Notice("warning", "Low disk.")]
    told = log(same * 3)
    assert told.count("The job may run 2h.") == 1 and told.count("Low disk.") == 3


def test_the_plan_is_a_list_and_later_only_what_changed() -> None:
    first = Notice("info", "Plan:\n[ ] read\n[ ] train\n[ ] publish")
    later = Notice("info", "Plan:\n[x] read\n[>] train\n[ ] publish")
    assert log([first]).splitlines() == ["Plan", "  [ ] read", "  [ ] train", "  [ ] publish"]
    assert log([first, later]).splitlines()[4:] == ["Plan: 1 of 3 done", "  [x] read", "  [>] train"]
    plan = Plan()
    plan.news(first.text)
    assert plan.news("Plan:\n[x] read\n[ ] something else")[1:] == ["  [x] read", "  [ ] something else"]


def test_money_and_limits_stand_at_each_step() -> None:
    nothing = dict.fromkeys(UNITS, 0.0)
    spent = nothing | {"usd": 0.25, "gpu_hours": 0.5, "tokens": 1234.0, "seconds": 60.0}
    reserved = nothing | {"usd": 0.05}
    budget = BudgetChanged(spent, reserved, {"usd": 5.0, "gpu_hours": 2.0, "tokens": 5e5}, at=100.0)
    board = Board()
    board.take(budget)
    assert board.money_and_limits(130.0) == [
        "0.30 of 5 usd",
        "0.50 of 2 gpu-hours",
        "1,234 of 500,000 tokens",
    ]
    board.take(BudgetChanged(spent, nothing, {"seconds": 3600.0}, at=100.0))
    assert board.money_and_limits(130.0) == ["0.25 usd", "1m 30s of 1h 0m"]
    told = log(
        [SessionStarted("s", "p", "m", "local", "walls", "/w"), budget, BrainAnswered(1, "", 10, 5, 1.0)]
    )
    assert "step 1 · 10+5 tokens · 1.0s · 0.30 of 5 usd" in told


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ({"id": "2401.1", "section": None, "offset": 0}, "t('2401.1')"),
        ({"method": "sft", "model": "m", "dataset": "d", "config": {}, "name": "base"}, "t('base', 'sft')"),
        ({"source": "a.jsonl", "split": "train", "rows": 5}, "t('a.jsonl')"),
        ({"items": ["first", "second"]}, "t(['first', 'second'])"),
        ({"direction": "both"}, "t('both')"),
        ({"timeout": 3}, "t()"),
        ({"query": "x" * 200}, f"t('{'x' * 42}…)"),
        ({"id": "a\x1b[31m\nb"}, r"t('a\x1b[31m\nb')"),
    ],
    ids=["id", "name-first", "how-left-out", "list", "how-alone", "number", "long", "control"],
)  # fmt: skip
def test_a_call_is_told_by_what_it_is_about(arguments: dict[str, object], shown: str) -> None:
    assert show_call("t", arguments) == shown


def test_what_goes_on_is_repeated_less_and_less_often() -> None:
    waits, now = [], 0.0
    while now < 600:
        waits.append(gap(now, 4.0))
        now += waits[-1]
    assert waits[0] == 4.0 and waits == sorted(waits) and waits[-1] == 30.0 and len(waits) < 35


def test_calls_that_fold_need_no_begin() -> None:
    calm = Calm(verbose=False)
    assert calm.ends(ToolFinished("unknown", "evaluate", True, "", 0.1))
    assert calm.cell_ends() == []


def test_counts() -> None:
    assert [count(n, "step") for n in (0, 1, 2000)] == ["0 steps", "1 step", "2,000 steps"]
