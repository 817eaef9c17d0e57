"""The time that a task's sentence names: read where it is plain, told, and never a limit."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.scripted_runs import cell, play

from ml_intern.agent.goals import Goals
from ml_intern.agent.task_time import named_seconds, task_time
from ml_intern.router.budget import Budget
from ml_intern.tools.session import time_left


@pytest.mark.parametrize(
    ("task", "seconds"),
    [
        ("You have 30 minutes. Teach a model to add.", 1800),
        ("Make it good; you have about 1.5 hours for it", 5400),
        ("you've got half an hour", 1800),
        ("You have only two hours and one CPU.", 7200),
        ("You have 90min.", 5400),
        ("You have 2 hours of time.", 7200),
        ("Time limit: 3h", 10800),
        ("The wall-clock budget is 45 minutes", 2700),
        ("Please finish the whole of it within an hour.", 3600),
        ("Spend at most 20 minutes on it.", 1200),
        ("You have 30 minutes, so finish in 30 minutes.", 1800),
    ],
)
def test_a_plain_time_is_read(task: str, seconds: float) -> None:
    assert named_seconds(task) == seconds


@pytest.mark.parametrize(
    "task",
    [
        "",
        "Forecast the load of the next 2 hours from the last 24 h.",
        "Train on 30 minutes of speech.",
        "You have 30 million rows and 2 GPUs.",
        "You have 30 minutes for the first part. You have 2 hours for the second.",
        "The model should answer within 2 minutes.",
        "You have one hour-long recording.",
        "You have 3 hours of audio to learn from.",
        "You have 30 minutes per training.",
        "You have half an hour of audio.",
    ],
)
def test_what_may_mean_something_else_is_left_alone(task: str) -> None:
    assert named_seconds(task) is None


def goals(caps: dict[Any, float], used: float, task: str = "You have 30 minutes.") -> Goals:
    services: Any = SimpleNamespace(
        notes={"plan": [{"text": "measure it", "status": "todo"}]}, task_time=lambda: task_time(task, used)
    )
    return Goals(services, Budget(caps), wanted=True)


@pytest.mark.parametrize(
    ("caps", "used", "task", "told"),
    [
        ({}, 60, "Add.", "and no ceiling of time is set: measure it."),
        (
            {},
            600,
            "You have 30 minutes.",
            "and of the 30m 0s that the task names, 20m 0s are left: measure it.",
        ),
        ({"seconds": 3600}, 60, "Add.", "and there is budget left: measure it."),
    ],
)
def test_nothing_is_said_to_be_left_that_nobody_set(
    caps: dict[Any, float], used: float, task: str, told: str
) -> None:
    assert (
        goals(caps, used, task)
        .hold()
        .startswith(f"The answer was not taken yet. The plan has open items, {told}")
    )


def test_an_answer_late_in_the_time_of_the_task_is_taken() -> None:
    assert goals({}, 1441).hold() == "" and goals({}, 1439).hold()


@pytest.mark.parametrize(("left", "used", "told"), [(None, 1620, 180), (50.0, 1620, 50), (None, 4000, 0)])
def test_time_left_says_what_the_task_names_where_there_is_no_ceiling(
    left: float | None, used: float, told: float
) -> None:
    services: Any = SimpleNamespace(
        left=lambda: {"seconds": left}, task_time=lambda: task_time("You have 30 minutes", used)
    )
    ctx: Any = SimpleNamespace(services=services)
    assert time_left(ctx) == told
    services.task_time = lambda: None
    assert time_left(ctx) == left


@pytest.mark.parametrize(
    ("budget", "answer"),
    [("", "True True False"), ("2h", "False True True"), ("100 jobs", "True True False")],
)
def test_a_session_reads_the_time_of_its_task(own_state: Path, budget: str, answer: str) -> None:
    """And goes by its own ceiling of time where there is one."""
    asks = "left = time_left()\nfinal_answer(f'{left <= 1800} {left > 0} {left > 1800}')"
    assert play([cell(asks)], own_state, "You have 30 minutes. Add.", budget=budget).result.answer == answer


def test_a_session_whose_task_names_no_time_knows_of_none(own_state: Path) -> None:
    assert play([cell("final_answer(time_left())")], own_state).result.answer == "None"
