"""Processes of this machine, as /proc shows them. Standard library only: a job's supervisor uses it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")


def below(root: int) -> set[int]:
    """The living processes below `root`; dead ones that wait for their parent are not counted."""
    children: dict[int, list[int]] = {}
    for pid in numbers():
        state, parent = _state_and_parent(pid)
        if state != "Z":
            children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    waiting = list(children.get(root, []))
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting.extend(children.get(pid, []))
    return found


def marked(word: str) -> set[int]:
    """The processes that have these bytes in the environment that they began with."""
    found = set()
    for pid in numbers():
        with suppress(OSError):  # not ours to read, or gone
            if os.fsencode(word) in (PROC / str(pid) / "environ").read_bytes():
                found.add(pid)
    return found


def kill(pids: Iterable[int]) -> None:
    """Kill processes; those that are gone already are no error."""
    for pid in pids:
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def numbers() -> Iterator[int]:
    """The numbers of all processes."""
    return (int(name) for name in os.listdir(PROC) if name.isdigit())  # noqa: PTH208 - names only, and fast


def _state_and_parent(pid: int) -> tuple[str, int]:
    try:
        # The name in brackets may hold anything, brackets and spaces too; what follows the last one is ours.
        fields = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return "Z", 0
    return fields[0], int(fields[1])
