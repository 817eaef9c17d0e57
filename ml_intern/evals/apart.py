"""Work on texts that a model wrote, in a child process: it may hang, eat memory or die over one of them.

The child is a Python file of its own. It says ``ready``, then answers each line of JSON with a line. What it
does not answer in time it is ended over, and it is started again for what comes after.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_S = 60.0
"""Longest wait for the child's imports."""


class NotStarted(Exception):
    """The child did not come up."""


@dataclass(frozen=True)
class Answers:
    """What came of it.

    Attributes:
        lines: A line for each row; empty where it was given up.
        late: How many rows were given up because all together took too long.
    """

    lines: list[str]
    late: int

    @property
    def lost(self) -> int:
        """How many rows were given up."""
        return self.lines.count("")


def ask_apart(child: Path, rows: Sequence[Any], item_s: float, all_s: float) -> Answers:
    """A line for each row.

    Args:
        child: The file.
        rows: What JSON can carry.
        item_s: Seconds that one row may take.
        all_s: Seconds that all may take.

    Raises:
        NotStarted: The child did not come up.
    """
    deadline = time.monotonic() + all_s
    lines: list[str] = []
    while len(lines) < len(rows) and time.monotonic() < deadline:
        with _Child(child) as running:
            lines += running.answers(rows[len(lines) :], item_s, deadline)
        if len(lines) < len(rows):
            lines.append("")  # It ended, or was ended, over this one.
    late = len(rows) - len(lines)
    return Answers(lines + [""] * late, late)


class _Child:
    def __init__(self, file: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-X", "utf8", str(file)],
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

    def answers(self, rows: Sequence[Any], item_s: float, deadline: float) -> list[str]:
        """A line for each row, as far as it came."""
        if self._line(START_S) != "ready":
            raise NotStarted
        found: list[str] = []
        for row in rows:
            self._send(row)
            line = self._line(min(item_s, deadline - time.monotonic()))
            if not line:
                break
            found.append(line)
        return found

    def _send(self, row: Any) -> None:
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps(row).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass

    def _line(self, seconds: float) -> str:
        """The next line; nothing where it does not come in time. There is never more than one under way."""
        assert self._process.stdout
        if not select.select([self._process.stdout], [], [], max(0.0, seconds))[0]:
            return ""
        return self._process.stdout.readline().decode("utf-8", "replace").strip()
