"""Is an answer mathematically the same as what is right? math-verify says so, in a process of its own.

math-verify ends what takes too long by an alarm, which Python allows in a main thread only and which does not
reach into a long multiplication; so it runs in a child, whose main thread is free, and which is ended where
an item takes too long. What an item brings down is wrong, and the child is started again after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ml_intern.errors import ToolError
from ml_intern.evals.apart import START_S, Answers, NotStarted, ask_apart

CHILD = Path(__file__).with_name("mathematics_child.py")
ITEM_S = 12.0
"""Longest silence of the child over one item; math-verify's own alarms come before."""
SLOW_S = 0.5
"""Time an item may take on average, over all: ordinary ones take some thousandths of a second."""
LONGEST = 20_000
"""Characters of an answer that are read, from its end, where answers stand."""


def equal(
    targets: Sequence[str],
    answers: Sequence[str],
    notes: list[str] | None = None,
    item_s: float = ITEM_S,
    all_s: float | None = None,
) -> list[bool]:
    """For each answer whether it is right.

    Args:
        targets: Numbers, LaTeX, text with ``\\boxed{}`` or with ``#### 42`` at its end.
        answers: What the model said, each read in the same way.
        notes: Is told how many were given up, and how many targets are no mathematics.
        item_s: Seconds that one item may take.
        all_s: Seconds that all may take; nothing means what ordinary ones take many times over.

    Raises:
        ToolError: math-verify cannot be started.
    """
    pairs = [(target, answer[-LONGEST:]) for target, answer in zip(targets, answers, strict=True)]
    try:
        said = ask_apart(CHILD, pairs, item_s, START_S + SLOW_S * len(pairs) if all_s is None else all_s)
    except NotStarted:
        raise ToolError(
            "math-verify could not be started, which math_match needs.",
            "pip install 'math-verify>=0.9', or register the eval with numeric_match.",
        ) from None
    if notes is not None:
        _tell(said, notes)
    return [line in ("right", "text right") for line in said.lines]


def _tell(said: Answers, notes: list[str]) -> None:
    text, count = sum(line.startswith("text") for line in said.lines), len(said.lines)
    if said.lost:
        why = f", {said.late} of them because all together took too long" if said.late else ""
        notes.append(f"math_match gave up on {said.lost} of {count} answers, which count as wrong{why}.")
    if text:
        notes.append(f"{text} of {count} targets are no mathematics; answers were compared as text.")
