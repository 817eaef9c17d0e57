"""What is around a session's cells and commands: what they see, and how much they may use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

from ml_intern.sandbox.base import Limits, Mounts, Sandbox
from ml_intern.sandbox.run import run_in_sandbox
from ml_intern.settings import Settings


class Walls:
    """The sandbox of a session, with this session's places and limits.

    Attributes:
        also: Other places that cells see, read-only.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        settings: Callable[[], Settings],
        folder: Path,
        workspace: Path,
        interrupted: Callable[[], bool],
    ) -> None:
        self._sandbox = sandbox
        self._settings = settings
        self._folder = folder
        self._workspace = workspace
        self._interrupted = interrupted
        self.also: list[Path] = []

    def run(self, argv: list[str], timeout_s: float) -> CompletedProcess[str]:
        """Run a command behind the walls of this session's cells."""
        return run_in_sandbox(self._sandbox, self.mounts(), self.limits(), argv, timeout_s, self._interrupted)

    def limits(self) -> Limits:
        """What cells and commands may use."""
        s = self._settings()
        return Limits(
            s.sandbox_memory_mb,
            s.sandbox_processes,
            s.sandbox_disk_mb,
            growth_mb=s.sandbox_growth_mb,
            cpus=s.sandbox_cpus or None,
        )

    def mounts(self) -> Mounts:
        """What cells see: the workspace, and read-only the datasets and jobs of this session.

        Nothing of the project folder: a file such as ``.env`` may lie in it, and held-out rows still stand in
        the source that they were taken from.
        """
        s = self._settings()
        shown = [self._folder / "datasets", self._folder / "jobs", *self.also]
        return Mounts(
            self._workspace,
            read_only=[p for p in shown if p.exists()],
            hidden=[s.state, *s.closed_dirs],
        )
