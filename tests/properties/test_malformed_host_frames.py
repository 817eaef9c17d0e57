"""The kernel's own end: lines from the host that are no frames are dropped, and the next cell runs."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from malformed import COUNT, NASTY_TEXT, RAW, broken, examples, spelled, values

from ml_intern.sandbox.environment import KERNEL

FIELDS = st.sampled_from(
    [
        "type",
        "id",
        "code",
        "path",
        "seconds",
        "tools",
        "ok",
        "value",
        "message",
        "hint",
        "workspace",
        "output_chars",
    ]
)
KINDS = ["exec", "return", "interrupt", "snapshot", "restore", "init", "done", "call", "ready", ""]
ANY = values(FIELDS)
FRAME = st.builds(
    lambda fields, kind: {**fields, "type": kind},
    st.dictionaries(st.one_of(FIELDS, NASTY_TEXT), ANY, max_size=5),
    st.one_of(st.sampled_from(KINDS), ANY),
)
GOOD = {"type": "exec", "id": 3, "code": "print('x')"}
TOOL = st.fixed_dictionaries(
    {"name": st.one_of(st.sampled_from(["tool", "def", "a b", "tool2", ""]), ANY)},
    optional={"parameters": st.one_of(ANY, st.lists(st.fixed_dictionaries({"name": ANY}), max_size=2))},
)
TOOLS = st.lists(TOOL, max_size=2).map(lambda tools: spelled({"type": "init", "tools": tools}))
LINE = st.one_of(TOOLS, RAW, FRAME.map(spelled), broken(spelled(GOOD)), ANY.map(spelled))


class Kernel:
    """A real kernel, and what it says."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-I", str(KERNEL)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(folder / "errors").open("wb"),
            cwd=folder,
        )
        self.frames: Queue[dict[str, Any]] = Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.number = 1_000_000
        self.send(spelled({"type": "init", "workspace": str(folder), "tools": []}))
        assert self.frames.get(timeout=30)["type"] == "ready"

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.frames.put(json.loads(line))

    def send(self, line: bytes) -> None:
        assert self.process.stdin
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def run(self, code: str) -> dict[str, Any]:
        """What the kernel says at the end of a cell."""
        self.number += 1
        self.send(spelled({"type": "exec", "id": self.number, "code": code}))
        while True:
            try:
                frame = self.frames.get(timeout=30)
            except Empty:
                raise AssertionError(f"no answer; the kernel's exit code: {self.process.poll()}") from None
            if frame["type"] == "done" and frame["id"] == self.number:
                return frame


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    made = Kernel(tmp_path)
    yield made
    made.process.kill()
    made.process.wait()


def harmless(line: bytes) -> bool:
    """No frame that ends the kernel as it should, or a program of hypothesis' own making."""
    try:
        frame = json.loads(line)
    except (ValueError, RecursionError):
        return True
    return not isinstance(frame, dict) or frame.get("type") != "exit"


@pytest.mark.thorough
def test_a_kernel_drops_what_is_no_frame_and_runs_the_next_cell(kernel: Kernel) -> None:
    """One kernel for all: whatever comes between, the variables stay and the next cell runs."""
    kernel.run("kept = ['as it was']")
    sent = [0]

    @examples()
    @given(st.lists(LINE.filter(harmless), min_size=1, max_size=3))
    def check(lines: list[bytes]) -> None:
        for line in lines:
            kernel.send(line)
        sent[0] += 1
        done = kernel.run(f"print('good', {sent[0]})\nkept")
        assert (done["ok"], done["output"], done["value"]) == (True, f"good {sent[0]}\n", "['as it was']"), (
            done
        )

    check()
    assert sent[0] >= COUNT and kernel.process.poll() is None


def test_a_first_frame_that_cannot_be_used_ends_the_kernel_with_the_reason(tmp_path: Path) -> None:
    """Before it has begun nobody could use it: it ends at once and tells why, so that no host waits."""
    for line in (b"nonsense\n", b'{"type": "init", "workspace": 3.5}\n', b'{"type": "init", "tools": [1]}\n'):
        done = subprocess.run(
            [sys.executable, "-I", str(KERNEL)], input=line, capture_output=True, timeout=30
        )
        assert done.returncode == 70 and done.stderr.startswith(b"kernel: "), line


@pytest.mark.parametrize(
    "answer",
    [
        {"ok": "yes", "value": [1]},
        {"ok": False, "message": 5, "hint": ["x"]},
        {"ok": False, "message": None},
        {},
        {"value": {"a": {"b": 1}}, "ok": True},
    ],
)
def test_a_call_ends_whatever_its_answer_says(answer: dict[str, Any], kernel: Kernel) -> None:
    """An answer with fields of the wrong type is a value or a ToolError, and the cell goes on."""
    kernel.send(spelled({"type": "init", "tools": [{"name": "ask", "parameters": []}]}))
    assert kernel.frames.get(timeout=30)["type"] == "ready"
    code = "try:\n    print('value', ask())\nexcept ToolError as error:\n    print('error', error)"
    kernel.send(spelled({"type": "exec", "id": 7, "code": code}))
    call = kernel.frames.get(timeout=30)
    assert call["type"] == "call" and call["tool"] == "ask"
    kernel.send(spelled({"type": "return", "id": "no number", "ok": True, "value": "forged"}))
    kernel.send(spelled({"type": "return", "id": call["id"] + 1, "ok": True, "value": "of another call"}))
    kernel.send(spelled({**answer, "type": "return", "id": call["id"]}))
    frames = [kernel.frames.get(timeout=30)]
    while frames[-1]["type"] != "done":
        frames.append(kernel.frames.get(timeout=30))
    assert frames[-1]["ok"] is True and frames[-1]["output"].startswith(("value ", "error "))
    assert kernel.run("1 + 1")["value"] == "2"
