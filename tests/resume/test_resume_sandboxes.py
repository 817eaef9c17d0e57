"""Resume in each sandbox: what the dead process left is ended, its jobs are found again, nothing stays behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.docker_engine import engine_problem, sandbox_image
from support.e2b_server import E2BServer

from ml_intern.errors import InternError
from ml_intern.sandbox.bare import OWNER
from ml_intern.sandbox.base import Limits, Mounts, mark_of
from ml_intern.sandbox.e2b import E2BSandbox
from ml_intern.sandbox.host import CallReply, KernelHost
from ml_intern.sandbox.local import LocalSandbox
from ml_intern.sandbox.tree import marked

CHILD = Path(__file__).parent / "sandboxed_child.py"
ROOT = Path(__file__).parents[2]
KINDS = ("none", "local", "docker", "e2b")


class Place:
    """One kind of sandbox, as the host sees it."""

    def __init__(self, kind: str, state: Path, server: E2BServer | None) -> None:
        self.kind, self.state, self.server = kind, state, server
        self.env = dict(os.environ)
        self.env["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        if server:
            self.env |= server.env
        if kind == "docker":
            self.env["IMAGE"] = sandbox_image()

    def run(self, **env: str) -> dict[str, Any] | None:
        """Run the session, or go on with it; None where it was killed."""
        done = subprocess.run(
            [sys.executable, str(CHILD), str(self.state), self.kind],
            env={**self.env, **env},
            cwd=self.state,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode == -signal.SIGKILL:
            return None
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    def left(self) -> list[str]:
        """What runs for the session and is no job."""
        [session] = self.state.glob("sessions/*")
        if self.server:
            return [b.id for b in self.server.alive if b.request["metadata"]["ml-intern"] == "session"]
        if self.kind == "docker":
            label = f"label=ml-intern.owner={mark_of(session)}"
            asked = ["docker", "ps", "--all", "--quiet", "--filter", label]
            return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
        return [str(pid) for pid in marked(f"{OWNER}={mark_of(session)}")]

    def jobs_made(self) -> int:
        return len(list(self.state.glob("sessions/*/jobs/*/spec.json")))


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    kind = request.param
    problem = {"local": LocalSandbox.problem, "docker": engine_problem, "e2b": E2BServer.problem}
    if kind in problem and (why := problem[kind]()):
        pytest.skip(why)
    state = tmp_path / "state"
    state.mkdir()
    if kind != "e2b":
        yield Place(kind, state, None)
        return
    with E2BServer() as server:
        yield Place(kind, state, server)


@pytest.mark.parametrize(
    "place",
    [pytest.param(kind, marks=pytest.mark.thorough if kind != "local" else []) for kind in KINDS],
    indirect=True,
)
def test_killed_in_the_middle_of_a_cell(place: Place) -> None:
    assert place.run() is None
    found = place.run()
    assert found is not None and found["status"] == "done", found
    n, still, job, lines, _ = found["answer"].split()
    assert (n, job, lines) == ("2", "succeeded", "3")
    assert still == "True", "what the dead process's cell had started still runs"
    assert any("kernel is rebuilt: 2 finished cells" in line for line in found["notices"])
    assert place.left() == [] and place.jobs_made() == 1
    if place.server:
        kinds = [box.request["metadata"]["ml-intern"] for box in place.server.boxes.values()]
        assert sorted(kinds) == ["job", "session", "session"] and not place.server.alive


@pytest.mark.parametrize("place", ["e2b"], indirect=True)
def test_killed_between_two_cells_the_kernel_runs_on(place: Place) -> None:
    assert place.server and place.run(DIE_IN_STEP="2") is None
    found = place.run(DIE_IN_STEP="2")
    assert found is not None and found["status"] == "done", found
    n, _, job, lines, born = found["answer"].split()
    assert (n, job, lines) == ("2", "succeeded", "3") and place.jobs_made() == 1
    assert born == found["first"].splitlines()[0], "the variables are not those of the kernel that made them"
    assert any("The kernel ran on" in line for line in found["notices"]) and place.left() == []
    kinds = [box.request["metadata"]["ml-intern"] for box in place.server.boxes.values()]
    assert sorted(kinds) == ["job", "session"] and not place.server.alive


@pytest.mark.skipif(bool(E2BServer.problem()), reason=E2BServer.problem())
def test_a_kernel_that_is_gone_is_not_taken_over(tmp_path: Path) -> None:
    """The sandbox's time was over; or it runs, and the kernel in it does not."""
    with E2BServer() as server:
        first = opened(server, tmp_path)
        kernel = host(first, tmp_path)
        kernel.start()
        where = first.running()
        (box,) = server.alive
        second = opened(server, tmp_path)
        assert second.recover({**where, "kernel": 999_999}) and server.alive == [box]
        with pytest.raises(InternError, match="cannot be taken over"):
            host(second, tmp_path).start()
        again = host(second, tmp_path)
        assert again.run("1 + 1").value == "2" and server.alive == [box]
        again.close()
        second.stop()
        assert not opened(server, tmp_path).recover(where) and not server.alive
        kernel.close()
        first.stop()


def opened(server: E2BServer, folder: Path) -> E2BSandbox:
    made = E2BSandbox(server.env)
    made.own(folder, folder)
    return made


def host(sandbox: E2BSandbox, folder: Path) -> KernelHost:
    return KernelHost(sandbox, Mounts(folder), Limits(), [], lambda *_: CallReply(True), 20, 1)


@pytest.mark.skipif(bool(E2BServer.problem()), reason=E2BServer.problem())
def test_another_sessions_sandbox_is_left_alone(tmp_path: Path) -> None:
    with E2BServer() as server:
        first = opened(server, tmp_path / "a")
        (tmp_path / "a").mkdir()
        kernel = host(first, tmp_path / "a")
        kernel.start()
        opened(server, tmp_path / "b").recover({})
        assert len(server.alive) == 1 and kernel.run("1").value == "1"
        opened(server, tmp_path / "a").recover({})
        assert not server.alive
        kernel.close()
        first.stop()
