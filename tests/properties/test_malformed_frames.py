"""Frames of a kernel that are none, over real pipes: dropped or bounded, and the next good frame counts."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from malformed import NASTY_TEXT, RAW, broken, examples, spelled, values

from ml_intern.sandbox.base import Limits, Mounts, SharesFolders
from ml_intern.sandbox.cell import CallReply, CellResult
from ml_intern.sandbox.frames import FRAME_LIMIT, KINDS, decode
from ml_intern.sandbox.host import KernelHost
from ml_intern.sandbox.link import Link

FIELDS = st.sampled_from(
    [
        *("type", "id", "ok", "value", "error", "final", "answer", "variables", "output", "output_bytes"),
        *("output_path", "text", "offset", "tool", "arguments", "cell", "saved", "skipped", "python", "pid"),
    ]
)
KIND = st.one_of(st.sampled_from(sorted(KINDS)), st.sampled_from(["exec", "init", "", "DONE"]), values())
ID = st.one_of(st.integers(-1, 6), st.sampled_from(["1", 1.0, True, None, [], 2**70]))
ANY = values(FIELDS)
FRAME = st.builds(
    lambda fields, kind, number: {**fields, "type": kind, "id": number},
    st.dictionaries(st.one_of(FIELDS, NASTY_TEXT), ANY, max_size=5),
    KIND,
    ID,
)
GOOD = {"type": "done", "id": 1, "ok": True, "value": "1", "variables": {"x": "int 1"}, "output": "out\n"}
LINE = st.one_of(RAW, FRAME.map(spelled), broken(spelled(GOOD)), ANY.map(spelled))


class PipeProcess:
    """A kernel's process of which only the pipes are real; what it says is the test's."""

    pid = 0
    reason = ""

    def __init__(self) -> None:
        self._from_host, host_in = os.pipe()
        host_out, self._to_host = os.pipe()
        self.stdin: IO[bytes] = os.fdopen(host_in, "wb", buffering=0)
        self.stdout: IO[bytes] = os.fdopen(host_out, "rb")
        self.heard: IO[bytes] = os.fdopen(self._from_host, "rb")
        self.voice: IO[bytes] = os.fdopen(self._to_host, "wb", buffering=0)
        self._gone = threading.Event()

    def pids(self) -> set[int]:
        return set()

    def poll(self) -> int | None:
        return 0 if self._gone.is_set() else None

    def kill(self) -> None:
        self._gone.set()
        try:
            self.voice.close()
        except OSError:
            pass

    def wait(self, timeout: float | None = None) -> int:
        self._gone.wait(timeout)
        return 0

    def last_words(self) -> str:
        return ""


# The reader


@pytest.fixture
def link() -> Iterator[tuple[Link, PipeProcess, list[dict[str, Any]]]]:
    """A link over pipes, and the frames that came through."""
    process, came = PipeProcess(), list[dict[str, Any]]()
    made = Link(process, lambda _, frame: came.append(frame), lambda _: None)
    made.open()
    yield made, process, came
    made.end()


def test_any_line_is_dropped_or_whole_and_the_next_one_is_read(
    link: tuple[Link, PipeProcess, list[dict[str, Any]]],
) -> None:
    """Through one pipe that stays open: each line is counted as dropped or handed on, the good one after it too."""
    opened, process, came = link
    sent = [0]

    @examples()
    @given(LINE)
    def check(line: bytes) -> None:
        sent[0] += 1
        known, dropped = len(came), opened.dropped
        frame = decode(line)
        process.voice.write(line + spelled({**GOOD, "id": 10_000 + sent[0]}))
        wait_until(lambda: bool(came) and came[-1]["id"] == 10_000 + sent[0])
        new = came[known:-1]
        ready = frame is not None and frame["type"] == "ready"
        assert new == [] if frame is None or ready else len(new) == 1
        assert opened.dropped - dropped == (1 if frame is None else 0)
        assert not opened.ended.is_set()
        for one in new:
            json.dumps(one).encode()  # no half of a surrogate pair came through
            assert one["type"] in KINDS and type(one["id"]) is int

    check()
    assert sent[0] >= 300


def wait_until(true: Any, seconds: float = 20.0) -> None:
    """Give a reader thread its time."""
    done = threading.Event()
    for _ in range(int(seconds / 0.0005)):
        if true():
            return
        done.wait(0.0005)
    raise AssertionError("the frame after the malformed one was not read")


# The whole host


class Scripted(SharesFolders):
    """A sandbox whose kernel says, for each cell, some lines of the test and then the right end."""

    name, isolated = "scripted", False

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.processes: list[PipeProcess] = []

    def describe(self) -> str:
        return "no walls"

    def stop(self) -> None:
        for process in self.processes:
            process.kill()

    def start_kernel(self, mounts: Mounts, limits: Limits) -> PipeProcess:
        process = PipeProcess()
        self.processes.append(process)
        threading.Thread(target=self._talk, args=(process,), daemon=True).start()
        return process

    def _talk(self, process: PipeProcess) -> None:
        try:
            for line in process.heard:
                frame = json.loads(line)
                if frame["type"] == "init":
                    process.voice.write(spelled({"type": "ready"}))
                elif frame["type"] == "exec":
                    for said in self.lines:
                        process.voice.write(said)
                    end = {"type": "done", "id": frame["id"], "ok": True, "value": frame["code"]}
                    process.voice.write(spelled(end))
        except (OSError, ValueError):
            pass  # the host has closed the pipes


@pytest.fixture
def host(tmp_path: Path) -> Iterator[tuple[KernelHost, Scripted]]:
    """A host with a kernel that says what the test wants."""
    sandbox = Scripted()
    proxies = [{"name": "echo", "parameters": [{"name": "value"}]}]

    def on_call(name: str, arguments: dict[str, Any]) -> CallReply:
        if not isinstance(name, str) or not all(isinstance(key, str) for key in arguments):
            raise AssertionError("an unchecked call came through")
        return CallReply(True, arguments.get("value"))

    made = KernelHost(sandbox, Mounts(tmp_path), Limits(), proxies, on_call, timeout_s=30, grace_s=1)
    made.start()
    yield made, sandbox
    made.close()


def test_a_cell_has_a_result_whatever_its_kernel_says(host: tuple[KernelHost, Scripted]) -> None:
    """In one kernel that stays: malformed lines, then a cell's result of the right types; the next cell runs."""
    kernel, sandbox = host
    number = [0]
    for _ in range(10):  # from here on no small number is that of a cell
        kernel.run("0")

    @examples()
    @given(st.lists(LINE, min_size=1, max_size=4), st.data())
    def check(lines: list[bytes], data: st.DataObject) -> None:
        for at, line in enumerate(lines):  # some of them name the very cell that runs
            frame = decode(line)
            if frame and data.draw(st.booleans()):
                lines[at] = spelled({**frame, "id": kernel._cells + 1})
        sandbox.lines = lines
        result = kernel.run("1", on_output=lambda text: text.encode())
        assert_typed(result)
        sandbox.lines = []
        number[0] += 1
        # What a forged end has left over may still be on its way: it belongs to no cell any more.
        again = kernel.run(f"'good {number[0]}'")
        assert again.ok and again.value == f"'good {number[0]}'"
        assert kernel.alive and len(sandbox.processes) == 1

    check()
    assert kernel.wait_for_calls(20)


def assert_typed(result: CellResult) -> None:
    for name in ("output", "value", "error", "answer", "lost"):
        assert isinstance(getattr(result, name), str), name
        getattr(result, name).encode()
    assert type(result.ok) is bool and type(result.final) is bool
    assert all(isinstance(k, str) and isinstance(v, str) for k, v in result.variables.items())


LONG = {
    "longer-than-a-frame": b'{"type": "done", "id": 1, "value": "' + b"x" * (FRAME_LIMIT + 10) + b'"}\n',
    "longer-and-no-frame": b"y" * (3 * FRAME_LIMIT) + b"\n",
    "a-frame-of-the-limit": b'{"type": "done", "id": 77, "value": "'.ljust(FRAME_LIMIT - 3, b"z") + b'"}\n',
    "nested": b"[" * 1_000_000 + b"\n",
    "many-short-ones": b"{}\n" * 200_000,
}


@pytest.mark.parametrize("line", LONG.values(), ids=LONG)
def test_long_lines_do_not_stop_the_reader(line: bytes, host: tuple[KernelHost, Scripted]) -> None:
    """Too long, too deep, too many: the cell's own end is read all the same."""
    kernel, sandbox = host
    sandbox.lines = [line]
    assert kernel.run("'fine'").value == "'fine'"
