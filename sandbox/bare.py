"""No walls: the kernel as a plain child process. For code that is trusted, or a person who said so."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ml_intern.sandbox import tree
from ml_intern.sandbox.base import Launch, Limits, Mounts, SharesFolders
from ml_intern.sandbox.environment import KERNEL, clean_environment
from ml_intern.sandbox.process import HostProcess, Spawner

MARK, OWNER = "ML_INTERN_KERNEL", "ML_INTERN_OWNER"
ROUNDS = 50
"""So often what was started meanwhile is looked for: it may start more while it is being killed."""


class BareKernel(HostProcess):
    """A kernel without a namespace that would end with it: what it started is looked for and killed.

    Found are its children's children and, when their parents are gone, whatever carries the kernel's mark in
    its environment. What leaves the tree and drops its environment gets away: there are no walls here.
    """

    def __init__(self, mounts: Mounts, environment: Mapping[str, str]) -> None:
        self._mark = secrets.token_hex(8)
        self._swept = False
        argv = [sys.executable, "-I", str(KERNEL)]
        super().__init__(argv, mounts.workspace, {**environment, MARK: self._mark})

    def kill(self) -> None:
        """End the kernel and what it started, in sessions of its own, too."""
        started = tree.below(self.pid) if self.poll() is None else set()
        super().kill()
        if self._swept:
            return
        self._swept = self.poll() is not None
        tree.kill(started)
        for _ in range(ROUNDS):
            left = tree.marked(f"{MARK}={self._mark}") - {self.pid}
            if not left:
                return
            tree.kill(left)


class BareSandbox(SharesFolders):
    """A child process with a cleared environment, and nothing else between it and the machine."""

    name = "none"
    isolated = False

    def __init__(self, reason: str = "") -> None:
        self._reason = reason
        self._spawner = Spawner()

    def describe(self) -> str:
        """Says loudly that nothing is contained."""
        told = "NOT ISOLATED: cells run as a plain process with your rights, your files and the network"
        return f"{told} ({self._reason})" if self._reason else told

    def start_kernel(self, mounts: Mounts, limits: Limits) -> HostProcess:
        """Start the kernel; the mounts and limits do not bind."""
        environment = {**self._environment(mounts, None), OWNER: self.owner}
        return self._spawner.start(lambda: BareKernel(mounts, environment))

    def launch(
        self, argv: Sequence[str], mounts: Mounts, limits: Limits, env: Mapping[str, str] | None = None
    ) -> Launch:
        """The argv itself, with a cleared environment."""
        known = {**self._environment(mounts, env), **({} if self.is_job(mounts) else {OWNER: self.owner})}
        settings = [f"{name}={value}" for name, value in known.items()]
        return Launch(["/usr/bin/env", "-i", "-C", str(mounts.workspace), *settings, *argv])

    def recover(self, kernel: Mapping[str, Any]) -> bool:
        """End what a dead process's cells and commands had started: nothing here ends with their process."""
        for _ in range(ROUNDS):
            left = tree.marked(f"{OWNER}={self.owner}") - {os.getpid()}
            if not self.owner or not left:
                break
            tree.kill(left)
        return False

    def stop(self) -> None:
        """End the kernels."""
        self._spawner.stop()

    @staticmethod
    def _environment(mounts: Mounts, env: Mapping[str, str] | None) -> dict[str, str]:
        # Not the user's own home: libraries would find cached tokens in it without being asked to.
        home = mounts.workspace / ".ml-intern" / "home"
        home.mkdir(parents=True, exist_ok=True)
        return clean_environment(str(home), os.environ.get("TMPDIR", "/tmp"), env)
