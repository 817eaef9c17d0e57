"""Interrupts, limits of time, and kernels that die."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support.out_of_time import run_deaf, run_out_of_time

from ml_intern.errors import InternError
from ml_intern.sandbox.base import Sandbox
from ml_intern.sandbox.host import CellResult, KernelHost

OPEN = Callable[..., KernelHost]


def run_and_interrupt(kernel: KernelHost, code: str) -> CellResult:
    """Interrupts once the cell has printed something."""
    return kernel.run(code, lambda text: kernel.interrupt() if "ready" in text else None)


@pytest.mark.parametrize(
    "wait",
    [
        "time.sleep(60)",
        "while True: pass",
        "threading.Lock().acquire() and threading.Event().wait()",
        "subprocess.run(['sleep', '60'])",
        "nap(2)",
        "asyncio.run(asyncio.sleep(60))",
    ],
)
def test_an_interrupt_stops_the_cell_and_keeps_the_kernel(kernel: KernelHost, wait: str) -> None:
    kernel.run("import asyncio, subprocess, threading, time\nx = 5")
    stopped = run_and_interrupt(kernel, f"print('ready', flush=True)\n{wait}")
    assert not stopped.ok and stopped.error.startswith("KeyboardInterrupt at line 2") and stopped.lost == ""
    assert "it was interrupted" in stopped.error
    assert kernel.run("x").value == "5"


def test_an_interrupt_between_cells_is_nothing(kernel: KernelHost) -> None:
    kernel.interrupt()
    assert kernel.run("1").value == "1"


def test_an_interrupt_that_is_swallowed_once_comes_again(kernel: KernelHost) -> None:
    retry = "try:\n    time.sleep(60)\nexcept BaseException:\n    time.sleep(60)"
    stopped = run_and_interrupt(kernel, f"import time\nprint('ready')\n{retry}")
    assert "KeyboardInterrupt" in stopped.error and stopped.lost == ""


def test_an_interrupt_at_once_is_not_lost(kernel: KernelHost) -> None:
    for _ in range(10):
        began = threading.Timer(0.0, interrupt_soon, [kernel])
        began.start()
        stopped = kernel.run("import time\ntime.sleep(60)")
        began.join()
        assert "KeyboardInterrupt" in stopped.error and stopped.lost == ""


def interrupt_soon(kernel: KernelHost) -> None:
    while kernel._cell is None:
        pass
    kernel.interrupt()


def test_a_closed_kernel_stays_closed(kernel: KernelHost) -> None:
    closing = threading.Thread(target=kernel.close)
    assert not kernel.run("import time\nprint('ready')\ntime.sleep(60)", lambda text: closing.start()).ok
    closing.join()
    assert not kernel.alive
    with pytest.raises(InternError, match="closed"):
        kernel.run("1")


def test_a_listener_that_fails_is_told_and_the_kernel_goes_on(kernel: KernelHost) -> None:
    def listen(text: str) -> None:
        raise LookupError(text)

    with pytest.raises(LookupError, match="hello"):
        kernel.run("print('hello')", listen)
    assert kernel.run("1").value == "1"


def test_interrupts_in_a_storm_of_calls_break_no_frame(kernel: KernelHost) -> None:
    for _ in range(5):
        stopped = run_and_interrupt(kernel, "print('ready', flush=True)\nwhile True: echo('x' * 100_000)")
        assert "KeyboardInterrupt" in stopped.error and stopped.lost == ""
    assert kernel.run("echo(3)").value == "3" and kernel.dropped == 0


def test_a_cell_past_its_time_is_interrupted(open_kernel: OPEN, sandbox: Sandbox) -> None:
    kernel = open_kernel(sandbox)
    kernel.run("x = 5")
    stopped = run_out_of_time(kernel, "import time\nprint('begun')\ntime.sleep(60)")
    assert stopped.output == "begun\n" and "longer than its 0.5 s" in stopped.error and stopped.lost == ""
    assert kernel.run("x").value == "5"


def test_time_inside_tools_does_not_count(open_kernel: OPEN, sandbox: Sandbox) -> None:
    kernel = open_kernel(sandbox)
    code = "nap(1.2)\nnap(0.2)\n'done'"
    for seconds in (0.8, 5.0):  # what is left between the calls is short, but not on a machine that stalls
        kernel.timeout_s = seconds
        if (ended := kernel.run(code.replace("1.2", str(seconds + 0.4)))).ok:
            break
    assert ended.value == "'done'"


STUBBORN = "while True:\n    try:\n        time.sleep(0.05)\n    except BaseException: pass"


def test_a_cell_that_does_not_react_is_killed_and_says_what_survived(
    open_kernel: OPEN, sandbox: Sandbox
) -> None:
    kernel = open_kernel(sandbox)
    kernel.run("import time, threading\nimport math as m\nnumbers = [1, 2]\nlock = threading.Lock()")
    kernel.run("def twice(n):\n    return 2 * n\nclass Box:\n    n = 3\nbox = Box()")
    killed = run_deaf(kernel, f"print('begun')\n{STUBBORN}")
    assert not killed.ok and killed.output == "begun\n"
    assert "longer than its 0.5 s" in killed.error and "did not react" in killed.error
    assert "restarted" in killed.lost and "Lost: lock" in killed.lost
    for name in ("numbers", "twice", "box"):
        assert name in killed.lost.split("Lost")[0]
    assert kernel.run("numbers, twice(4), box.n, m.floor(2.5)").value == "([1, 2], 8, 3, 2)"
    assert not list((kernel.mounts.workspace / ".ml-intern").glob("*.snapshot"))


@pytest.mark.parametrize(
    ("crash", "said"),
    [
        ("os._exit(3)", "exit code 3"),
        ("import ctypes\nctypes.string_at(0)", "segmentation fault in native code"),
        ("os.kill(os.getpid(), 9)", "it was killed"),
        ("os.abort()", "an abort in native code"),
    ],
)
def test_a_crash_is_reported_and_the_kernel_comes_back(kernel: KernelHost, crash: str, said: str) -> None:
    kernel.run("import os\nx = 5")
    dead = kernel.run(f"print('the last words')\n{crash}")
    assert not dead.ok and said in dead.error and dead.output == "the last words\n"
    assert "Lost: x" in dead.lost
    assert kernel.alive and "NameError" in kernel.run("x").error
    assert kernel.run("add(1).sum").value == "2"


def test_a_segmentation_fault_names_the_line(kernel: KernelHost) -> None:
    assert "line 3 of the cell" in kernel.run("import ctypes\nx = 1\nctypes.string_at(0)").error


@pytest.mark.parametrize("seconds", [0, 0.5], ids=["that nobody heard", "that was heard in part"])
def test_of_a_flood_the_beginning_and_the_end_are_told(kernel: KernelHost, seconds: float) -> None:
    code = f"""
import os, signal, time
os.write(1, b"the first words\\n" + b"x" * 3_000_000)
time.sleep({seconds})
os.write(1, b"x" * 1_000_000 + b"\\nthe last words")
os.kill(os.getpid(), signal.SIGKILL)
"""
    result = kernel.run(code)
    assert not result.ok and len(result.output) < 100_000
    assert "the first words" in result.output and "the last words" in result.output
    assert "left out" in result.output


def test_a_kernel_that_dies_between_cells_is_told_with_the_next(kernel: KernelHost) -> None:
    die = "threading.Thread(target=lambda: (time.sleep(0.2), os._exit(1))).start()"
    assert kernel.run(f"import os, threading, time\nx = 5\n{die}").ok
    while kernel.alive:
        threading.Event().wait(0.02)
    after = kernel.run("1 + 1")
    assert after.ok and after.value == "2" and "Lost: x" in after.lost
    assert kernel.run("1").lost == ""


def test_a_dead_kernels_children_do_not_keep_the_host_waiting(kernel: KernelHost) -> None:
    dead = kernel.run("import os, time\nif os.fork() == 0:\n    time.sleep(60)\n    os._exit(0)\nos._exit(4)")
    assert "exit code 4" in dead.error and kernel.run("1").ok


def test_a_kernel_that_cut_the_line_to_the_host_is_replaced(open_kernel: OPEN, sandbox: Sandbox) -> None:
    kernel = open_kernel(sandbox, grace_s=0.5)
    heard = kernel.mounts.workspace / "heard"
    code = """
import os, signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
print('begun', flush=True)
while not os.path.exists('heard'): time.sleep(0.01)
os.closerange(0, 64)
time.sleep(60)
"""

    def shorten(text: str) -> None:
        kernel.timeout_s = 1.0
        heard.touch()

    dead = kernel.run(code, shorten)
    kernel.timeout_s = 60.0
    assert not dead.ok and "restarted" in dead.lost and kernel.run("1").ok


def test_closing_ends_the_process_and_leaves_no_file(open_kernel: OPEN, sandbox: Sandbox) -> None:
    kernel = open_kernel(sandbox)
    kernel.run("1")
    kernel.close()
    assert not kernel.alive
    assert not list(Path(kernel.mounts.workspace, ".ml-intern").glob("kernel-*"))
