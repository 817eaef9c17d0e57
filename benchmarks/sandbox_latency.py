"""What a sandbox costs: start, empty cell, loop and calls, against smolagents' executors in the same run.

Ours: no walls, bubblewrap, Docker, and E2B. A stand-in on this machine plays E2B, without delay and with
80 ms for a round trip: that measures our overhead and the number of round trips, not E2B itself. The peers:
`LocalPythonExecutor` interprets the syntax tree in the agent's own process, with no start and no walls;
`DockerExecutor` has a Jupyter server in a container. All take turns, in another order each time, so that a
slow moment of the machine meets them all. What cannot be had is left out, with the reason.

- start: from nothing, the sandbox's own checks included, until tools are there and the first cell has run;
  imports are done before.
- tool on the host: a cell calls a tool that runs beside the agent, where the credentials are. DockerExecutor
  has no way to: it ships a tool's source into the container.
- call inside: a function that lies where the cell runs. This is what compares with DockerExecutor's tools.
- memory: the agent's process, smolagents imported, and the processes beside it that run no cells; then what
  the agent's process grows by when a cell keeps 100 MB.
- network: whether a cell reached a listener at this machine's outward address; the listener tells.

Run: python benchmarks/sandbox_latency.py [--quick] [--image NAME]
         [--docker-executor-image NAME | --build-images] [--only ROW ...]

`--build-images` makes both images from this Python and pip, for a machine that reaches no registry of images.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import select
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("PYTHON_DOTENV_DISABLED", "1")
sys.path.insert(
    0, str(Path(__file__).resolve().parents[1])
)  # images and E2B's stand-in are those of the tests

from benchmarks.support.contestants import (
    CELLS,
    DEFINE,
    OURS,
    PEERS,
    SERVICE,
    STAND_INS,
    Running,
    images,
    opened,
    stand_ins,
)
from ml_intern.errors import InternError

HEADS = {
    "start": "start",
    "cell": "empty cell",
    "loop": "loop of 20,000",
    "tool": "tool on the host",
    "inside": "call inside",
}
KEEP = "kept = b'x' * (100 << 20)"
REACH = "import socket\nsocket.create_connection(({!r}, {}), 3).close()"

Times = dict[str, dict[str, list[float]]]
"""Milliseconds by contestant and by what was measured."""

# Times


def start(name: str, args: argparse.Namespace) -> tuple[Running, float]:
    began = time.perf_counter()
    running = opened(name, args)
    try:
        running.run(CELLS["cell"])
    except BaseException:
        running.close()
        raise
    return running, 1000 * (time.perf_counter() - began)


def plain_python() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return 1000 * (time.perf_counter() - began)


def possible(args: argparse.Namespace) -> tuple[list[str], dict[str, str]]:
    """Who can take part, and why others cannot. Each is started once, which is not counted."""
    can, why = [], {}
    for name in args.only or (*OURS, *PEERS):
        note = " (where it finds no image it builds one: minutes)" if name == "DockerExecutor" else ""
        print(f"{name} ...{note}", file=sys.stderr)
        try:
            start(name, args)[0].close()
            can.append(name)
        except (InternError, RuntimeError, ImportError, OSError) as error:
            why[name] = " ".join(str(error).split())[:300].rstrip(".") + mend(name, error)
    return can, why


def mend(name: str, error: Exception) -> str:
    """What helps where DockerExecutor has no words for it."""
    if name == "DockerExecutor" and isinstance(error, ImportError):
        return ". Run: pip install 'smolagents[docker]'"
    return ". Try --build-images" if "Failed to initialize Jupyter" in str(error) else ""


def started(names: list[str], args: argparse.Namespace, times: int) -> Times:
    taken: Times = {name: {"start": []} for name in [*names, "python -c pass"]}
    for name in rounds(names, times):
        running, ms = start(name, args)
        running.close()
        taken[name]["start"].append(ms)
        taken["python -c pass"]["start"].append(plain_python())
    return taken


def answered(names: list[str], args: argparse.Namespace, times: int) -> Times:
    with contextlib.ExitStack() as stack:
        up = {}
        for name in names:
            up[name] = start(name, args)[0]
            stack.callback(up[name].close)
            if "tool" in up[name].cells:  # the other one has the function from its tools
                up[name].run(DEFINE)
        turns = [(name, key) for name in names for key in up[name].cells]
        for name, key in turns:
            up[name].run(CELLS[key])
        taken: Times = {name: {key: [] for key in up[name].cells} for name in names}
        for name, key in rounds(turns, times):
            began = time.perf_counter()
            up[name].run(CELLS[key])
            taken[name][key].append(1000 * (time.perf_counter() - began))
    return taken


def rounds(turns: list[Any], times: int) -> Iterator[Any]:
    """Each turn that many times, round after round, in another order each time."""
    dice = random.Random(0)
    for _ in range(times):
        yield from dice.sample(turns, len(turns))


def requests(name: str, args: argparse.Namespace, count: Callable[[], int]) -> list[int]:
    """How often the service is asked for a start, and for each cell."""
    counts = [count()]
    running, _ = start(name, args)
    with contextlib.closing(running):
        counts.append(count())
        for key in CELLS:
            running.run(DEFINE + "\ninner(1)" if key == "inside" else CELLS[key])
            counts.append(count())
    return [after - before for before, after in pairwise(counts)]


# Facts, each contestant in a process of its own


def asked(name: str, args: argparse.Namespace) -> dict[str, Any]:
    settings = json.dumps(vars(args) | {"facts_of": name})
    command = [sys.executable, __file__, "--settings", settings]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            found: dict[str, Any] = json.loads(process.communicate()[0].splitlines()[-1])
        finally:
            process.terminate()  # not killed: it has something to put away
    return found


def facts(name: str, args: argparse.Namespace) -> dict[str, Any]:
    import psutil
    import smolagents  # noqa: F401 (every agent has it in memory, whatever runs the cells)

    running, _ = start(name, args)
    with contextlib.closing(running):
        for key in ("cell", "loop"):
            running.run(CELLS[key])
        process = psutil.Process()
        own = process.memory_info().rss
        # A kernel is Python. What else there is carries its bytes.
        helpers = [
            child for child in process.children(recursive=True) if not child.name().startswith("python")
        ]
        beside = sum(child.memory_info().rss for child in helpers)
        running.run(KEEP)
        grown = process.memory_info().rss - own
        return {"own": own, "beside": beside, "grown": grown, "network": network(running.run)}


def network(run: Callable[[str], Any]) -> str:
    from smolagents.utils import AgentError

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address of nobody's, for documentation; nothing is sent
        except OSError:
            return "not tried"
        address = probe.getsockname()[0]
    with socket.create_server((address, 0)) as listener:
        said = ""
        try:
            run(REACH.format(address, listener.getsockname()[1]))
        except (InternError, AgentError, ValueError) as error:
            said = str(error)
        if select.select([listener], [], [], 0.5)[0]:
            return "reached"
    return "no: the import is refused" if "is not allowed" in said else "no"


# The tables


def report(taken: Times, found: dict[str, dict[str, Any]], why: dict[str, str]) -> None:
    rows = [[name, *(shown(row.get(key)) for key in HEADS)] for name, row in taken.items()]
    table(["ms: median (fastest to slowest)", *HEADS.values()], rows)
    for peer in [peer for peer in PEERS if peer in found]:
        ours = [name for name in (*OURS, SERVICE) if name in found]
        rows = [[name, *(ratio(taken, name, peer, key) for key in HEADS)] for name in ours]
        table([f"ours / {peer}", *HEADS.values()], rows)
    rows = []
    for name, one in found.items():
        sizes = [f"{one[key] / 2**20:.0f} MB" for key in ("own", "beside", "grown")]
        rows.append([name, *sizes, "stand-in" if name in STAND_INS else one["network"]])
    table(["", "agent's process", "beside it", "grows by, for 100 MB in a cell", "network"], rows)
    for name, reason in why.items():
        print(f"{name}: left out. {reason}")


def shown(taken: list[float] | None) -> str:
    if not taken:
        return "–"
    return "{} ({} to {})".format(*map(short, (statistics.median(taken), min(taken), max(taken))))


def short(number: float) -> str:
    return f"{number:.2f}" if number < 10 else f"{number:.1f}" if number < 100 else f"{number:.0f}"


def ratio(taken: Times, name: str, peer: str, key: str) -> str:
    """The medians' ratio; one peer starts nothing, the other has no tools on the host."""
    ours, theirs = taken[name].get(key), taken[peer].get(key)
    if not ours or not theirs or (key, peer) == ("start", "LocalPythonExecutor"):
        return "–"
    return short(statistics.median(ours) / statistics.median(theirs)) + "x"


def table(heads: list[str], rows: list[list[str]]) -> None:
    if not rows:
        return
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, ["-" * width for width in widths], *rows):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")
    print()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=[*OURS, SERVICE, *PEERS],
        metavar="ROW",
        help="these alone; e2b is E2B itself, with your key",
    )
    parser.add_argument("--image", default="ml-intern-sandbox", help="the image of our Docker sandbox")
    parser.add_argument("--docker-executor-image", default="jupyter-kernel", help="one with a kernel gateway")
    parser.add_argument("--build-images", action="store_true", help="both from this Python, for this run")
    parser.add_argument("--settings", type=json.loads, default={}, help=argparse.SUPPRESS)
    return argparse.Namespace(**(vars(parser.parse_args()) | parser.parse_args().settings))


def main() -> None:
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is put away then too
    if "facts_of" in args:
        print(json.dumps(facts(args.facts_of, args)))
        return
    with images(args), stand_ins(args) as counters:
        names, why = possible(args)
        cells = answered(names, args, 8 if args.quick else 60)
        taken = started(names, args, 3 if args.quick else 10)
        for name, times in cells.items():
            taken[name] |= times
        report(taken, {name: asked(name, args) for name in names}, why)
        asked_for = {name: requests(name, args, counters[name]) for name in names if name in counters}
        if asked_for:
            print("E2B is a stand-in here: our overhead and the number of round trips, not E2B itself.\n")
            table(
                ["requests to E2B", *HEADS.values()], [[name, *map(str, n)] for name, n in asked_for.items()]
            )


if __name__ == "__main__":
    main()
