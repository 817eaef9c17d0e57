from __future__ import annotations

import time

import pytest

from ml_intern.errors import ToolError
from ml_intern.evals.guard import Guard
from ml_intern.evals.rows import fold

LONG = "The quick brown fox jumps over the lazy dog."


@pytest.fixture
def guard() -> Guard:
    made = Guard()
    made.add("foxes", [[LONG], ["Another held-out item of some length"], ["pass"], ["x = 1"]])
    return made


@pytest.mark.parametrize(
    "row",
    [
        LONG,
        f"  {LONG.upper()}  ",
        LONG.replace(" ", "\n\t "),
        f"A document.\n{LONG}\nIt goes on.",
        {"text": LONG},
        {"prompt": LONG, "completion": "yes"},
        {"messages": [{"role": "user", "content": LONG}]},
        LONG.replace("fox", "\uff46\uff4f\uff58"),
    ],
)
def test_an_item_is_found_in_any_clothes(guard: Guard, row: object) -> None:
    found = guard.check(["harmless", row])  # type: ignore[list-item]
    assert not found.clean
    assert found.row_numbers == [1]
    assert (found.matches[0].row, found.matches[0].eval) == (1, "foxes")
    with pytest.raises(ToolError, match="1 of 2 training rows"):
        found.demand_clean()


def test_clean_rows_pass(guard: Guard) -> None:
    found = guard.check(["The quick brown fox", "", "something else", {"n": 3}])  # type: ignore[list-item]
    assert found.clean
    found.demand_clean()
    assert found.says() == "None of 4 training rows holds one of 4 held-out items."


def test_a_short_item_that_stands_everywhere_refuses_nothing(guard: Guard) -> None:
    found = guard.check(["pass", "pass", "def f():\n    pass"])
    assert found.clean
    assert found.short_matches == 1


def test_an_eval_of_short_items_is_guarded_as_a_whole() -> None:
    names = [f"name{chr(97 + i)}" for i in range(26)]
    made = Guard()
    made.add("names", [[name] for name in names])
    assert made.check(names[:5]).clean
    found = made.check(["anna", *names[:20]])
    assert found.contaminated == 20
    assert found.row_numbers == list(range(1, 21))


def test_what_equals_an_item_is_shown_to_nobody_however_short(guard: Guard) -> None:
    rows = ["harmless", "x =  1", "def f():\n    pass", {"n": 3, "text": "PASS"}, f"A text.\n{LONG}"]
    assert guard.held_out(rows) == {1: "foxes", 3: "foxes", 4: "foxes"}
    assert guard.check(rows).row_numbers == [4]
    assert guard.held_out([]) == {}
    answers = [
        {"prompt": "Did she?", "completion": "pass"},
        {"messages": [{"role": "user", "content": "Did she?"}, {"role": "assistant", "content": "pass"}]},
    ]
    assert guard.held_out(answers) == {}
    assert guard.held_out([{"messages": [{"role": "user", "content": "Pass"}]}, {"answer": LONG}]) == {
        0: "foxes",
        1: "foxes",
    }


def test_nothing_registered_nothing_found() -> None:
    assert Guard().check([LONG]).clean
    assert Guard().held_out([LONG]) == {}


def test_fold_keeps_what_makes_a_difference() -> None:
    assert fold("A  b\nC") == "a b c"
    assert fold("a-b") != fold("ab")


def test_it_is_fast_enough_for_every_launch() -> None:
    made = Guard()
    made.add("many", [[f"held-out item number {i} of the eval"] for i in range(1000)])
    began = time.process_time()
    made.check([f"training row number {i} of the data" for i in range(50_000)])
    assert time.process_time() - began < 10
