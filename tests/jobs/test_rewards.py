"""Rewards: what is refused before a job starts, and what is given for completions."""

from __future__ import annotations

import sys
import time

import pytest

from ml_intern.jobs.launch import RECIPES
from ml_intern.jobs.recipes._rewards import RewardError, read_rewards

sys.path.insert(0, str(RECIPES))
from _rewarding import RewardFailed, make_rewards, runs_to_its_end

sys.path.remove(str(RECIPES))


def give(spec, completions, prompts=None, **columns):
    """What one reward gives, as TRL would ask for it."""
    [reward] = make_rewards(read_rewards(spec, [*columns, "prompt"]))
    columns["prompts"] = prompts or [""] * len(completions)
    columns["completion_ids"] = [list(text) for text in columns.pop("tokens", completions)]
    return reward(completions=completions, trainer_state=None, log_extra=None, log_metric=None, **columns)


def code(text):
    return {"type": "python", "code": text}


@pytest.mark.parametrize(
    ("spec", "completions", "columns", "given"),
    [
        ("exact", ["4", " 4\n", "5", ""], {"answer": ["4", 4, "4", "4"]}, [1, 1, 0, 0]),
        (
            {"type": "exact", "extract": "<a>(.*?)</a>", "ignore_case": True},
            ["so <a>Yes</a>", "yes"],
            {"answer": ["yes", "yes"]},
            [1, 0],
        ),
        (
            {"type": "numeric", "column": "gold"},
            ["It is 1/2.", r"$\frac{1}{2}$", r"\boxed{0.50}", "0.51", "none", ")" * 500],
            {"gold": ["0.5"] * 6},
            [1, 1, 1, 0, 0, 0],
        ),
        ({"type": "regex", "pattern": r"\d"}, ["a1", "a"], {}, [1, 0]),
        ({"type": "regex", "pattern": r"\d", "whole": True}, ["1", "11"], {}, [1, 0]),
        ({"type": "length", "min": 2, "max": 4}, ["", "a", "ab", "abcdefgh"], {}, [0, 0.5, 1, 0.5]),
        ({"type": "length", "max": 1}, ["abcd"], {"tokens": ["a"]}, [1]),
        ({"type": "length", "max": 2, "unit": "characters"}, ["abcd"], {"tokens": ["a"]}, [0.5]),
        ("parses", ["x = 1", "x = ", " ", "x\x00"], {}, [1, 0, 0, 0]),
        (code("def reward(completion, n): return len(completion) / n"), ["ab"], {"n": [4]}, [0.5]),
        (code("def reward(completions, **k): return [len(k['n'])] * 2"), ["a", "b"], {"n": [4, 5]}, [2, 2]),
        (code("def good(completion, prompt, x=1): return prompt in completion"), ["a"], {}, [1]),
        (code("def reward(completion): return None if completion == 'a' else 1"), ["a", "b"], {}, [None, 1]),
    ],
)
def test_what_is_given(spec, completions, columns, given):
    assert give(spec, completions, **columns) == given


def test_the_end_of_a_program_is_judged_with_its_prompt():
    spec = {"type": "parses", "with_prompt": True}
    assert give(spec, ["x)", "x", ""], prompts=["f(", "f(", "1"]) == [1, 0, 0]


def test_the_prompt_is_a_column_like_any_other():
    assert give({"type": "exact", "column": "prompt"}, ["a", "b"], prompts=["a", "a"]) == [1, 0]


def test_messages_are_judged_by_their_text():
    chat = [[{"role": "assistant", "content": "4"}], [{"role": "assistant", "content": None}]]
    [reward] = make_rewards(read_rewards("exact"))
    asked = [[{"role": "user", "content": "2+2"}]] * 2
    assert reward(completions=chat, prompts=asked, completion_ids=[[1], []], answer=[4, 4]) == [1, 0]


@pytest.mark.thorough
def test_code_is_run_with_limits_and_its_tests_are_not_stepped_over():
    spec = {"type": "runs", "column": "tests", "timeout": 4, "memory_mb": 256}
    good = "def f(x):\n    return x + 1"
    programs = {
        good: 1,
        "def f(x): return x": 0,
        "import sys; sys.exit(0)": 0,
        "import os; os._exit(0)": 0,
        "while True: pass": 0,
        "f = lambda x: 'a' * (1 << 30)": 0,
        "f = lambda x: input()": 0,
        "import subprocess; subprocess.Popen(['sleep', '600'])\n" + good: 1,
        "\ud800": 0,
        "": 0,
    }
    began = time.monotonic()
    given = give(spec, list(programs), tests=["assert f(1) == 2"] * len(programs))
    assert dict(zip(programs, given, strict=True)) == programs
    assert time.monotonic() - began < 300, "what is left of a program is not waited for"


def test_code_gets_no_environment_and_an_empty_folder(monkeypatch):
    monkeypatch.setenv("SECRET", "x")
    assert runs_to_its_end(
        "import os; assert os.listdir() == [] and 'SECRET' not in os.environ", "", 10.0, 512
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def reward(completion): return 1 / 0", "ZeroDivisionError: division by zero (line 1 of the code)"),
        ("def reward(completion): return float('nan')", "gave nan for 'a'"),
        ("def reward(completion): return 'much'", "gave 'much'"),
        ("def reward(completions): return [1]", "gave 1 for 2 completions"),
        ("def reward(completions): return 1", "gave int for 2 completions"),
        ("def reward(completion): return None", "gave None for all of 2"),
        ("import no_such_module\ndef reward(completion): return 1", "no_such_module"),
    ],
)
def test_a_function_that_fails_is_named_with_its_line(text, words):
    with pytest.raises(RewardFailed) as caught:
        give(code(text), ["a", "b"])
    assert words in str(caught.value) and "python" in str(caught.value)


def test_a_reward_may_be_silent_where_another_speaks():
    quiet = {"type": "python", "name": "quiet", "code": "def reward(completion): return None"}
    rewards = make_rewards(read_rewards([quiet, "parses"]))
    given = [r(completions=["x"], prompts=[""], completion_ids=[[1]]) for r in rewards]
    assert given == [[None], [1.0]]


def test_everything_wrong_is_told_at_once():
    wrong = {
        "exat": "did you mean 'exact'",
        ("regex",): "regex needs pattern",
        ("regex", "pattern", "("): "no regular expression",
        ("exact", "colum", "a"): "did you mean 'column'",
        ("exact",): "no column 'answer'",
        ("exact", "column", "gol"): "did you mean 'gold'",
        ("exact", "weight", "2"): "weight = '2' is of a wrong type",
        ("exact", "weight", float("nan")): "weight = nan",
        ("length",): "needs min or max",
        ("length", "min", -1): "leave no length",
        ("runs", "timeout", 0): "above zero",
        ("model",): "model needs model",
        ("python", "code", "de f"): "does not parse: line 1",
        ("python", "code", "def f(x): pass"): "takes neither completions nor completion",
        ("python", "code", "x = 1"): "defines no function 'reward'",
        ("python", "code", "def reward(completion, gld): pass"): "did you mean 'gold'",
        7: "neither a word nor a dict",
    }
    given = [
        {"type": w[0], **dict(zip(w[1::2], w[2::2], strict=True))} if isinstance(w, tuple) else w
        for w in wrong
    ]
    with pytest.raises(RewardError) as caught:
        read_rewards([*given, "parses", "parses"], ["prompt", "gold"])
    told = str(caught.value)
    for number, words in enumerate(wrong.values(), 1):
        [line] = [
            part
            for part in told.split("; rewards[")
            if part.removeprefix("rewards[").startswith(f"{number}]")
        ]
        assert words in line
    assert "two rewards are called 'parses'" in told and "\n" not in told


@pytest.mark.parametrize("given", [None, [], {}, ""])
def test_no_reward_is_refused_with_what_there_is(given):
    with pytest.raises(RewardError, match=r"exact.*numeric"):
        read_rewards(given)


def test_a_single_reward_needs_no_list_and_has_its_defaults():
    assert read_rewards("exact") == [{"type": "exact", "name": "exact", "weight": 1.0, "column": "answer"}]
    assert read_rewards({"type": "parses", "name": "p", "weight": -1})[0]["weight"] == -1
