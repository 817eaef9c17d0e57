"""Is an answer mathematically the same as what is right? math-verify says so, in a process of its own.

math-verify ends what takes too long by an alarm, which Python allows in a main thread only and which does not
reach into a long multiplication; so it runs in a child, whose main thread is free, and which is ended where
an item takes too long. What an item brings down is wrong, and the child is started again after it.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ml_intern.errors import ToolError

CHILD = Path(__file__).with_name("mathematics_child.py")
ITEM_S, START_S = 12.0, 60.0
"""Longest silence of the child: over one item (math-verify's own alarms come before), over its imports."""
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
        all_s: Seconds that all may take; nothing means `START_S` and `SLOW_S` for each.

    Raises:
        ToolError: math-verify cannot be started.
    """
    pairs = [(target, answer[-LONGEST:]) for target, answer in zip(targets, answers, strict=True)]
    deadline = time.monotonic() + (START_S + SLOW_S * len(pairs) if all_s is None else all_s)
    said: list[str] = []
    while len(said) < len(pairs) and time.monotonic() < deadline:
        with _Child(pairs[len(said) :]) as child:
            said += child.answers(item_s, deadline)
            if len(said) < len(pairs):
                said.append("given up")  # It ended, or was ended, over this one.
    late = len(pairs) - len(said)
    said += ["given up"] * late
    if notes is not None:
        _tell(said, late, notes)
    return [word in ("right", "text right") for word in said]


def _tell(said: Sequence[str], late: int, notes: list[str]) -> None:
    lost, text = said.count("given up"), sum(word.startswith("text") for word in said)
    if lost:
        why = f", {late} of them because all together took too long" if late else ""
        notes.append(f"math_match gave up on {lost} of {len(said)} answers, which count as wrong{why}.")
    if text:
        notes.append(f"{text} of {len(said)} targets are no mathematics; answers were compared as text.")


class _Child:
    """The process, with the pairs that it is still to compare."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self._pairs = pairs
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-X", "utf8", str(CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.defpath, "OMP_NUM_THREADS": "1"},
        )

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream
            try:
                stream.close()
            except BrokenPipeError:  # what was not sent when it ended
                pass
        self._process.wait()

    def answers(self, item_s: float, deadline: float) -> list[str]:
        """A word for each pair, as far as it came."""
        found: list[str] = []
        if self._line(START_S) != "ready":
            raise ToolError(
                "math-verify could not be started, which math_match needs.",
                "pip install 'math-verify>=0.9', or register the eval with numeric_match.",
            )
        for pair in self._pairs:
            self._send(pair)
            word = self._line(min(item_s, deadline - time.monotonic()))
            if not word:
                break
            found.append(word)
        return found

    def _send(self, pair: tuple[str, str]) -> None:
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps(pair).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass

    def _line(self, seconds: float) -> str:
        """The next line; nothing where it does not come in time. There is never more than one under way."""
        assert self._process.stdout
        if not select.select([self._process.stdout], [], [], max(0.0, seconds))[0]:
            return ""
        return self._process.stdout.readline().decode("utf-8", "replace").strip()
