"""Walls of Docker: a container without network, rights or credentials, on a read-only image."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_intern.errors import InternError
from ml_intern.sandbox.base import Launch, Limits, Mounts, SharesFolders
from ml_intern.sandbox.container import KERNEL_INSIDE, Container, check_mounts
from ml_intern.sandbox.engine import Engine
from ml_intern.sandbox.image import IMAGE, find_image
from ml_intern.sandbox.ownership import hand_over, sandbox_user
from ml_intern.sandbox.process import HostProcess, Spawner
from ml_intern.sandbox.tree import below


class DockerSandbox(SharesFolders):
    """Runs code in containers of the Docker engine on this machine; no port is published.

    Args:
        image: Name of the image.
        say: Told of the build where `IMAGE` is not there yet; without it nothing is built.

    Raises:
        Denied: There is no engine that can be used, or no image; says what mends it.
    """

    name = "docker"
    isolated = True

    def __init__(self, image: str = IMAGE, say: Callable[[str], None] | None = None) -> None:
        self._engine = Engine.find()
        self._image = find_image(self._engine, image, say)
        self.python = self._image.python
        self._engine.sweep()
        self._spawner = Spawner()

    def describe(self) -> str:
        """What contains the code."""
        told = f"Docker ({self._image.name}): no network, no credentials, no rights, read-only image"
        told += ", private /tmp and home"
        if missing := self._engine.unbounded():
            told += f"; WARNING: this engine sets no limit of {', '.join(missing)}"
        if not self._engine.has("seccomp"):
            told += "; WARNING: this engine filters no system calls"
        if not self._image.filter():
            told += "; WARNING: only the engine's own filter of system calls, libseccomp is not installed"
        return told

    def start_kernel(self, mounts: Mounts, limits: Limits) -> HostProcess:
        """Start the kernel in a container."""
        container = self._container(mounts, limits, self.owner)
        argv = container.argv([self.python, "-I", KERNEL_INSIDE], kernel=True)
        return self._spawner.start(lambda: KernelProcess(self._engine, container.name, argv))

    def launch(
        self, argv: Sequence[str], mounts: Mounts, limits: Limits, env: Mapping[str, str] | None = None
    ) -> Launch:
        """How to run `argv` in a container, in the workspace.

        The container ends with the thread that starts it: a supervisor starts it from its main thread.
        """
        container = self._container(mounts, limits, "" if self.is_job(mounts) else self.owner)
        return Launch(container.argv(argv, env), self._engine.remove(container.name))

    def recover(self, kernel: Mapping[str, Any]) -> bool:
        """End the containers of a dead process. Their guards do it, too, but nobody waits for those."""
        if self.owner:
            self._engine.end_of(self.owner)
        return False

    def stop(self) -> None:
        """End the kernels."""
        self._spawner.stop()

    def _container(self, mounts: Mounts, limits: Limits, owner: str) -> Container:
        check_mounts(mounts)  # first: of what cannot be shown, nothing is handed over either
        return Container(self._engine, self._image, mounts, limits, self._user(mounts), owner)

    def _user(self, mounts: Mounts) -> tuple[int, int]:
        """Who the code is: nobody who may do more than the person, and never the host's root."""
        if self._engine.has("rootless"):
            return 0, 0  # a rootless engine's root is the person who runs it
        if os.geteuid() != 0:
            return os.geteuid(), os.getegid()
        user = sandbox_user(Path(mounts.workspace))
        try:
            hand_over([mounts.workspace, *mounts.writable], user)
        except OSError as error:
            raise InternError(
                f"{str(mounts.workspace)!r} cannot be given to the sandbox's user: {error.strerror}.",
                "Choose a workspace on a disk where root may change owners.",
            ) from None
        return user


class KernelProcess(HostProcess):
    """The client of a kernel's container.

    Args:
        engine: Who runs the container.
        container: Its name.
        argv: What starts it.
    """

    def __init__(self, engine: Engine, container: str, argv: Sequence[str]) -> None:
        self._engine, self._container = engine, container
        self._first = 0
        super().__init__(argv, end=engine.remove(container))

    def pids(self) -> set[int]:
        """The host's numbers of the client's processes and of those inside, which are no children of it."""
        if not self._first:
            asked = self._engine.ask("inspect", "--format", "{{.State.Pid}}", "--", self._container)
            self._first = int(asked.stdout.strip() or 0) if asked.returncode == 0 else 0
        roots = {self.pid, self._first} - {0}
        return roots.union(*(below(root) for root in roots))

    def last_words(self) -> str:
        """What the kernel wrote to its error stream, or in a line why its container did not start."""
        said = super().last_words()
        return plain_words(said) if self.poll() in (125, 126, 127) else said


REASONS = (
    (
        r"bind source path does not exist: (.*?)\.?$|[Mm]ounts denied.*?path (\S+)|path (\S+) is not shared",
        "Docker does not see {0!r}: share the folder with it (Docker Desktop: Settings, Resources, File "
        "sharing), or choose a workspace that it sees",
    ),
    (
        r'exec:? "?([^" :]+)"?:? (?:[Nn]o such file|executable file not found|stat .*no such file)',
        "the image has no {0}: build it again (ml-intern doctor --build)",
    ),
    (
        r"No such image|Unable to find image",
        "the image is not there any more: build it again (ml-intern doctor --build)",
    ),
)


def plain_words(said: str) -> str:
    """The client's last words in one line: what is wrong, and what to do where that is known."""
    for pattern, words in REASONS:
        if found := re.search(pattern, said, re.MULTILINE):
            return words.format(*(part for part in found.groups() if part))
    lines = [line for line in said.splitlines() if line.strip() and "--help'" not in line]
    return re.sub(r"^docker: (Error response from daemon: )?", "", lines[-1]).rstrip(".") if lines else ""
