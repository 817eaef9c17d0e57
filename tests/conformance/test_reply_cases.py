"""Behaviour 9: whatever a brain writes is run, corrected or told; never a crash, nothing half-run."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.scripted_runs import Played, Reply, cell, play

GOOD = "x = 6 * 7\nprint('the sum is', x)"
END = cell("final_answer(str(x))")


def run(state: Path, *replies: Reply) -> Played:
    return play(replies, state)


def written(played: Played) -> set[str]:
    """Files that cells have made."""
    return {path.name for path in played.session.workspace.iterdir() if not path.name.startswith(".")}


def test_no_code_twice_is_corrected_and_goes_on(own_state: Path) -> None:
    """No code twice: a correction that says how to write a cell; then the run goes on."""
    played = run(own_state, "I would look at the data.", "Let me think.", cell(GOOD), END)
    assert (played.result.status, played.result.answer) == ("done", "42")
    for prompt in played.brain.prompts[1:3]:
        assert "No cell was found. Every reply needs one cell:\n<cell>\n" in prompt and "</cell>" in prompt


def test_no_code_a_third_time_stops_with_the_reason(own_state: Path) -> None:
    """No code a third time in a row: the run stops and says why."""
    played = run(own_state, cell(GOOD), "Hm.", "Hm, hm.", "Hm, hm, hm.")
    assert (played.result.status, played.result.exit_code, len(played.brain.prompts)) == ("failed", 1, 4)
    assert "no usable cell 3 times in a row (no_code)" in played.result.errors[-1]
    assert played.events[-1].kind == "SessionFinished"


def test_corrections_count_only_in_a_row(own_state: Path) -> None:
    """A cell between them begins the count anew."""
    played = run(own_state, "Hm.", "Hm.", cell(GOOD), "Hm.", "Hm.", END)
    assert played.result.answer == "42"


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param("<cell>\nopen('half', 'w').write('1')\nfor n in range(3", id="open-cell"),
        pytest.param("<cell>\nopen('half', 'w').write('1')\n", id="open-cell-that-compiles"),
        pytest.param(cell("open('half', 'w').write('1')") + "\n<cell>\nopen('half2'", id="second-cell-open"),
        pytest.param("I will now explain at length what", id="in-the-prose"),
    ],
)
def test_a_reply_cut_by_length_is_told_so_and_nothing_is_half_run(reply: str, own_state: Path) -> None:
    """A reply cut by length: told so, asked for a shorter cell, nothing of it has run."""
    played = run(own_state, (reply, "length"), cell(GOOD), END)
    assert played.result.answer == "42" and "half" not in written(played)
    assert "cut at the length limit, so nothing of it was run" in played.brain.prompts[1]
    assert "shorter cell" in played.brain.prompts[1]


def test_a_reply_that_is_always_cut_ends_the_run_and_says_what_helps(own_state: Path) -> None:
    """Cut three times in a row: the run ends and names the setting."""
    played = run(own_state, ("<cell>\nprint(", "length"))
    assert played.result.status == "failed" and "truncated" in played.result.errors[-1]
    assert "max_output_tokens" in played.result.errors[-1] and len(played.brain.prompts) == 3


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(f"First I add.\n\n{cell(GOOD)}\n\nThen I look.", id="text-around"),
        pytest.param(cell("x = 6 * 7") + "\nand\n" + cell("print('the sum is', x)"), id="several-cells"),
        pytest.param(
            "```python\nx = 6 * 7\n```\nand\n```py\nprint('the sum is', x)\n```", id="several-fences"
        ),
        pytest.param(cell(GOOD).replace("\n", "\r\n"), id="windows-line-ends"),
        pytest.param(cell(GOOD).replace("\n", "\r"), id="old-line-ends"),
        pytest.param(f"<cell>\n{GOOD}", id="never-closed"),
        pytest.param(f"<cell>\n{GOOD}\n</ce", id="half-a-closing-tag"),
        pytest.param(f"```python\n{GOOD}", id="fence-never-closed"),
        pytest.param(cell(f"card = 'ends with </cell> here'\n{GOOD}"), id="closing-tag-in-a-string"),
        pytest.param(cell(f"card = '''\n</cell>\n'''\n{GOOD}"), id="closing-tag-in-a-long-string"),
        pytest.param(cell(f"# </cell>\n{GOOD}"), id="closing-tag-in-a-comment"),
        pytest.param(f"<think>\n<cell>\n1 / 0\n</cell>\n</think>\n{cell(GOOD)}", id="thoughts-with-a-cell"),
        pytest.param(cell(GOOD) + "\nObservation of step 1:\n<cell>\nx = 1\n</cell>", id="invented-result"),
        pytest.param(f"\ufeff{cell(GOOD)}", id="byte-order-mark"),
    ],
)
def test_what_surrounds_the_cell_is_handled(reply: str, own_state: Path) -> None:
    """Text around the code, several blocks, Windows line ends, no closing, a tag inside of a string: it runs."""
    played = run(own_state, reply, END)
    assert (played.result.status, played.result.answer, played.result.steps) == ("done", "42", 2)
    assert "the sum is 42" in played.brain.prompts[1]


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        pytest.param("<cell>\nprint((1", "never closed", id="open-and-no-python"),
        pytest.param(
            '{"name": "python", "arguments": {"code": "print(1)"}}', "No cell", id="tool-call-as-json"
        ),
        pytest.param("```\npip install torch\n```", "word python", id="fence-of-another-language"),
        pytest.param("The final answer is 42.", "call final_answer in a cell", id="answer-as-prose"),
        pytest.param("", "The reply was empty", id="nothing"),
        pytest.param("<cell></cell>", "No cell was found", id="empty-cell"),
        pytest.param("<think>I wonder", "The reply was empty", id="thoughts-only"),
    ],
)
def test_what_cannot_run_is_corrected(reply: str, told: str, own_state: Path) -> None:
    """What is no cell gets a correction that says what was wrong, and the next reply counts."""
    played = run(own_state, reply, cell(GOOD), END)
    assert played.result.answer == "42" and told in played.brain.prompts[1]


def test_code_that_is_no_python_is_answered_by_the_kernel(own_state: Path) -> None:
    """A closed cell that does not compile reaches the kernel, whose error names the line."""
    played = run(own_state, cell("x = = 1"), cell(GOOD), END)
    assert played.result.answer == "42" and "SyntaxError" in played.brain.prompts[1]


# A run that nobody watches, with goals open


PLAN = cell(
    "plan([{'text': 'train it', 'status': 'done'}, 'measure it', {'text': 'publish', 'status': 'doing'}])"
)
DONE = cell("plan([{'text': 'all', 'status': 'done'}])\nfinal_answer('now')")


def test_an_answer_that_leaves_the_plan_open_is_held_back_once(own_state: Path) -> None:
    """Headless, budget left, goals open: a final answer is told to go on, and the next one is taken."""
    played = run(own_state, PLAN, cell("x = 1\nfinal_answer('early')"), DONE)
    assert (played.result.answer, played.result.steps) == ("now", 3)
    told = played.brain.prompts[2]
    assert "not taken yet" in told and "measure it; publish" in told and "train it;" not in told
    again = run(own_state, PLAN, cell("final_answer('early')"), cell("final_answer('it cannot be measured')"))
    assert (again.result.answer, again.result.status) == ("it cannot be measured", "done")


def test_words_instead_of_a_cell_are_told_what_is_open_once(own_state: Path) -> None:
    """Headless, budget left, goals open: a reply without code is corrected and told what is open."""
    played = run(own_state, PLAN, "I am done.", "Really.", cell("final_answer('done')"))
    assert played.result.answer == "done"
    assert played.brain.prompts[2].count("measure it; publish") == 1
    assert played.brain.prompts[3].count("measure it; publish") == 1


@pytest.mark.parametrize(
    ("settings", "replies"),
    [
        pytest.param({"go_on": False}, [PLAN], id="setting"),
        pytest.param({}, [DONE.replace("final_answer('now')", "")], id="nothing-open"),
        pytest.param({}, [cell("x = 1")], id="no-plan"),
        pytest.param({"budget": "1 jobs"}, [PLAN, cell("launch_script('print(1)')")], id="no-budget-left"),
    ],
)
def test_an_answer_is_taken_where_there_is_nothing_to_go_on_with(
    settings: dict[str, object], replies: list[str], own_state: Path
) -> None:
    """No goals open, no budget left, or not wanted: the answer is taken at once."""
    played = play([*replies, cell("final_answer('early')")], own_state, **settings)
    assert played.result.answer == "early" and len(played.brain.prompts) == len(replies) + 1


def test_an_answer_that_was_held_back_stays_so_when_the_session_goes_on(own_state: Path) -> None:
    """Resumed after the reminder: the early answer is no end, and the reminder is not said again."""
    replies = [PLAN, cell("x = 1\nfinal_answer('early')"), cell("x += 1"), cell("final_answer(f'late {x}')")]
    first = play(replies, own_state, max_steps=3)
    assert first.result.status == "limit"
    again = play(replies[3:], own_state, folder=first.session.folder)
    assert (again.result.answer, len(again.brain.prompts)) == ("late 2", 1)
    assert again.brain.prompts[0].count("not taken yet") == 1
    assert not any("another result" in text for text in again.notices)
