"""The kernel dies: the brain is told what was lost, the run goes on and ends right."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from provider import Provider
from scripted_run import Run, said, told_to

from ml_intern.events import CellFinished
from ml_intern.sandbox import host
from ml_intern.sandbox.bare import BareSandbox

Start = Callable[..., Provider]

DEATHS = {
    "kill -9": "import os\nos.kill(os.getpid(), 9)",
    "_exit": "import os\nos._exit(3)",
    "segfault": "import ctypes\nctypes.string_at(0)",
    "abort": "import os\nos.abort()",
    "stdin closed": "import os\n[os.close(fd) for fd in range(3, 30) if os.path.exists(f'/proc/self/fd/{fd}')]",
    "a child kills it": "import os, subprocess\nsubprocess.run(['kill', '-9', str(os.getpid())])",
}
LAST = "final_answer(f'{told} {open(\"log.txt\").read()}')"


def script(*cells: str) -> list[str]:
    return [said(cell) for cell in cells]


@pytest.mark.parametrize("death", DEATHS.values(), ids=list(DEATHS))
def test_the_brain_is_told_and_goes_on(provider: Start, run: Run, death: str) -> None:
    cells = ("x = 1\nopen('log.txt', 'w').write('kept')", f"rent(0.5)\n{death}", "told = rent(0.25)", LAST)
    server = provider(texts=script(*cells))
    result = run.begin(server)
    assert (result.answer, result.exit_code, result.steps) == ("rented for 0.25 kept", 0, 4)
    seen = told_to(server, 2)
    assert "The kernel was restarted" in seen and "Lost: x" in seen
    assert sorted(run.keys().values()) == [1, 1]


def test_it_dies_again_and_again(provider: Start, run: Run) -> None:
    deaths = [f"n{n} = {n}\n{death}" for n, death in enumerate(DEATHS.values())]
    server = provider(texts=script("open('log.txt', 'w').write('a')", *deaths, "told = rent(0.5)", LAST))
    result = run.begin(server)
    assert (result.answer, result.exit_code) == ("rented for 0.5 a", 0)
    assert run.keys().total() == 1


def test_it_dies_while_a_call_is_out(provider: Start, run: Run) -> None:
    """The call is finished on the host and counted; the next cell is told that its answer found nobody."""
    dying = "import os, threading\nthreading.Timer(0.2, lambda: os._exit(1)).start()\nslowly('slow', 1.0)"
    cells = ("open('log.txt', 'w').write('b')", dying, "told = rent(0.5)", LAST)
    server = provider(texts=script(*cells))
    result = run.begin(server)
    assert (result.answer, result.exit_code) == ("rented for 0.5 b", 0)
    assert sorted(run.keys().values()) == [1, 1]
    assert "The kernel was restarted" in told_to(server, 2)


@pytest.mark.skipif(not shutil.which("bwrap"), reason="needs bubblewrap")
def test_it_dies_behind_walls(provider: Start, run: Run) -> None:
    hungry = "x = []\nwhile True: x.append(bytearray(1 << 24))"
    cells = ("open('log.txt', 'w').write('c')", DEATHS["segfault"], hungry, "told = rent(0.5)", LAST)
    result = run.begin(provider(texts=script(*cells)), sandbox="local", sandbox_memory_mb=256)
    assert (result.answer, result.exit_code) == ("rented for 0.5 c", 0)
    failed = [event.ok for event in run.events if isinstance(event, CellFinished)]
    assert failed == [True, False, False, True, True]


def strike(monkeypatch: pytest.MonkeyPatch, times: int, number: signal.Signals) -> None:
    """The next kernels get a signal as soon as they are started."""
    start, left = BareSandbox.start_kernel, [times]

    def struck(self: BareSandbox, *given: Any) -> Any:
        process = start(self, *given)
        if left[0]:
            left[0] -= 1
            os.kill(process.pid, number)
        return process

    monkeypatch.setattr(BareSandbox, "start_kernel", struck)


@pytest.mark.parametrize("times", [2, 3])
def test_it_dies_at_its_start(provider: Start, run: Run, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once or twice may be a moment's shortage; then the run ends, and goes on when kernels live again."""
    strike(monkeypatch, times, signal.SIGKILL)
    server = provider()
    result = run.begin(server)
    if times == 3:
        assert (result.status, result.exit_code) == ("failed", 1) and server.asked == []
        assert "The kernel did not start" in result.errors[0]
        result = run.resume()
    run.check(result)


@pytest.mark.parametrize("times", [1, pytest.param(2, marks=pytest.mark.thorough)])
def test_it_says_nothing_at_its_start(
    provider: Start, run: Run, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once may be an engine that lost a container's streams; twice is waited for and no more."""
    strike(monkeypatch, times, signal.SIGSTOP)
    monkeypatch.setattr(host, "START_S", 8.0)
    server = provider()
    result = run.begin(server)
    if times == 2:
        assert (result.status, result.exit_code) == ("failed", 1) and server.asked == []
        assert "it said nothing for 8 s" in result.errors[0]
        result = run.resume()
    run.check(result)


@pytest.mark.parametrize("deaths", [1, 2, 99])
def test_it_dies_while_it_is_rebuilt(provider: Start, run: Run, tmp_path: Path, deaths: int) -> None:
    """A death or two: rebuilt from the beginning. Always: the brain is told, and goes on with a fresh one."""
    count = tmp_path / "deaths"
    fragile = (
        f"import os\nrent(0.5)\nleft = int(open({str(count)!r}).read()) if os.path.exists({str(count)!r}) else 0\n"
        f"if left:\n    open({str(count)!r}, 'w').write(str(left - 1))\n    os._exit(1)"
    )
    cells = (
        "y = 'y'\nopen('log.txt', 'a').write('once')",
        fragile,
        "told = y if 'y' in globals() else 'gone'",
        LAST,
    )
    server = provider(texts=script(*cells))
    assert run.begin(server, max_steps=2).status == "limit"
    count.write_text(str(deaths))
    result = run.resume(max_steps=60)
    assert (result.answer, result.exit_code) == ("gone once" if deaths == 99 else "y once", 0)
    assert run.keys().total() == 1 and not list(tmp_path.rglob("workspace-kept*"))
    if deaths == 99:
        assert "could not be rebuilt" in told_to(server, 3) and "step 2" in told_to(server, 3)
