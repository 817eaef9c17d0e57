"""Who takes part in `sandbox_latency.py`, and the images and stand-ins that they need."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from ml_intern.errors import InternError

ROOT = Path(__file__).resolve().parents[2]

STAND_INS = {"e2b, 0 ms": 0, "e2b, 80 ms": 80}
"""Milliseconds that a round trip takes."""

OURS = ("none", "local", "docker", *STAND_INS)
SERVICE = "e2b"
"""E2B itself: only for who names it, since it costs money."""

PEERS = ("LocalPythonExecutor", "DockerExecutor")

DEFINE = "def inner(value):\n    return value"
CELLS = {
    "cell": "x = 1",
    "loop": "total = 0\nfor i in range(20_000):\n    total += i * i",
    "tool": "echo(1)",
    "inside": "inner(1)",
}

STAND_IN = """
import json, sys
from tests.support.e2b_server import E2BServer
if problem := E2BServer.problem():
    sys.exit(print(json.dumps({"problem": problem})))
with E2BServer(int(sys.argv[1]) / 1000) as server:
    print(json.dumps(server.env), flush=True)
    for _ in sys.stdin:
        print(len(server.requests), flush=True)
"""
"""Answers each line with the number of requests so far."""

JUPYTER = """
FROM {base}
COPY site /usr/local/lib/python{version}/site-packages
ENV HOME=/tmp
CMD ["python3", "-m", "kernel_gateway", "--KernelGatewayApp.ip=0.0.0.0", "--KernelGatewayApp.port=8888"]
"""


class Running(NamedTuple):
    """A sandbox that is up.

    Attributes:
        run: Runs a cell and waits for it; raises where it fails.
        close: Leaves nothing behind.
        cells: Which of `CELLS` it can run.
    """

    run: Callable[[str], Any]
    close: Callable[[], None]
    cells: tuple[str, ...] = tuple(CELLS)


def opened(name: str, args: argparse.Namespace) -> Running:
    """Start one: `args` has the images and the addresses of the stand-ins."""
    if name == "LocalPythonExecutor":
        return local_python_executor()
    return docker_executor(args.docker_executor_image) if name == "DockerExecutor" else ours(name, args)


def ours(name: str, args: argparse.Namespace) -> Running:
    from ml_intern.sandbox.base import Limits, Mounts
    from ml_intern.sandbox.host import CallReply, KernelHost

    echo = {"name": "echo", "parameters": [{"name": "value"}], "doc": "", "signature": "echo(value)"}

    def answer(_: str, given: dict[str, Any]) -> CallReply:
        return CallReply(True, given["value"])

    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ml-intern-bench-"))
        sandbox = make_sandbox(name, args)
        stack.callback(sandbox.stop)
        kernel = KernelHost(sandbox, Mounts(Path(folder)), Limits(), [echo], answer, 60, 5)
        stack.callback(kernel.close)
        kernel.start()
        kept = stack.pop_all()

    def run(code: str) -> None:
        result = kernel.run(code)
        if not result.ok:
            raise InternError(result.error)

    return Running(run, kept.close)


def make_sandbox(name: str, args: argparse.Namespace) -> Any:
    from ml_intern.sandbox.choose import choose_sandbox

    if name == "docker":
        from ml_intern.sandbox.docker import DockerSandbox

        return DockerSandbox(args.image)
    if name in STAND_INS and name not in args.stand_ins:
        raise InternError(f"E2B's stand-in does not run here: {args.stand_in_problem}")
    env = args.stand_ins.get(name, os.environ)
    return choose_sandbox(name.split(",")[0], trusted=False, env=env)


def local_python_executor() -> Running:
    from smolagents.local_python_executor import LocalPythonExecutor

    executor = LocalPythonExecutor([])
    executor.send_tools({"echo": lambda value: value})
    return Running(executor, lambda: None)


def docker_executor(image: str) -> Running:
    """smolagents' class as it comes; only its container has a name of ours, and its port is a free one."""
    import docker
    import websocket  # noqa: F401 (else its lack is found by the first cell)
    from smolagents import tool
    from smolagents.monitoring import AgentLogger, LogLevel
    from smolagents.remote_executors import DockerExecutor

    @tool
    def inner(value: int) -> int:
        """Gives back what it is given.

        Args:
            value: Anything.
        """
        return value

    name = f"ml-intern-bench-{os.getpid()}-{time.monotonic_ns()}"
    silent, named = AgentLogger(level=LogLevel.OFF), {"name": name}
    try:
        executor = DockerExecutor(
            [], silent, port=free_port(), image_name=image, build_new_image=False, container_run_kwargs=named
        )
        executor.send_tools({"inner": inner})
    except (KeyboardInterrupt, SystemExit):  # it cleans up after errors only
        with contextlib.suppress(docker.errors.NotFound):
            docker.from_env().containers.get(name).remove(force=True)
        raise
    return Running(executor, executor.cleanup, ("cell", "loop", "inside"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def images(args: argparse.Namespace) -> Iterator[None]:
    """Where `--build-images` asks for it, both images from this Python: no registry of images is needed."""
    if not args.build_images:
        yield
        return
    from tests.support.docker_engine import engine_problem, sandbox_image

    problem = "" if find_spec("docker") else "run pip install 'smolagents[docker]'"
    if problem := problem or engine_problem():
        print(f"No images are built: {problem}.", file=sys.stderr)
        yield
        return
    import docker

    mark = f"ml-intern-bench-{os.getpid()}"
    args.image, args.docker_executor_image = f"{mark}-own", f"{mark}-jupyter"
    base, engine = sandbox_image(), docker.from_env()
    try:
        with tempfile.TemporaryDirectory() as folder:
            recipe = Path(folder, "Dockerfile")
            recipe.write_text(f"FROM {base}\nLABEL ml-intern.python=python3\n")
            engine.images.build(path=folder, tag=args.image, rm=True)
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            wanted = ["--target", f"{folder}/site", "jupyter_kernel_gateway", "ipykernel"]
            done = subprocess.run([*pip, *wanted], capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"pip could not get Jupyter's kernel gateway: {done.stderr.strip()}")
            version = f"{sys.version_info.major}.{sys.version_info.minor}"
            recipe.write_text(JUPYTER.format(base=base, version=version))
            engine.images.build(path=folder, tag=args.docker_executor_image, rm=True)
        yield
    finally:
        for name in (args.image, args.docker_executor_image):
            with contextlib.suppress(docker.errors.ImageNotFound):
                engine.images.remove(name, force=True)


@contextlib.contextmanager
def stand_ins(args: argparse.Namespace) -> Iterator[dict[str, Callable[[], int]]]:
    """E2B's stand-ins, each in a process of its own; `args` learns how to reach them.

    Yields:
        Who tells how many requests each has had.
    """
    args.stand_ins, args.stand_in_problem, counters = {}, "", {}
    with contextlib.ExitStack() as stack:
        for name, ms in STAND_INS.items():
            argv = [sys.executable, "-c", STAND_IN, str(ms)]
            pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            process = stack.enter_context(subprocess.Popen(argv, cwd=ROOT, text=True, **pipes))
            told = json.loads(process.stdout.readline() or '{"problem": "it did not start"}')
            if "problem" in told:
                args.stand_in_problem = told["problem"]
                continue
            args.stand_ins[name], counters[name] = told, partial(count, process)
        yield counters


def count(process: subprocess.Popen[str]) -> int:
    assert process.stdin and process.stdout
    print(file=process.stdin, flush=True)
    return int(process.stdout.readline())
