"""How a sub-agent ends without an answer, and what ends with it: nothing, unless a person or the ceiling says."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from research_kit import Talks, lines, of_json, play, told

from ml_intern.brains.base import Ending, answer
from ml_intern.errors import NoBrain

ASK = "try:\n    found = research('<a> what', steps=4)\nexcept ToolError as error:\n    found = str(error)"
TELL = "import json\nfinal_answer(json.dumps(found))"
SLEEP = "import time\ntime.sleep(120)"


def raises(error: Exception) -> Callable[[], str]:
    def reply() -> str:
        raise error

    return reply


ENDS: dict[str, tuple[list[Any], str]] = {
    "steps": (["x = 1\nprint('pear')", "y = 2", "z = 3", "w = 4"], "the limit of 4 steps is reached"),
    "brain gone": (["print('pear')", raises(NoBrain("nobody answers"))], "nobody answers"),
    "defect": (["print('pear')", raises(KeyError("oops"))], "failed inside: KeyError"),
}


@pytest.mark.parametrize("how", ENDS)
def test_a_failure_is_told_with_what_was_found(begin: Any, how: str) -> None:
    cells, reason = ENDS[how]
    run = begin(Talks([ASK, TELL], a=cells))
    result, events = play(run)
    said = of_json(result)
    assert result.status == "done" and said.startswith("research:1 found no answer:")
    assert reason in said and "pear" in said and "narrower question" in said
    [ended] = told(events, "ResearchFinished")
    assert not ended.ok and reason in ended.reason
    assert lines(run, "research_done")[0]["finding"]["ok"] is False


def test_going_round_in_circles_ends_it(begin: Any) -> None:
    ask = ASK.replace("steps=4", "steps=30")
    brain = Talks([ask, TELL], a=["print('the same')"])
    result, events = play(begin(brain))
    assert "was done 9 times" in of_json(result) and brain.times("a") == 9 and result.status == "done"
    assert {e.source for e in told(events, "Notice") if "The same thing" in e.text} == {"research:1"}


def test_replies_without_a_cell_end_it(begin: Any) -> None:
    class Chatty(Talks):
        def generate(self, messages: list[Any], **more: Any) -> Any:
            said = super().generate(messages, **more)
            wordy = answer("I think about it.", Ending("stop"), 10, 5)
            return wordy if self.asked[-1][0] == "a" else said

    result, _ = play(begin(Chatty([ASK, TELL], a=["x = 1"])))
    assert "no usable cell" in of_json(result) and result.status == "done"


def test_a_lost_kernel_is_its_own_affair(begin: Any) -> None:
    brain = Talks([ASK, "kept = 5\n" + TELL], a=["import os\nos._exit(3)", "final_answer('after it')"])
    result, _ = play(begin(brain))
    assert of_json(result)["answer"] == "after it"


def test_of_several_each_ends_for_itself(begin: Any) -> None:
    ask = "found = research_many(['<a> one', {'question': '<b> two', 'steps': 1}])"
    brain = Talks([ask, TELL], a=["final_answer('one')"], b=["print('half of two')"])
    one, two = of_json(play(begin(brain))[0])
    assert (one["ok"], one["answer"]) == (True, "one")
    assert not two["ok"] and "limit of 1 step" in two["reason"] and "half of two" in two["answer"]


def test_arguments_are_checked(begin: Any) -> None:
    calls = ["research('')", "research('x', steps=0)", "research('x', steps=999)", "research_many([])"]
    calls += ["research_many(['x'] * 33)", "research_many([{'qestion': 'x'}])", "research(task='x')"]
    code = "said = []\n" + "\n".join(
        f"try:\n    {call}\nexcept ToolError as e:\n    said.append(str(e))" for call in calls
    )
    result, events = play(begin(Talks([code + "\nfinal_answer(len(said))"], a=["x = 1"])))
    assert result.answer == str(len(calls)) and not told(events, "ResearchStarted")


def interrupted(run: Any, wanted: int) -> tuple[Any, list[Any]]:
    """Stop once so many sub-agents sleep in their cells."""
    sleeping, events = set(), []
    for event in run.run():
        events.append(event)
        if event.kind == "CellStarted" and event.source and "sleep" in event.code:
            sleeping.add(event.source)
            if len(sleeping) == wanted:
                threading.Timer(0.3, run.interrupt).start()
    result = run.result()
    run.close()
    return result, events


def test_an_interrupt_stops_them_all_and_they_go_on_later(begin: Any, tmp_path: Path) -> None:
    flag = tmp_path / "go_on"
    nap = [
        "x = 20",
        f"import os, time\nos.path.exists({str(flag)!r}) or time.sleep(120)\nx += 1",
        "final_answer(str(x))",
    ]
    ask = "found = research_many(['<a> 1', '<b> 2', '<a> 3', '<c> 4'])"
    brain = Talks([ask, TELL], a=nap, b=nap, c=["final_answer('at once')"])
    run = begin(brain, research_parallel=3)
    result, events = interrupted(run, 3)
    assert result.status == "interrupted" and not [t for t in threading.enumerate() if "research:" in t.name]
    assert {e.ok for e in told(events, "ResearchFinished")} == {False} and not lines(run, "research_done")
    flag.touch()
    goes_on = begin(brain, folder=run.folder)
    result, events = play(goes_on)
    assert [row["answer"] for row in of_json(result)] == ["21", "21", "21", "at once"]
    assert [e.again for e in told(events, "ResearchStarted")].count(True) == 3
    assert_paid_once(goes_on, result)
    assert brain.times("a") == 6 and brain.times("b") == 3 and brain.times("main") == 2


def assert_paid_once(run: Any, result: Any) -> None:
    """Each step of each has one answer in the journal, and all of them are counted."""
    said = [(line.get("source"), line["step"]) for line in lines(run, "brain")]
    assert len(said) == len(set(said))
    assert result.tokens == {"input": 10 * len(said), "output": 5 * len(said)}
    assert result.budget["tokens"]["spent"] == 15 * len(said)


def test_an_interrupt_gives_up_a_request_that_hangs(begin: Any) -> None:
    hangs, release = threading.Event(), threading.Event()

    def hang() -> str:
        hangs.set()
        release.wait(60)
        return "final_answer('late')"

    run = begin(Talks([ASK, TELL], a=[hang]))
    stopper = threading.Thread(target=lambda: (hangs.wait(30), run.interrupt()))
    stopper.start()
    result, _ = play(run)
    release.set()
    stopper.join()
    assert result.status == "interrupted"


def test_the_ceiling_of_the_session_ends_them_and_the_run(begin: Any) -> None:
    ask = "found = research_many(['<a> 1', '<b> 2'])"
    cells = [f"x = {n}" for n in range(8)] + ["final_answer(str(x))"]
    brain = Talks([ask, TELL], a=cells, b=cells)
    run = begin(brain, budget="150 tokens")
    result, events = play(run)
    assert (result.status, result.exit_code) == ("limit", 3)
    assert any("budget of 150 tokens is used up" in line for line in result.errors)
    assert 150 <= result.budget["tokens"]["spent"] <= 150 + 2 * 15
    reasons = {e.reason for e in told(events, "ResearchFinished")}
    assert any("budget of 150 tokens" in reason for reason in reasons) and not lines(run, "research_done")
    goes_on = begin(brain, folder=run.folder, budget="1000 tokens")
    result, _ = play(goes_on)
    assert [row["answer"] for row in of_json(result)] == ["7", "7"]
    assert_paid_once(goes_on, result)


def test_the_end_of_the_wall_time_ends_them(begin: Any) -> None:
    run = begin(Talks([ASK, TELL], a=[SLEEP]), budget="3s")
    result, _ = play(run)
    assert result.exit_code == 3 and "budget of 3.0s" in result.errors[0]


def test_a_cell_that_is_stopped_takes_its_sub_agents_with_it(begin: Any) -> None:
    """The run goes on, and nobody reads on unseen at its cost."""
    brain = Talks([ASK, "final_answer('went on')"], a=["x = 1", SLEEP, "final_answer('too late')"])
    run = begin(brain)
    for event in run.run():
        if event.kind == "CellStarted" and event.source and "sleep" in event.code:
            threading.Timer(0.3, run.stop, ["cell"]).start()
    result = run.result()
    run.close()
    assert (result.status, result.answer) == ("done", "went on") and brain.times("a") == 2
    assert not [t for t in threading.enumerate() if "research:" in t.name]
    assert not lines(run, "research_done")
