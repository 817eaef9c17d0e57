"""How long a kernel takes to start, a cell to run and a tool to answer, against what people use today.

Everything is measured in this one run, and printed as ratios:
- the start of a kernel, against `python -c pass` with the same interpreter;
- an empty cell, a loop and a tool call, against smolagents' LocalPythonExecutor, which interprets the syntax
  tree in the agent's own process: no start, no walls, but every operation is slower.

Run: python benchmarks/kernel_latency.py [--quick]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("PYTHON_DOTENV_DISABLED", "1")

from smolagents.local_python_executor import LocalPythonExecutor

from ml_intern.sandbox.bare import BareSandbox
from ml_intern.sandbox.base import Limits, Mounts, Sandbox
from ml_intern.sandbox.host import CallReply, KernelHost
from ml_intern.sandbox.local import LocalSandbox

CELL = "x = 1"
LOOP = "total = 0\nfor i in range(20_000):\n    total += i * i"
CALL = "echo(1)"
ECHO = {"name": "echo", "parameters": [{"name": "value"}], "doc": "", "signature": "echo(value)"}


def median_ms(action: Callable[[], object], times: int) -> float:
    """The median of several runs, in milliseconds; the first run is not counted."""
    action()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        action()
        taken.append(time.perf_counter() - began)
    return 1000 * statistics.median(taken)


def plain_python_ms(times: int) -> float:
    return median_ms(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True), times)


def open_kernel(sandbox: Sandbox, workspace: Path) -> KernelHost:
    kernel = KernelHost(
        sandbox, Mounts(workspace), Limits(), [ECHO], lambda _, given: CallReply(True, given["value"]), 60, 5
    )
    kernel.start()
    return kernel


def start_ms(sandbox: Sandbox, workspace: Path, times: int) -> float:
    """The median time until a kernel is ready; its end is not counted."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        kernel = open_kernel(sandbox, workspace)
        taken.append(time.perf_counter() - began)
        kernel.close()
    return 1000 * statistics.median(taken)


def kernel_figures(sandbox: Sandbox, times: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        start = start_ms(sandbox, workspace, max(3, times // 10))
        kernel = open_kernel(sandbox, workspace)
        figures = {"start": start} | {
            name: median_ms(lambda code=code: kernel.run(code), times) for name, code in cells().items()
        }
        kernel.close()
        sandbox.stop()
    return figures


def smolagents_figures(times: int) -> dict[str, float]:
    executor = LocalPythonExecutor([])
    executor.send_tools({"echo": lambda value: value})
    return {name: median_ms(lambda code=code: executor(code), times) for name, code in cells().items()}


def cells() -> dict[str, str]:
    return {"cell": CELL, "loop": LOOP, "call": CALL}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    times = 20 if parser.parse_args().quick else 200
    python, peer = plain_python_ms(max(5, times // 10)), smolagents_figures(max(5, times // 10))
    sandboxes: dict[str, Sandbox] = {"none": BareSandbox()}
    if problem := LocalSandbox.problem():
        print(f"local: left out, {problem}")
    else:
        sandboxes["local"] = LocalSandbox()
    print(f"{'':8}{'start':>22}{'empty cell':>24}{'loop of 20,000':>24}{'tool call':>24}")
    print(f"{'':8}{'against python -c pass':>22}" + f"{'against smolagents':>24}" * 3)
    for name, sandbox in sandboxes.items():
        own = kernel_figures(sandbox, times)
        shown = [f"{own['start']:.1f} ms, {own['start'] / python:.1f}x".rjust(22)]
        shown += [f"{own[key]:.2f} ms, {own[key] / peer[key]:.2f}x".rjust(24) for key in cells()]
        print(f"{name:8}{''.join(shown)}")
    print(f"{'peer':8}{f'{python:.1f} ms':>22}" + "".join(f"{peer[key]:.2f} ms".rjust(24) for key in cells()))


if __name__ == "__main__":
    main()
