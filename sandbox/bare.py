"""No walls: the kernel as a plain child process. For code that is trusted, or a person who said so."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from ml_intern.sandbox.base import Limits, Mounts
from ml_intern.sandbox.environment import KERNEL, clean_environment
from ml_intern.sandbox.process import HostProcess, Spawner


class BareSandbox:
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
        argv = [sys.executable, "-I", str(KERNEL)]
        environment = self._environment(mounts, None)
        return self._spawner.start(lambda: HostProcess(argv, mounts.workspace, environment))

    def command(
        self, argv: Sequence[str], mounts: Mounts, limits: Limits, env: Mapping[str, str] | None = None
    ) -> list[str]:
        """The argv itself, with a cleared environment."""
        settings = [f"{name}={value}" for name, value in self._environment(mounts, env).items()]
        return ["/usr/bin/env", "-i", "-C", str(mounts.workspace), *settings, *argv]

    def stop(self) -> None:
        """End the kernels."""
        self._spawner.stop()

    @staticmethod
    def _environment(mounts: Mounts, env: Mapping[str, str] | None) -> dict[str, str]:
        # Not the user's own home: libraries would find cached tokens in it without being asked to.
        home = mounts.workspace / ".ml-intern" / "home"
        home.mkdir(parents=True, exist_ok=True)
        return clean_environment(str(home), os.environ.get("TMPDIR", "/tmp"), env)
