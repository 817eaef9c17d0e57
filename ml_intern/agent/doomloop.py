"""Finds a run that turns in circles, and says so: first a note, then a demand for another plan, then the end.

Each step has a signature: what was done and what came of it, both without what changes by itself (times,
durations, process ids, hashes) and without what is only worded differently (white space, comments, the order
of keys, a description). Polling whose result moves has moving signatures and is left alone.

A run of equal steps, or of equal cycles of up to eight steps, is one episode. It is told of once at each of
three heights while it lasts; when the agent does something else, it is over.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ml_intern.agent.instructions import replan

LONGEST_CYCLE = 8
KEPT = 64
"""Steps that are remembered: more than any height of any cycle needs."""

SAME = {3: "note", 6: "replan", 9: "stop"}
"""Equal steps in a row, and what they call for."""

CYCLES = {2: "note", 3: "replan", 4: "stop"}
"""Equal cycles in a row."""

COSMETIC = frozenset(
    {"attempt", "comment", "description", "label", "message", "note", "notes", "reason", "title"}
)
"""Arguments that say something about a call and do not change what it does."""

# The order counts: a time stamp holds times, a time holds numbers with units.
_FOLDED = (
    (re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.I), "<id>"),
    (re.compile(r"\b0x[0-9a-f]+\b", re.I), "<address>"),
    (re.compile(r"\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{12,64}\b", re.I), "<hash>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"), "<time>"),
    (re.compile(r"\b\d{1,2}:\d\d(?::\d\d)?(?:[.,]\d+)?\b"), "<time>"),
    (re.compile(r"\b1[5-9]\d{8}(?:\.\d+|\d{3})?\b"), "<time>"),  # seconds or milliseconds since 1970
    (re.compile(r"\b\d+(?:\.\d+)?\s?(?:[nµum]?s|secs?|seconds?|min|minutes?|hours?)\b", re.I), "<duration>"),
    (re.compile(r"<cell \d+>|\bcell-\d+\.txt\b"), "<cell>"),  # the step's own number, in tracebacks and paths
    (re.compile(r"\b(pid|process|call|request)([\s:=#-]{1,3})\d+\b", re.I), r"\1\2<id>"),
    (re.compile(r"\s+"), " "),
)  # fmt: skip

Level = Literal["note", "replan", "stop"]


@dataclass(frozen=True)
class Verdict:
    """What a circle calls for.

    Attributes:
        level: ``note`` tells the brain, ``replan`` demands another plan, ``stop`` ends the run.
        text: What the brain reads, or why the run ended.
    """

    level: Level
    text: str


class DoomLoop:
    """Watches the steps of one run."""

    def __init__(self) -> None:
        self._steps: list[tuple[str, str]] = []
        self._told: dict[tuple[str, ...], int] = {}

    def see(self, action: str, result: str, name: str = "") -> Verdict | None:
        """Look at one more step.

        Args:
            action: The cell's code, or a call as `call_text` writes it.
            result: What came of it.
            name: What the step is called in a verdict; nothing: the first line of the action.
        """
        folded = f"{fold_code(action)}\n→ {fold(result)}"
        signature = hashlib.sha256(folded.encode("utf-8", "replace")).hexdigest()  # results may be long
        self._steps = [*self._steps[1 - KEPT :], (signature, name or _first_line(action))]
        for length in range(1, LONGEST_CYCLE + 1):
            verdict = self._look(length)
            if verdict is not None or self._repeats(length) >= (3 if length == 1 else 2):
                return verdict
        self._told.clear()  # something new: what was told of is over
        return None

    def _look(self, length: int) -> Verdict | None:
        heights = SAME if length == 1 else CYCLES
        repeats = self._repeats(length)
        reached = max((height for height in heights if repeats >= height), default=0)
        cycle = _turned([signature for signature, _ in self._steps[-length:]])
        if reached <= self._told.get(cycle, 0):
            return None
        self._told[cycle] = reached
        return _verdict(heights[reached], [name for _, name in self._steps[-length:]], repeats)

    def _repeats(self, length: int) -> int:
        """How often the last `length` steps stand one after the other at the end."""
        signatures = [signature for signature, _ in self._steps]
        cycle = signatures[-length:]
        if len(cycle) < length or (length > 1 and len(set(cycle)) == 1):
            return 0
        count = 0
        while signatures[len(signatures) - (count + 1) * length : len(signatures) - count * length] == cycle:
            count += 1
            if (count + 1) * length > len(signatures):
                break
        return count


def fold(text: str) -> str:
    """A text without what changes by itself; numbers stay, since a poll that moves shows in them."""
    for pattern, word in _FOLDED:
        text = pattern.sub(word, text)
    return text.strip()


def fold_code(code: str) -> str:
    """A cell without comments, layout and cosmetic arguments; what is not Python is folded as text."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return fold(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            node.keywords = sorted(
                (k for k in node.keywords if k.arg not in COSMETIC), key=lambda k: k.arg or ""
            )
    return fold(ast.unparse(tree))


def call_text(name: str, arguments: str | dict[str, Any]) -> str:
    """A call as text: the order of keys and white space do not count, the order of lists does."""
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            return f"{name} {arguments}"
    if isinstance(arguments, dict):
        arguments = {key: value for key, value in arguments.items() if key not in COSMETIC}
    return f"{name} {json.dumps(arguments, sort_keys=True)}"


def _turned(cycle: Sequence[str]) -> tuple[str, ...]:
    """A cycle from its smallest step on: a b and b a are one episode."""
    start = min(range(len(cycle)), key=lambda i: (cycle[i], i))
    return (*cycle[start:], *cycle[:start])


def _verdict(level: str, names: Sequence[str], repeats: int) -> Verdict:
    what = names[0] if len(names) == 1 else "the cycle " + " → ".join(names)
    told = f"The same thing was done {repeats} times with the same result: {what}."
    if level == "note":
        return Verdict("note", f"{told} Doing it again will not change that. Try something else.")
    if level == "replan":
        return Verdict("replan", f"{told} {replan()}")
    return Verdict("stop", told)


def _first_line(action: str) -> str:
    line = next((line.strip() for line in action.splitlines() if line.strip()), "")
    return line if len(line) <= 80 else line[:79] + "…"
