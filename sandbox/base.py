"""What every sandbox offers: a kernel's process, files in and out, and a job's process in the same walls."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol, Self


@dataclass(frozen=True)
class Limits:
    """What a sandbox may use. Sizes in MB (2**20 bytes).

    Attributes:
        memory_mb: Memory of all its processes.
        processes: How many at a time.
        disk_mb: Each private folder (/tmp, home).
        file_mb: Each file that it writes, also in the workspace; by default as `disk_mb`.
        growth_mb: What the workspace and the other writable folders may grow by; None: without end.
        cpus: Cores' worth of CPU time for all its processes; None: all there are.
        network: Whether it reaches the network; only a job's script that somebody allowed does.
        gpus: Whether it sees the machine's GPUs.
    """

    memory_mb: int = 4096
    processes: int = 256
    disk_mb: int = 2048
    file_mb: int | None = None
    growth_mb: int | None = None
    cpus: float | None = None
    network: bool = False
    gpus: bool = True

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


@dataclass(frozen=True)
class Launch:
    """How a command starts behind the walls.

    Attributes:
        argv: What to start on the host.
        end: What ends the command where killing the started process is not enough (a container lives on
            when its client is killed); nothing where it is. Safe to run twice, and after the end.
        env: Variables of the started process itself, such as the key of a remote sandbox. They stay on this
            side of the walls, and nobody writes them to a file.
    """

    argv: list[str]
    end: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)


class KernelFiles(Protocol):
    """The file that a kernel writes its cells' output to, and the one it saves variables in.

    Attributes:
        output: The path inside.
        snapshot: The path inside.
    """

    output: Path
    snapshot: Path

    def open(self) -> None:
        """Make an empty output file for a new kernel."""

    def close(self) -> None:
        """Remove the output file."""

    def unheard(self, heard: int, limit: int) -> str:
        """Of the output, what lies after the first `heard` bytes: some `limit` bytes, the end among them."""

    def has_snapshot(self) -> bool:
        """Whether a kernel left a snapshot."""

    def drop_snapshot(self) -> None:
        """Remove the snapshot."""


class Process(Protocol):
    """A process in a sandbox, reached over its standard streams.

    Attributes:
        pid: Its number on this machine; 0 where it runs on another.
    """

    stdin: IO[bytes]
    stdout: IO[bytes]
    pid: int

    @property
    def reason(self) -> str:
        """Why it ended, where more is known than an exit code says."""

    def pids(self) -> set[int]:
        """The numbers on this machine of all that runs for it."""

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""

    def kill(self) -> None:
        """End the process and everything it started."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; the exit code."""

    def last_words(self) -> str:
        """The end of what it wrote to its error stream."""


class Sandbox(Protocol):
    """A place for model-written code.

    Attributes:
        name: The kind, as `--sandbox` takes it.
        isolated: Whether anything is contained.
        python: The interpreter inside.
    """

    name: str
    isolated: bool
    python: str

    def describe(self) -> str:
        """In words, what contains the code: for the person who watches."""

    def start_kernel(self, mounts: Mounts, limits: Limits) -> Process:
        """Start `kernel.py`; frames go over the streams of the process."""

    def launch(
        self, argv: Sequence[str], mounts: Mounts, limits: Limits, env: Mapping[str, str] | None = None
    ) -> Launch:
        """How to run `argv` inside the walls, in the workspace: for a job's supervisor to start."""

    def launcher_env(self) -> dict[str, str]:
        """The variables of every `Launch`: also what ends a job of an earlier host needs them."""

    def kernel_files(self, mounts: Mounts) -> KernelFiles:
        """The files of a kernel with these mounts."""

    def push(self, mounts: Mounts) -> None:
        """Bring in what the host changed in the workspace since the last exchange."""

    def pull(self, mounts: Mounts) -> None:
        """Take out what the code inside changed in the workspace since the last exchange."""

    def stop(self) -> None:
        """End what still runs and remove what was made."""

    def beside(self) -> Sandbox:
        """Where another kernel can run that must not write what this one's kernel writes.

        This one itself, where the walls stand around each kernel; whoever gets another one stops it.
        """

    def own(self, session: Path, workspace: Path) -> None:
        """Say whose it is, before anything is started: another process knows by that what is left of it.

        Args:
            session: Folder of the session.
            workspace: Where its cells and commands run. Jobs run elsewhere, and outlive them.
        """

    def recover(self, kernel: Mapping[str, Any]) -> bool:
        """End what a dead process of the session left running, jobs apart; its lock is held meanwhile.

        Args:
            kernel: What `running` told of the last kernel, where that may be taken over; else nothing.

        Returns:
            Whether the next kernel that is started is that one, with its variables.
        """

    def running(self) -> dict[str, Any]:
        """What another process needs to take over the kernel; nothing where it ends with this process."""


def mark_of(session: Path) -> str:
    """What stands on all that runs for a session; it tells nobody where the session lies."""
    return hashlib.sha256(str(session.absolute()).encode()).hexdigest()[:16]


class SharesFolders:
    """What sandboxes on this machine have in common: host and kernel see the same workspace."""

    python = sys.executable
    owner: str = ""
    home: Path | None = None

    def own(self, session: Path, workspace: Path) -> None:
        """Remember whose it is."""
        self.owner, self.home = mark_of(session), workspace.absolute()

    def is_job(self, mounts: Mounts) -> bool:
        """Whether what runs in these mounts outlives the session's process."""
        return mounts.workspace.absolute() != self.home

    def recover(self, kernel: Mapping[str, Any]) -> bool:
        """The system ends all with the process that had started it; there is nothing to take over."""
        return False

    def running(self) -> dict[str, Any]:
        """Nothing: it ends with this process."""
        return {}

    def beside(self) -> Self:
        """This one: each kernel has mounts of its own."""
        return self

    def launcher_env(self) -> dict[str, str]:
        """None are needed."""
        return {}

    def kernel_files(self, mounts: Mounts) -> KernelFiles:
        """Files in a folder of the workspace."""
        from ml_intern.sandbox.shared import SharedFiles

        return SharedFiles(mounts.workspace)

    def push(self, mounts: Mounts) -> None:
        """Nothing to do."""

    def pull(self, mounts: Mounts) -> None:
        """Nothing to do."""
