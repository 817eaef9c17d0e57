"""A brain is asked for a plan, and to hold it against what it knows; what it reads never changes afterwards."""

from __future__ import annotations

import itertools
from pathlib import Path

from support.scripted_runs import Played, cell, play

from ml_intern.agent.doomloop import DoomLoop

ASKED = "hold the plan against what you know"
REPLIES = [cell(f"print('result {word}')") for word in ["one", "two", "three", "four", "five", "six"]]


def prompts(played: Played) -> list[str]:
    """The whole text of each request, the system prompt included."""
    return played.brain.prompts


def test_the_plan_is_asked_for_at_the_start_and_after_every_so_many_steps(tmp_path: Path) -> None:
    last = prompts(play([*REPLIES, cell("final_answer('done')")], tmp_path, planning=2))[-1]
    assert "write a plan once you have looked: plan([...])" in last
    assert [n for n in range(1, 9) if f"\n{n} steps are done." in last] == [2, 4, 6]
    assert last.count(ASKED) == 3


def test_nobody_is_asked_where_the_setting_says_so(tmp_path: Path) -> None:
    last = prompts(play([*REPLIES, cell("final_answer('done')")], tmp_path, planning=0))[-1]
    assert "# The plan" not in last and ASKED not in last


def test_a_failed_cell_is_followed_by_the_question_as_well(tmp_path: Path) -> None:
    last = prompts(play([cell("1/0"), cell("final_answer('done')")], tmp_path, planning=1))[-1]
    assert "ZeroDivisionError" in last and last.index("ZeroDivisionError") < last.index(ASKED)


def test_each_prompt_begins_with_the_one_before(tmp_path: Path) -> None:
    told = prompts(
        play([*REPLIES, cell("help('papers')"), cell("final_answer('done')")], tmp_path, planning=3)
    )
    assert all(after.startswith(before) for before, after in itertools.pairwise(told))


def test_a_run_that_goes_on_reads_the_same(tmp_path: Path) -> None:
    replies = [cell("plan(['look', 'train'])"), *REPLIES, cell("final_answer('done')")]
    whole = play(replies, tmp_path / "whole", planning=2)
    first = play(replies, tmp_path / "cut", planning=2, max_steps=3)
    again = play(replies[3:], tmp_path / "cut", planning=2, folder=first.session.folder)
    names = {first.session.id: whole.session.id, str(tmp_path / "cut"): str(tmp_path / "whole")}

    def alike(text: str) -> str:
        for old, new in names.items():
            text = text.replace(old, new)
        return text.split("# This session")[0] + text.split("\nuser: Task:")[1]  # between them is the clock

    assert alike(prompts(again)[-1]) == alike(prompts(whole)[-1])


def test_a_run_in_circles_is_asked_for_another_plan() -> None:
    loop = DoomLoop()
    verdicts = [loop.see("look()", "nothing") for _ in range(6)]
    assert verdicts[-1] is not None and verdicts[-1].level == "replan"
    assert "two other ways" in verdicts[-1].text and "{" not in verdicts[-1].text
