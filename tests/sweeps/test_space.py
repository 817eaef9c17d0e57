"""What a sweep may choose from: plain dicts, and each thing that is wrong with one."""

from __future__ import annotations

import pytest

from ml_intern.errors import ToolError
from ml_intern.sweeps.space import Between, Choice, read_space


def test_lists_and_ranges_are_read():
    space = read_space(
        {
            "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
            "batch_size": [4, 8, 8],
            "max_length": {"low": 32, "high": 128, "step": 32},
            "peft": {"choices": [None, {"r": 8}]},
            "weight_decay": {"low": 0, "high": 0.1},
        }
    )
    assert space == {
        "learning_rate": Between(1e-4, 1e-2, log=True),
        "batch_size": Choice((4, 8)),
        "max_length": Between(32, 128, step=32, whole=True),
        "peft": Choice((None, {"r": 8})),
        "weight_decay": Between(0, 0.1),
    }


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ([], "leaves no choice"),
        ([8], "leaves no choice"),
        ([8, 8], "leaves no choice"),
        (8, "neither a list of values nor a range"),
        ("1e-4..1e-2", "neither a list of values nor a range"),
        ({}, "low and high missing"),
        ({"low": 1}, "high missing"),
        ({"min": 1, "max": 2}, "did you mean 'low'"),
        ({"low": 1, "hgih": 2}, "did you mean 'high'"),
        ({"low": 2, "high": 1}, "must be below"),
        ({"low": 1, "high": 1}, "must be below"),
        ({"low": 0, "high": 1, "log": True}, "above 0 on a logarithmic scale"),
        ({"low": 1, "high": 9, "log": True, "step": 2}, "a logarithmic scale has no step"),
        ({"low": 1, "high": 9, "step": 0}, "step = 0 must be above 0"),
        ({"low": 1, "high": 9, "step": 20}, "no more than the range"),
        ({"low": "1e-4", "high": 1}, "without quotes"),
        ({"low": True, "high": 2}, "must be a number"),
        ({"low": float("nan"), "high": 2}, "must be a number"),
        ({"low": 1, "high": float("inf")}, "must be a number"),
        ({"low": 1, "high": 2, "log": "yes"}, "True or False"),
        ({"low": 1, "high": 2, "choices": [1]}, "not both"),
        ({"choices": "abc"}, "must be a list"),
        ([1.0, float("nan")], "no value"),
    ],
    ids=repr,
)
def test_what_is_wrong_is_told_by_field(told, words):
    with pytest.raises(ToolError, match="space is not understood") as caught:
        read_space({"learning_rate": told})
    assert words in caught.value.message and "learning_rate" in caught.value.message
    assert '"low": 1e-4' in caught.value.hint


def test_everything_wrong_is_told_at_once():
    with pytest.raises(ToolError) as caught:
        read_space({"a": [1], "b": {"low": 2, "high": 1}, "seed": [1, 2], "c": [1, 2]})
    assert all(f"{name}: " in caught.value.message for name in ("a", "b", "seed"))
    assert "c: " not in caught.value.message


@pytest.mark.parametrize("given", [{}, [], "learning_rate", None], ids=repr)
def test_a_space_is_a_dict(given):
    with pytest.raises(ToolError, match="must be a dict"):
        read_space(given)
