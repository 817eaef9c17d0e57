"""What runs on a node of the cluster: one job, watched over by the same supervisor as at home.

submitit starts it there, and starts it again when Slurm has put the job back into the queue: after a node was
lost, a preemption, or the partition's time limit. The folder is on the shared disk, so the training finds its
checkpoints in it and goes on.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_intern
from ml_intern.errors import InternError
from ml_intern.jobs.backends.base import ended
from ml_intern.jobs.folder import read_json, read_spec, read_status, write_json, write_status
from ml_intern.jobs.launch import launch_plan
from ml_intern.jobs.model import FINISHED, FOREIGN, Failure, JobSpec
from ml_intern.sandbox.environment import PASSED_ON

if TYPE_CHECKING:
    from ml_intern.sandbox.base import Sandbox
    from ml_intern.settings import Settings

HISTORY = "node.json"
"""Starts of the job so far, and how long they held a node."""

_BEAT_S = 2.0
_POLL_S = 0.1
_OTHER_S = 60.0
_END_S = 20.0


class NodeFailed(Exception):
    """The job has failed; Slurm's own accounting is to say so, too."""


@dataclass
class NodeJob:
    """One job. submitit keeps it as a pickle beside the jobs, so there is no credential in it.

    Attributes:
        folder: Of the job, on the shared disk.
        settings: The part that jobs need.
    """

    folder: Path
    settings: Settings

    def __call__(self) -> str:
        """Run the job to its end; its state.

        Raises:
            NodeFailed: It has failed.
        """
        lock = _only_one(self.folder / "alive")
        try:
            spec = read_spec(self.folder)
            left = _begin(self.folder, spec)
            plan, told = self._plan(spec, left)
            write_json(self.folder / "launch.json", plan)
            self._supervise(lock, told)
        except InternError as error:
            _give_up(self.folder, error)
        finally:
            os.close(lock)
        state = str(read_status(self.folder)["state"])
        if state == "failed":
            raise NodeFailed(f"The job in {self.folder} has failed.")
        return state

    def checkpoint(self) -> Any:
        """Called by submitit before Slurm takes the node away: end what runs, and say what comes next."""
        from submitit.helpers import DelayedSubmission

        supervisor = read_status(self.folder).get("supervisor")
        if supervisor:
            _end(int(supervisor))
        return DelayedSubmission(self)

    def _plan(self, spec: JobSpec, left: float) -> tuple[dict[str, Any], dict[str, str]]:
        walls, problem = _walls()
        if problem:
            self._without_walls(spec, problem)
        # Slurm is the queue here, and has chosen the GPUs.
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        plan, told = launch_plan(self.folder, spec, walls, self.settings, gpus)
        given = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        plan["env"] = given | plan["env"]
        alone = {"slots": 1, "takes": 1, "slots_folder": tempfile.mkdtemp(prefix="ml-intern-slot-")}
        return plan | alone | {"timeout_s": left}, told

    def _without_walls(self, spec: JobSpec, problem: str) -> None:
        """A recipe of ours may run without walls; code that a model wrote only where a person said so."""
        node = socket.gethostname()
        if spec.method in FOREIGN and self.settings.sandbox != "none":
            raise InternError(
                f"The node {node} has no walls for {spec.method}, which runs code of a model: {problem}",
                "Install bubblewrap on the nodes, or say --sandbox none to run without.",
            )
        told = f"WARNING: no walls on {node} ({problem}): a plain process, with its environment cleared."
        with (self.folder / "log.txt").open("a") as log:
            log.write(f"{told}\n")

    def _supervise(self, lock: int, told: dict[str, str]) -> None:
        began = time.time()
        with (self.folder / "supervisor.log").open("ab") as errors:
            supervisor = subprocess.Popen(
                [sys.executable, "-S", "-s", "-m", "ml_intern.jobs.supervisor", str(self.folder)],
                env={"PYTHONPATH": str(Path(ml_intern.__file__).parents[1]), "PATH": os.defpath, **told},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                pass_fds=(lock,),
                # Slurm's signal before the end is for this process alone; it would kill the others.
                preexec_fn=lambda: signal.signal(signal.SIGUSR2, signal.SIG_IGN) and None,
            )
        beat = 0.0
        while supervisor.poll() is None:
            if time.monotonic() >= beat:
                beat = time.monotonic() + _BEAT_S
                _note(self.folder, held_s=time.time() - began)
            time.sleep(_POLL_S)
        shutil.rmtree(json.loads((self.folder / "launch.json").read_text())["slots_folder"], True)


def _begin(folder: Path, spec: JobSpec) -> float:
    """Set the status back after an earlier start; the seconds that the job may still take.

    A checkpoint that an earlier start left stays: the training goes on from it.
    """
    history = read_json(folder / HISTORY)
    past = history.get("past_s", 0.0) + history.get("held_s", 0.0)
    starts = history.get("starts", 0) + 1
    told = {"starts": starts, "past_s": past, "held_s": 0.0, "node": socket.gethostname()}
    write_json(folder / HISTORY, told)
    raw = read_status(folder)
    if raw["state"] not in FINISHED or raw["state"] == "failed":
        write_status(
            folder,
            raw | {"state": "queued", "ended": None, "failure": None, "exit_code": None, "seconds": None},
        )
    if starts > 1:
        with (folder / "log.txt").open("a") as log:
            log.write(f"Start {starts}, on {socket.gethostname()}: Slurm had put the job back.\n")
    return max(1.0, spec.timeout_s - float(past))


def _note(folder: Path, held_s: float) -> None:
    """Write down how long this start has lasted, while it lasts: the node may be lost without a word."""
    write_json(folder / HISTORY, read_json(folder / HISTORY) | {"held_s": held_s})


def held(folder: Path, raw: dict[str, Any]) -> float | None:
    """Seconds for which all starts of a job together held a node; None before the first."""
    if raw.get("started") is None or raw.get("ended") is None:
        return None
    last = raw.get("seconds") or max(0.0, float(raw["ended"]) - float(raw["started"]))
    return float(read_json(folder / HISTORY).get("past_s", 0.0)) + float(last)


def _give_up(folder: Path, error: InternError) -> None:
    with (folder / "log.txt").open("a") as log:
        log.write(f"{error}\n")
    told = Failure(kind="bad_config", message=error.message, hint=error.hint).model_dump()
    write_status(folder, read_status(folder) | ended("failed", failure=told))


def _walls() -> tuple[Sandbox | None, str]:
    """Bubblewrap where the node has it, or why not."""
    from ml_intern.sandbox.local import LocalSandbox

    problem = LocalSandbox.problem()
    return (None, problem) if problem else (LocalSandbox(), "")


def _only_one(path: Path) -> int:
    """Hold the lock that says that the job runs: where a node was only thought to be lost, two would run.

    Raises:
        NodeFailed: Another process holds it for a minute.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + _OTHER_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise NodeFailed("The job runs on another node already.") from None
            time.sleep(_POLL_S)
        except OSError:
            return descriptor  # A disk without locks: Slurm alone sees to it that there is one.


def _end(supervisor: int) -> None:
    """Tell a supervisor to stop, and wait until it has ended the job."""
    deadline = time.monotonic() + _END_S
    try:
        os.kill(supervisor, signal.SIGTERM)
        while time.monotonic() < deadline:
            os.waitpid(supervisor, os.WNOHANG)
            os.kill(supervisor, 0)
            time.sleep(_POLL_S)
    except (ProcessLookupError, ChildProcessError):
        return
