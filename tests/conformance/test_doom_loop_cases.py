"""Behaviours 1 to 5: what counts as turning in circles, in the detector and in whole runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.scripted_runs import Played, cell, play

from ml_intern.agent.doomloop import DoomLoop, call_text

DONE = "final_answer('done')"
TOLD = "The same thing was done"


def run(state: Path, cells: Sequence[str]) -> Played:
    return play([cell(code) for code in [*cells, DONE]], state)


def circles(played: Played) -> list[str]:
    """What the person was told of circles."""
    return [text for text in played.notices if TOLD in text]


def seen(calls: Sequence[tuple[str, str]]) -> list[str]:
    loop = DoomLoop()
    verdicts = [loop.see(action, result) for action, result in calls]
    return [verdict.level for verdict in verdicts if verdict]


# 1. What is the same call


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        pytest.param(
            '{"a": 1, "b": {"c": 2, "d": 3}}', '{"b":{"d":3,"c":2},\n\t"a":1}', True, id="key-order"
        ),
        pytest.param('{"a": [1, 2]}', '{"a" : [ 1,2 ]}', True, id="white-space"),
        pytest.param('{"a": [1, 2]}', '{"a": [2, 1]}', False, id="list-order"),
        pytest.param('{"a": 1}', '{"a": "1"}', False, id="number-and-text"),
        pytest.param("{a: 1", "{a: 1", True, id="no-json-and-the-same"),
        pytest.param("{a: 1, b: 2", "{b: 2, a: 1", False, id="no-json-as-it-stands"),
    ],
)
def test_arguments_that_differ_only_in_key_order_or_white_space_are_the_same(
    first: str, second: str, same: bool
) -> None:
    """Key order and white space do not count, list order does, text that is not JSON counts as it stands."""
    calls = [(call_text("f", text), "ok") for text in (first, second, first)]
    assert bool(seen(calls)) == same
    if first.startswith('{"'):
        objects = [(call_text("f", json.loads(text)), "ok") for text in (first, second, first)]
        assert bool(seen(objects)) == same


def test_a_cell_is_the_same_whatever_its_layout(own_state: Path) -> None:
    """The same call in three layouts, with its arguments in another order, is one thing done three times."""
    define = "def f(**given): print(sorted(given))"
    played = run(
        own_state, [define, "f(a=1, b=2)", "f( b = 2 , a = 1 )", "f(\n    a=1,\n    b=2,\n)  # again"]
    )
    assert len(circles(played)) == 1


# 2. How often


@pytest.mark.parametrize(
    ("steps", "fires"), [("AA", False), ("AAA", True), ("AABAA", False), ("AABAAA", True)]
)
def test_two_alike_are_nothing_three_alike_in_a_row_fire(steps: str, fires: bool, own_state: Path) -> None:
    """A A: nothing. A A A: fires and names the call. A A B A A: nothing."""
    played = run(own_state, [f"print('this is {letter}')" for letter in steps])
    assert bool(circles(played)) == fires and played.result.status == "done"
    if fires:
        told = circles(played)[0]
        assert "3 times" in told and "print('this is A')" in told
        assert told in played.brain.prompts[-1]  # the brain reads it with the observation


# 3. A poll


def test_a_poll_whose_result_moves_is_no_circle_and_one_that_stands_is(own_state: Path) -> None:
    """Same call with results 27210, 36454, 45770: nothing. Same call, same result, three times: fires."""
    poll = "print(next(job))"
    moving = run(own_state, ["job = iter([27210, 36454, 45770])", poll, poll, poll])
    assert circles(moving) == []
    standing = run(own_state, ["job = iter([27210] * 3)", poll, poll, poll])
    assert len(circles(standing)) == 1 and poll in circles(standing)[0]


# 4. Cycles


@pytest.mark.parametrize("length", range(2, 9))
def test_cycles_of_up_to_eight_steps_fire_and_are_named(length: int, own_state: Path) -> None:
    """(a b) three times fires and names the cycle; so do cycles of every length up to eight."""
    letters = "abcdefgh"[:length]
    played = run(own_state, [f"print('{letter}')" for letter in letters * 2])
    assert len(circles(played)) == 1 and all(f"print('{letter}')" in circles(played)[0] for letter in letters)


def test_a_b_three_times_is_told_of_and_a_b_a_c_is_not(own_state: Path) -> None:
    """(a b)x3 fires; a b a c does not."""
    show = "print('{}')".format
    assert circles(run(own_state, [show(c) for c in "ababab"]))
    assert circles(run(own_state, [show(c) for c in "abac"])) == []


# 5. Episodes


def test_an_episode_is_told_of_once_when_the_agent_moves_on(own_state: Path) -> None:
    """Fired once and the agent moved on: never again for that episode."""
    show = "print('{}')".format
    assert len(circles(run(own_state, [show(c) for c in "AAAAB" + "CDEFG"]))) == 1
    assert len(circles(run(own_state, [show(c) for c in "abab" + "cdefg" + "ab"]))) == 1


@pytest.mark.parametrize(
    ("code", "result"),
    [
        pytest.param("run()", "{n}: failed at 2026-11-21T10:00:0{n}.123Z", id="timestamp-in-the-result"),
        pytest.param("run(since='2026-11-21 10:00:0{n}')", "failed", id="timestamp-in-the-call"),
        pytest.param("run()", "failed after 1{n}.7 seconds", id="duration"),
        pytest.param("run()", "process 300{n} failed", id="process"),
        pytest.param("run()", "pid=300{n} failed", id="pid"),
        pytest.param("run(description='try number {n}')", "failed", id="description"),
        pytest.param("run(reason='once more, {n}')", "failed", id="reason"),
        pytest.param("# try {n}\nrun()", "failed", id="comment"),
    ],
)
def test_what_differs_only_in_times_ids_or_words_still_counts(code: str, result: str) -> None:
    """Repeats that differ only in a timestamp, a duration, a pid or a cosmetic argument still count."""
    calls = [(code.format(n=n), result.format(n=n).removeprefix(f"{n}: ")) for n in (1, 2, 3)]
    assert seen(calls) == ["note"]


def test_cells_that_tell_their_time_and_process_still_count(own_state: Path) -> None:
    """The same in a whole run, where the time and the process are real ones."""
    code = "import subprocess, time\np = subprocess.Popen(['true'])\nprint('pid', p.pid, 'at', time.time())\np.wait()"
    assert len(circles(run(own_state, [code] * 3))) == 1


@pytest.mark.parametrize(
    "code", ["print('again')", "1 / 0", "read_file('nothing.txt')", "print('long ' * 5000)"]
)
def test_twelve_identical_steps_escalate_and_never_run_to_the_end(code: str, own_state: Path) -> None:
    """Repeats after the note escalate: note, another plan, the end of the run with its reason."""
    played = run(own_state, [code] * 12)
    result = played.result
    assert (result.status, result.exit_code, result.steps) == ("failed", 1, 9)
    notes = circles(played)
    assert len(notes) == 4 and "two other ways" in notes[1] and notes[2] in notes[3]
    assert result.errors and "9 times" in result.errors[-1] and code.splitlines()[0] in result.errors[-1]
    assert played.events[-1].kind == "SessionFinished"


def test_a_cycle_that_goes_on_ends_the_run_too(own_state: Path) -> None:
    """A cycle escalates as equal steps do."""
    played = run(own_state, [f"print('{c}')" for c in "abc" * 8])
    assert played.result.status == "failed" and played.result.steps == 12
