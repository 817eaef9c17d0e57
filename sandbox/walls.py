"""The bubblewrap command line: which parts of the host code in the sandbox sees.

The root is an empty tmpfs; what is not named here does not exist inside. Binds are laid from the shortest
path to the longest, so the most specific rule wins: a workspace inside a hidden state folder is visible, a
state folder inside a workspace is not.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ml_intern.sandbox.base import Limits, Mounts
from ml_intern.sandbox.environment import python_paths

HOME = "/home/intern"
TEMPORARY = "/tmp"

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix", "/gnu")
"""Programs and libraries; links (/bin to usr/bin) stay links."""

SYSTEM_PARTS = (
    "/sys/devices", "/sys/class", "/sys/bus", "/sys/dev", "/sys/module",
    "/opt/cuda", "/opt/nvidia", "/opt/rocm", "/opt/amdgpu", "/opt/intel",
)  # fmt: skip

ETC = (
    "alternatives", "fonts", "group", "hosts", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime",
    "mime.types", "nsswitch.conf", "OpenCL", "passwd", "pki/tls/certs", "ssl/certs", "ssl/openssl.cnf",
    "timezone", "vulkan",
)  # fmt: skip
"""Of /etc only what programs need; a pip.conf or a netrc may hold a password."""

NETWORK = ("/etc/resolv.conf", "/etc/gai.conf", "/etc/protocols", "/etc/services")
"""What names and numbers of the network are looked up in, for who may reach it."""

DEVICES = ("/dev/nvidia*", "/dev/kfd", "/dev/dri")


@dataclass
class Walls:
    """Builds the arguments of `bwrap`.

    Attributes:
        as_root: The host is root: no user namespace, since root in one is still root for files.
        no_nesting: bubblewrap knows `--disable-userns`.
        filter_fd: The descriptor that a filter of system calls is read from; None: there is none.
    """

    as_root: bool
    no_nesting: bool
    program: str = "bwrap"
    filter_fd: int | None = None
    _system: list[str] = field(default_factory=list)

    def argv(self, mounts: Mounts, limits: Limits, env: Mapping[str, str]) -> list[str]:
        """The command line up to and with the ``--`` before the command."""
        workspace = str(mounts.workspace.absolute())
        settings = [part for name, value in env.items() for part in ("--setenv", name, value)]
        sealed = ["--remount-ro", "/dev", "--remount-ro", "/"]
        head = [
            self.program,
            *self._namespaces(limits.network),
            "--die-with-parent",
            "--new-session",
            *([] if self.filter_fd is None else ["--seccomp", str(self.filter_fd)]),
            "--clearenv",
            *settings,
        ]
        return [*head, *self._base(limits), *self._binds(mounts), *sealed, "--chdir", workspace, "--"]

    def trial(self) -> list[str]:
        """A command that does next to nothing, and only where walls can be made.

        It binds the system and not the root folder: below that, Docker mounts and unmounts all the time.
        """
        system = ["--proc", "/proc", "--dev", "/dev", *self._readable_system()]
        return [self.program, *self._namespaces(network=False), *system, "--", "/bin/sh", "-c", ":"]

    def _namespaces(self, network: bool) -> list[str]:
        own = [] if self.as_root else ["user"]
        net = [] if network else ["net"]
        kinds = [*own, "ipc", "pid", *net, "uts", "cgroup-try"]
        nesting = ["--disable-userns"] if self.no_nesting and not self.as_root else []
        return [*(f"--unshare-{kind}" for kind in kinds), *nesting, "--hostname", "sandbox"]

    def _base(self, limits: Limits) -> list[str]:
        """The system, and private folders of limited size."""
        size = str(limits.disk_mb << 20)
        private = [part for folder in (TEMPORARY, "/var/tmp", HOME) for part in self._private(folder, size)]
        gpus = _existing(DEVICES) if limits.gpus else []
        devices = ["--dev", "/dev", *(part for path in gpus for part in ("--dev-bind-try", path, path))]
        lookup = _existing(NETWORK) if limits.network else []
        network = [word for path in lookup for word in _lay(path, "--ro-bind", {})]
        shared = self._private("/dev/shm", size)
        return [*self._readable_system(), *network, "--proc", "/proc", *devices, *shared, *private]

    def _readable_system(self) -> list[str]:
        if not self._system:
            for path in (Path(name) for name in SYSTEM):
                if path.is_symlink():
                    self._system += ["--symlink", str(path.readlink()), str(path)]
                elif path.is_dir():
                    self._system += ["--ro-bind", str(path), str(path)]
            parts = [*_existing(SYSTEM_PARTS), *_existing(f"/etc/{part}" for part in ETC)]
            self._system += [word for part in parts for word in _lay(part, "--ro-bind", {})]
        return self._system

    @staticmethod
    def _private(folder: str, size: str) -> list[str]:
        return ["--perms", "1777", "--size", size, "--tmpfs", folder]

    def _binds(self, mounts: Mounts) -> list[str]:
        rules: dict[str, str] = {}
        # Later ones win where two name the same path.
        for kind, paths in (
            ("--ro-bind", python_paths()),
            ("--tmpfs", mounts.hidden),
            ("--ro-bind", mounts.read_only),
            ("--bind", [*mounts.writable, mounts.workspace]),
        ):
            rules |= dict.fromkeys(_both_names(paths, missing=kind == "--tmpfs"), kind)
        laid = dict.fromkeys(SYSTEM, "--ro-bind")
        binds: list[str] = []
        for path, kind in sorted(rules.items(), key=lambda rule: (len(Path(rule[0]).parts), rule[0])):
            if kind == "--tmpfs" or kind != _nearest(path, laid):
                binds += _lay(path, kind, laid)
                laid[path] = kind
        hidden = [path for path, kind in laid.items() if kind == "--tmpfs"]
        return binds + [part for path in hidden for part in ("--remount-ro", path)]


def _lay(path: str, kind: str, laid: Mapping[str, str]) -> list[str]:
    """The arguments for one rule; folders on the way are made so that anybody can pass."""
    above = [str(folder) for folder in reversed(Path(path).parents[:-1])]
    made = [folder for folder in above if _nearest(folder, laid) in ("", "--tmpfs")]
    ways = [part for folder in made for part in ("--perms", "0755", "--dir", folder)]
    return [*ways, kind, path] if kind == "--tmpfs" else [*ways, kind, path, path]


def _nearest(path: str, laid: Mapping[str, str]) -> str:
    """What the nearest folder above already makes of a path; an empty text where nothing does."""
    above = [folder for folder in laid if path == folder or path.startswith(folder.rstrip("/") + "/")]
    return laid[max(above, key=len)] if above else ""


def _both_names(paths: Iterable[Path], missing: bool) -> Iterable[str]:
    """Each path as it was given and as it is without links: code may use either name."""
    for path in paths:
        if missing or path.exists():
            yield from dict.fromkeys((os.path.normpath(path.absolute()), str(path.resolve())))


def _existing(patterns: Iterable[str]) -> list[str]:
    return sorted(path for pattern in patterns for path in glob.glob(pattern))  # noqa: PTH207
