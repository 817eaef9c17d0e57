"""What every sandbox offers: a kernel's process, files in and out, and a job's process in the same walls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol


@dataclass(frozen=True)
class Limits:
    """What a sandbox may use. Sizes in MB (2**20 bytes).

    Attributes:
        memory_mb: Memory of all its processes.
        processes: How many at a time.
        disk_mb: Each private folder (/tmp, home).
        file_mb: Each file that it writes, also in the workspace; by default as `disk_mb`.
    """

    memory_mb: int = 4096
    processes: int = 256
    disk_mb: int = 2048
    file_mb: int | None = None

    @property
    def file_bytes(self) -> int:
        """The largest file."""
        return (self.disk_mb if self.file_mb is None else self.file_mb) << 20


@dataclass(frozen=True)
class Mounts:
    """What code in a sandbox can see of the host, beside a read-only system.

    Attributes:
        workspace: Working folder, readable and writable, at the same path inside.
        read_only: Paths shown read-only, also where they lie under something hidden.
        writable: Paths shown writable.
        hidden: Folders of which nothing is seen (the state folder, say).
    """

    workspace: Path
    read_only: Sequence[Path] = ()
    writable: Sequence[Path] = ()
    hidden: Sequence[Path] = ()


class Process(Protocol):
    """A process in a sandbox, reached over its standard streams."""

    stdin: IO[bytes]
    stdout: IO[bytes]
    pid: int

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""

    def kill(self) -> None:
        """End the process and everything it started."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; the exit code."""


class Sandbox(Protocol):
    """A place for model-written code."""

    name: str
    isolated: bool

    def describe(self) -> str:
        """In words, what contains the code: for the person who watches."""

    def start_kernel(self, mounts: Mounts, limits: Limits) -> Process:
        """Start `kernel.py`; frames go over the streams of the process."""

    def command(
        self, argv: Sequence[str], mounts: Mounts, limits: Limits, env: Mapping[str, str] | None = None
    ) -> list[str]:
        """The argv that runs `argv` inside the walls, for a job's supervisor to start."""

    def stop(self) -> None:
        """End what still runs and remove what was made."""
