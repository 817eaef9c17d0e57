"""Calls that still run, wait or come while their cell is interrupted, and at the end."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ml_intern.sandbox.bare import BareSandbox
from ml_intern.sandbox.base import Limits, Mounts
from ml_intern.sandbox.calls import Calls
from ml_intern.sandbox.host import CALLS_AT_ONCE, CallReply, KernelHost

HELD = {"name": "held", "parameters": [{"name": "n", "annotation": "Any"}], "doc": "", "signature": "held(n)"}

MANY = """
from concurrent.futures import ThreadPoolExecutor
told = []
def call(n):
    try:
        told.append(held(n))
    except ToolError as e:
        told.append(str(e))
pool = ThreadPoolExecutor(40)
list(pool.map(call, range(40)))
"""


class Held:
    """A tool that ends when the test says so."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.full = threading.Event()
        self.go = threading.Event()

    def __call__(self, name: str, arguments: dict[str, Any]) -> CallReply:
        self.begun.append(arguments["n"])
        if len(self.begun) >= CALLS_AT_ONCE:
            self.full.set()
        self.go.wait(60)
        return CallReply(True, "ended")


@pytest.fixture
def tool() -> Held:
    return Held()


@pytest.fixture
def kernel(tool: Held, tmp_path: Path) -> Iterator[KernelHost]:
    host = KernelHost(BareSandbox(), Mounts(tmp_path), Limits(), [HELD], tool, 60.0, 2.0)
    host.start()
    yield host
    tool.go.set()
    host.close()
    host.sandbox.stop()


def test_after_an_interrupt_no_call_begins_and_those_that_run_can_be_waited_for(
    kernel: KernelHost, tool: Held
) -> None:
    def stop() -> None:
        assert tool.full.wait(60)
        kernel.interrupt()

    stopping = threading.Thread(target=stop)
    stopping.start()
    assert kernel.run(MANY).error.startswith("KeyboardInterrupt")
    stopping.join()
    assert kernel.calls_running == CALLS_AT_ONCE == len(tool.begun)
    assert not kernel.wait_for_calls(0.05)
    tool.go.set()
    assert kernel.wait_for_calls(60) and kernel.calls_running == 0
    assert len(tool.begun) == CALLS_AT_ONCE
    told = kernel.run("pool.shutdown()\nsorted(set(told)), told.count('ended')").value
    assert told == f"(['The cell was interrupted.', 'ended'], {CALLS_AT_ONCE})"


def test_a_call_that_comes_after_the_interrupt_is_refused(kernel: KernelHost, tool: Held) -> None:
    code = "import time\nprint('ready', flush=True)\ntry:\n    time.sleep(60)\nexcept BaseException:\n    held(1)"
    stopped = kernel.run(code, lambda text: kernel.interrupt() if "ready" in text else None)
    assert "ToolError: The cell was interrupted." in stopped.error and tool.begun == []


def test_closing_waits_no_longer_than_the_grace(kernel: KernelHost, tool: Held) -> None:
    kernel.grace_s = 0.2
    running = threading.Thread(target=kernel.run, args=("held(1)",))
    running.start()
    while not tool.begun:
        running.join(0.02)
    kernel.close()
    running.join(60)
    assert not running.is_alive() and kernel.calls_running == 1 and not tool.go.is_set()


def test_a_call_that_is_stuck_does_not_hold_the_exit() -> None:
    script = "import time\nfrom ml_intern.sandbox.calls import Calls\ncalls = Calls(2)\n"
    script += "calls.submit(lambda go: time.sleep(600))\nprint(calls.wait(0.1))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")


def test_threads_are_bounded_reused_and_let_go() -> None:
    before = set(threading.enumerate())
    calls, seen, done = Calls(3), set(), []

    def work(go: bool) -> None:
        seen.add(threading.get_ident())
        done.append(go)

    for _ in range(200):
        calls.submit(work)
    assert calls.wait(60) and done == [True] * 200 and len(seen) <= 3
    calls.close()
    made = [t for t in threading.enumerate() if t not in before and t.name == "tool"]
    for thread in made:  # one may have found nothing to do
        thread.join(60)
    assert len(made) <= 3 and not any(thread.is_alive() for thread in made)


def test_work_that_fails_gives_its_thread_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    calls, done = Calls(1), threading.Event()
    calls.submit(lambda go: 1 / 0)  # type: ignore[arg-type,return-value]
    calls.submit(lambda go: done.set())
    assert done.wait(60) and calls.wait(60)
    calls.close()


class Slow(BareSandbox):
    """Files come back slowly, as from another machine, until the test lets them."""

    def __init__(self) -> None:
        super().__init__()
        self.pulls, self.go = threading.Event(), threading.Event()

    def pull(self, mounts: Mounts) -> None:
        self.pulls.set()
        self.go.wait(60)


STAYS = """
import os, threading, time
answers = []
def later():
    while not os.path.exists("fetching"):
        time.sleep(0.02)
    try:
        answers.append(held(1))
    except BaseException as e:
        answers.append(str(e))
    open("told", "w").close()
stays = threading.Thread(target=later, daemon=True)
stays.start()
"""


def test_a_call_that_comes_while_an_ended_cells_files_are_fetched_is_refused(
    tool: Held, tmp_path: Path
) -> None:
    sandbox = Slow()

    def fetch() -> None:
        assert sandbox.pulls.wait(60)
        (tmp_path / "fetching").touch()
        end = time.monotonic() + 10  # A call that is carried out waits for the files itself.
        while not (tmp_path / "told").exists() and time.monotonic() < end:
            time.sleep(0.02)
        sandbox.go.set()

    host = KernelHost(sandbox, Mounts(tmp_path), Limits(), [HELD], tool, 60.0, 2.0)
    host.start()
    try:
        tool.go.set()
        threading.Thread(target=fetch).start()
        assert host.run(STAYS).ok
        assert "while no cell runs" in host.run("stays.join(60)\nprint(answers)").output
        assert tool.begun == []
    finally:
        sandbox.go.set()
        host.close()
        sandbox.stop()
