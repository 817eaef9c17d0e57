"""A real kernel in each sandbox that this machine has."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ml_intern.sandbox.bare import BareSandbox
from ml_intern.sandbox.base import Limits, Mounts, Sandbox
from ml_intern.sandbox.host import CallReply, KernelHost
from ml_intern.sandbox.local import LocalSandbox


def proxy(name: str, *parameters: str, **defaults: Any) -> dict[str, Any]:
    known = [{"name": p, "annotation": "Any"} for p in parameters]
    known += [{"name": p, "annotation": "Any", "default": value} for p, value in defaults.items()]
    return {"name": name, "parameters": known, "doc": f"Help of {name}.", "signature": f"{name}(...)"}


TOOLS = [
    proxy("echo", "value", other=None),
    proxy("add", "a", b=1),
    proxy("nap", "seconds"),
    proxy("meet", "n"),
]


class Tools:
    """The host's tools of these tests."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.meeting = threading.Barrier(4)

    def __call__(self, name: str, arguments: dict[str, Any]) -> CallReply:
        self.calls.append((name, arguments))
        if name == "add":
            if unknown := arguments.keys() - {"a", "b"}:
                return CallReply(
                    False, message=f"unknown argument {unknown.pop()!r}, did you mean 'b'?", hint="Use b."
                )
            return CallReply(True, {"sum": arguments["a"] + arguments.get("b", 1), "parts": [{"n": 7}]})
        if name == "nap":
            time.sleep(arguments["seconds"])
        if name == "meet":
            self.meeting.wait(100)  # passes only when four calls run at once
        if name == "broken":
            raise RuntimeError("a bug")
        return CallReply(True, arguments.get("value"))


@pytest.fixture(params=["none", "local"])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    if request.param == "local":
        if problem := LocalSandbox.problem():
            pytest.skip(problem)
        made: Sandbox = LocalSandbox()
    else:
        made = BareSandbox()
    yield made
    made.stop()


@pytest.fixture
def walls() -> Iterator[LocalSandbox]:
    if problem := LocalSandbox.problem():
        pytest.skip(problem)
    made = LocalSandbox()
    yield made
    made.stop()


@pytest.fixture
def tools() -> Tools:
    return Tools()


@pytest.fixture
def open_kernel(tools: Tools, tmp_path: Path) -> Iterator[Callable[..., KernelHost]]:
    """Starts kernels with the tools above and ends them."""
    opened: list[KernelHost] = []

    def start(sandbox: Sandbox, **options: Any) -> KernelHost:
        workspace = tmp_path / "work space"
        workspace.mkdir(exist_ok=True)
        mounts = options.pop("mounts", None) or Mounts(workspace)
        limits = options.pop("limits", Limits())
        given = {"timeout_s": 60.0, "grace_s": 5.0} | options
        kernel = KernelHost(sandbox, mounts, limits, TOOLS, tools, **given)
        kernel.start()
        opened.append(kernel)
        return kernel

    yield start
    for kernel in opened:
        kernel.close()


@pytest.fixture
def kernel(open_kernel: Callable[..., KernelHost], sandbox: Sandbox) -> KernelHost:
    return open_kernel(sandbox)
