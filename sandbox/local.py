"""Walls on this machine: bubblewrap, with no network, no credential and next to nothing of the host."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ml_intern.errors import Denied, InternError
from ml_intern.sandbox import seccomp
from ml_intern.sandbox.base import Launch, Limits, Mounts, SharesFolders
from ml_intern.sandbox.cgroup import find_groups
from ml_intern.sandbox.environment import KERNEL, clean_environment
from ml_intern.sandbox.ownership import hand_over, sandbox_user
from ml_intern.sandbox.process import HostProcess, Spawner
from ml_intern.sandbox.walls import HOME, TEMPORARY, Walls

INSTALL = "Install bubblewrap (apt install bubblewrap), or say --sandbox none to run without walls."

LANDLOCK = Path(__file__).resolve().with_name("landlock.py")

INSTALL_SECCOMP = "libseccomp is not installed (apt install libseccomp2)"

DESCRIPTORS = 16_384
"""Open files of one process: many data loaders' worth, and too few to be a burden for the machine."""

NO_ENVIRONMENT = ("/usr/bin/env", "-i", "PATH=/usr/bin:/bin")
"""Before bubblewrap too: it is process 1 inside, and what runs as the same user reads /proc/1/environ."""


class LocalSandbox(SharesFolders):
    """Runs code behind bubblewrap.

    A root host binds without a user namespace and drops to a user of its own inside; an ordinary user gets
    all namespaces and no way to make more. A filter of system calls keeps both from making namespaces and
    from the parts of the kernel that ways out begin with. Memory, processes and CPU time are limited as a
    whole by a control group; where none can be made, limits hold for each process. `describe` says what is
    missing.

    The network, for a job that was given it, is the host's own, loopback included; the host's abstract
    sockets, which belong to it, are kept out by Landlock where the system has that.

    Raises:
        Denied: bubblewrap is missing or may not make namespaces here.
    """

    name = "local"
    isolated = True

    def __init__(self) -> None:
        problem = self.problem()
        if problem:
            raise Denied(problem, INSTALL)
        self._as_root = os.geteuid() == 0
        nesting, bwrap = "--disable-userns" in _help(), shutil.which("bwrap") or "bwrap"
        filter_fd = seccomp.DESCRIPTOR if seccomp.filter_file() else None
        self._walls = Walls(self._as_root, nesting, bwrap, filter_fd)
        self._groups = find_groups()
        if self._groups:
            self._groups.sweep()
        self._spawner = Spawner()

    @staticmethod
    def problem() -> str:
        """Why bubblewrap cannot be used here; nothing where it can."""
        bwrap = shutil.which("bwrap")
        if bwrap is None:
            return "bubblewrap is not installed."
        if "--size" not in _help():
            return "bubblewrap is too old, 0.6 or newer is needed."
        if os.geteuid() == 0 and shutil.which("setpriv") is None:
            return "setpriv (util-linux) is not installed, so a root host cannot drop its rights."
        trial = Walls(os.geteuid() == 0, "--disable-userns" in _help(), bwrap).trial()
        done = subprocess.run(trial, capture_output=True, text=True, check=False, timeout=30)
        if done.returncode:
            return f"bubblewrap cannot make a sandbox here ({done.stderr.strip() or done.returncode})."
        return ""

    def describe(self) -> str:
        """What contains the code, and what does not."""
        told = "bubblewrap: no network, no credentials, read-only system, private /tmp and home"
        return "; WARNING: ".join([told, *self._gaps()])

    def _gaps(self) -> Iterator[str]:
        """What is not bounded here, and why."""
        if self._groups is None:
            yield (
                "no control group can be made: memory is bounded for each process and not for all together, "
                "CPU time and the number of files in /tmp and home are not bounded"
            )
        elif self._groups.cpu is None:
            yield "CPU time is not bounded: the control groups here have no cpu controller"
        if self._walls.filter_fd is None:
            why = "the cache folder cannot be written" if seccomp.filter_program() else INSTALL_SECCOMP
            yield f"system calls are not filtered: {why}"

    def start_kernel(self, mounts: Mounts, limits: Limits) -> HostProcess:
        """Start the kernel behind the walls."""
        launch = self.launch([sys.executable, "-I", str(KERNEL)], mounts, limits)
        return self._spawner.start(lambda: HostProcess(launch.argv))

    def launch(
        self, argv: Sequence[str], mounts: Mounts, limits: Limits, env: Mapping[str, str] | None = None
    ) -> Launch:
        """How to run `argv` behind the walls, in the workspace.

        The walls fall with the thread that starts it: a supervisor starts it from its main thread.
        """
        inside = clean_environment(HOME, TEMPORARY, env)
        enter = self._groups.enter(limits) if self._groups else []
        opening = [] if self._walls.filter_fd is None else seccomp.opening()
        walls = self._walls.argv(mounts, limits, inside)
        bounds = [*self._bounds(limits), *self._drop(mounts)]
        apart = [sys.executable, "-I", "-S", str(LANDLOCK)] if limits.network else []
        return Launch([*NO_ENVIRONMENT, *enter, *opening, *walls, *bounds, *apart, *argv])

    def stop(self) -> None:
        """End the kernels and remove their groups."""
        self._spawner.stop()
        if self._groups:
            self._groups.remove()

    def _bounds(self, limits: Limits) -> list[str]:
        """Limits of each process: files, descriptors, no cores; without a group memory and processes too."""
        prlimit = shutil.which("prlimit")
        if prlimit is None:
            return []
        each = {"core": 0, "fsize": limits.file_bytes, "nofile": DESCRIPTORS, "msgqueue": 0, "rtprio": 0}
        if self._groups is None:
            each |= {"data": limits.memory_mb << 20, "nproc": limits.processes}
        return [prlimit, *(f"--{name}={_allowed(name, value)}" for name, value in each.items()), "--"]

    def _drop(self, mounts: Mounts) -> list[str]:
        """Where the host is root: become a user without rights, who owns what is writable."""
        if not self._as_root:
            return []
        user, group = sandbox_user(Path(mounts.workspace))
        try:
            hand_over([mounts.workspace, *mounts.writable], (user, group))
        except OSError as error:
            raise InternError(
                f"{str(mounts.workspace)!r} cannot be given to the sandbox's user: {error.strerror}.",
                "Choose a workspace on a disk where root may change owners.",
            ) from None
        rights = ["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", "--clear-groups"]
        return [shutil.which("setpriv") or "setpriv", f"--reuid={user}", f"--regid={group}", *rights, "--"]


def _allowed(name: str, value: int) -> int:
    """The value, or the host's own limit where that is lower: it cannot be raised."""
    hard = resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}"))[1]
    return value if hard == resource.RLIM_INFINITY else min(value, hard)


def _help() -> str:
    return subprocess.run(["bwrap", "--help"], capture_output=True, text=True, check=False).stdout
