"""This machine: each job is watched over by a detached supervisor, in the walls of a sandbox."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_intern
from ml_intern.errors import InternError, ToolError
from ml_intern.jobs.backends.base import Site, ended, failure
from ml_intern.jobs.folder import read_spec, read_status, write_status
from ml_intern.jobs.launch import end_left_over, launch_plan
from ml_intern.jobs.model import FINISHED, JobSpec
from ml_intern.jobs.slots import is_locked, try_lock

if TYPE_CHECKING:
    from ml_intern.sandbox.base import Sandbox


_GO_ON = "resume_job goes on with it, a training from its last whole checkpoint."


class Here:
    """Jobs on this machine."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._supervisors: dict[Path, subprocess.Popen[bytes]] = {}
        self._guard = threading.RLock()

    def walls(self) -> Sandbox | None:
        """What contains the jobs: as for the session's cells."""
        return self.site.sandbox()

    def check(self, spec: JobSpec) -> None:
        """This machine takes every job: one that finds no free slot waits."""

    def submit(self, folders: Sequence[Path]) -> None:
        """Start a supervisor for each; one that lives already is left alone."""
        for folder in folders:
            self._start(folder)

    def submitted(self, folder: Path) -> bool:
        """Whether it has or had a supervisor."""
        return read_status(folder).get("supervisor") is not None or self._alive(folder)

    def status(self, folder: Path) -> dict[str, Any]:
        """As its supervisor has written it; one whose supervisor is gone without a word is lost."""
        self._reap(folder)
        alive = self._alive(folder)  # Before the file: a job that ends in between is then not called lost.
        raw = read_status(folder)
        if not alive and raw["state"] not in FINISHED and raw.get("supervisor") is not None:
            raw = self._mark_lost(folder)
        return raw

    def fetch(self, folder: Path) -> None:
        """Log and metrics are written in place."""

    def collect(self, folder: Path) -> None:
        """What the job makes is made in place."""

    def cancel(self, folder: Path) -> None:
        """The supervisor looks for the file; where there never was one, nothing will."""
        with self.site.locked():
            raw = read_status(folder)
            if raw["state"] == "queued" and raw.get("supervisor") is None and not self._alive(folder):
                write_status(folder, raw | ended("cancelled"))

    def _start(self, folder: Path) -> None:
        plan, told = launch_plan(folder, read_spec(folder), self.walls(), self.site.settings)
        (folder / "launch.json").write_text(json.dumps(plan, indent=1))
        lock = _lock_soon(folder / "alive")
        if lock is None:
            return  # Its supervisor lives already.
        with (folder / "supervisor.log").open("ab") as errors:
            try:
                # -S -s: no site-packages, a start in milliseconds; the path gives it this package alone.
                supervisor = subprocess.Popen(
                    [sys.executable, "-S", "-s", "-m", "ml_intern.jobs.supervisor", str(folder)],
                    env={"PYTHONPATH": str(Path(ml_intern.__file__).parents[1]), "PATH": os.defpath, **told},
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=errors,
                    stderr=errors,
                    start_new_session=True,
                    pass_fds=(lock,),
                )
            finally:
                os.close(lock)
        with self._guard:
            self._supervisors[folder] = supervisor

    def _alive(self, folder: Path) -> bool:
        return is_locked(folder / "alive")

    def _mark_lost(self, folder: Path) -> dict[str, Any]:
        """The supervisor is gone without a word: a reboot, or kill -9 on it. End what it may have left."""
        with self.site.locked():
            raw = read_status(folder)
            if self._alive(folder) or raw["state"] in FINISHED:
                return raw
            try:
                end_left_over(folder, self.walls())
            except InternError:
                end_left_over(folder, None)  # The engine is gone, too, and its containers with it.
            told = "The job's supervisor is gone: the machine restarted, or something killed it."
            raw |= ended("failed", failure=failure(folder, "lost", told, _GO_ON))
            # Nobody has measured it, and the clock may have been set: no longer than it was allowed to.
            ran_s = time.time() - (raw.get("started") or time.time())
            raw["seconds"] = min(max(0.0, ran_s), read_spec(folder).timeout_s)
            with suppress(OSError):  # a full disk: it is told, and written at a later look
                write_status(folder, raw)
            return raw

    def _reap(self, folder: Path) -> None:
        with self._guard:
            supervisor = self._supervisors.get(folder)
            if supervisor is not None and supervisor.poll() is not None:
                del self._supervisors[folder]


class InDocker(Here):
    """Jobs in containers of this machine's Docker engine, whatever contains the session's cells."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._sandbox: Sandbox | None = None

    def walls(self) -> Sandbox:
        """Docker's; the session's own where that is Docker already."""
        session = self.site.sandbox()
        if session is not None and session.name == "docker":
            return session
        with self._guard:
            if self._sandbox is None:
                from ml_intern.sandbox.docker import DockerSandbox

                self._sandbox = DockerSandbox(self.site.settings.docker_image)
            return self._sandbox

    def check(self, spec: JobSpec) -> None:
        """Whether there are an engine and the image.

        Raises:
            ToolError: There are not.
        """
        try:
            self.walls()
        except InternError as error:
            hint = error.hint.replace("--sandbox local", 'hardware="local"')
            raise ToolError(f"No job can run in Docker: {error.message}", hint) from None


def _lock_soon(path: Path) -> int | None:
    """Lock a file that others may be looking at: a look lasts microseconds, a supervisor much longer."""
    for _ in range(50):
        lock = try_lock(path)
        if lock is not None:
            return lock
        time.sleep(0.01)
    return None
