"""Walls on this machine: bubblewrap, with no network, no credential and next to nothing of the host."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ml_intern.errors import Denied, InternError
from ml_intern.sandbox.base import Limits, Mounts
from ml_intern.sandbox.cgroup import find_groups
from ml_intern.sandbox.environment import KERNEL, clean_environment
from ml_intern.sandbox.ownership import hand_over, sandbox_user
from ml_intern.sandbox.process import HostProcess, Spawner
from ml_intern.sandbox.walls import HOME, TEMPORARY, Walls

INSTALL = "Install bubblewrap (apt install bubblewrap), or say --sandbox none to run without walls."

NO_ENVIRONMENT = ("/usr/bin/env", "-i", "PATH=/usr/bin:/bin")
"""Before bubblewrap too: it is process 1 inside, and what runs as the same user reads /proc/1/environ."""


class LocalSandbox:
    """Runs code behind bubblewrap.

    A root host binds without a user namespace and drops to a user of its own inside; an ordinary user gets
    all namespaces and no way to make more. Memory and processes are limited as a whole by a control group;
    where none can be made, limits hold for each process, and `describe` says so.

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
        self._walls = Walls(self._as_root, "--disable-userns" in _help(), shutil.which("bwrap") or "bwrap")
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
        trial = "--unshare-pid --unshare-net --ro-bind / / --proc /proc --dev /dev true"
        done = subprocess.run(
            [bwrap, *trial.split()], capture_output=True, text=True, check=False, timeout=30
        )
        if done.returncode:
            return f"bubblewrap cannot make a sandbox here ({done.stderr.strip() or done.returncode})."
        return ""

    def describe(self) -> str:
        """What contains the code."""
        told = "bubblewrap: no network, no credentials, read-only system, private /tmp and home"
        if self._groups is None:
            told += "; WARNING: no control group can be made, limits hold for each process, not for the whole"
        return told

    def start_kernel(self, mounts: Mounts, limits: Limits) -> HostProcess:
        """Start the kernel behind the walls."""
        argv = self.command([sys.executable, "-I", str(KERNEL)], mounts, limits)
        return self._spawner.start(lambda: HostProcess(argv))

    def command(
        self, argv: Sequence[str], mounts: Mounts, limits: Limits, env: Mapping[str, str] | None = None
    ) -> list[str]:
        """The argv that runs `argv` behind the walls, in the workspace.

        The walls fall with the thread that starts it: a supervisor starts it from its main thread.
        """
        inside = clean_environment(HOME, TEMPORARY, env)
        enter = self._groups.enter(limits) if self._groups else []
        walls = self._walls.argv(mounts, limits, inside)
        return [*NO_ENVIRONMENT, *enter, *walls, *self._bounds(limits), *self._drop(mounts), *argv]

    def stop(self) -> None:
        """End the kernels and remove their groups."""
        self._spawner.stop()
        if self._groups:
            self._groups.remove()

    def _bounds(self, limits: Limits) -> list[str]:
        """Limits of each process: no core files, no huge files; without a group memory and processes."""
        prlimit = shutil.which("prlimit")
        if prlimit is None:
            return []
        each = [] if self._groups else [f"--data={limits.memory_mb << 20}", f"--nproc={limits.processes}"]
        return [prlimit, "--core=0", f"--fsize={limits.file_bytes}", *each, "--"]

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


def _help() -> str:
    return subprocess.run(["bwrap", "--help"], capture_output=True, text=True, check=False).stdout
