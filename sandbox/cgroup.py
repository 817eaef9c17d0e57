"""Limits for a whole sandbox: memory, processes and CPU time, by a control group where one can be made."""

from __future__ import annotations

import itertools
import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ml_intern.sandbox.base import Limits

ROOT, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
PROBE_S = 10.0
PREFIX = "ml-intern-"
STALE_S = 60.0
"""An empty group is somebody's only for the moment between its making and its first process."""

REMOVALS, REMOVAL_S = 10, 0.02

PERIOD_US = 100_000
"""CPU time is shared out in such periods: a group that has used up its part waits for the next one."""
LEAST_CPU_US = 1_000

# No name comes twice: threads of one process, and containers that share this tree and count pids alike.
_mark = secrets.token_hex(3)
_numbers = itertools.count(1)

# Makes the groups, enters them and becomes the command: arguments are triples of folder, file and value up to
# a lone "--". It runs in the process that is limited: a supervisor can start it when this host is gone.
# Between making and entering, a group is empty and somebody may sweep it away: then all is done once more.
ENTER = """
attempt() {
  while [ "$1" != -- ]; do
    mkdir -p "$1" || return 1
    case "$3" in self) value=$$ ;; *) value=$3 ;; esac
    echo "$value" > "$1/$2" || return 1
    shift 3
  done
}
attempt "$@" 2> /dev/null || attempt "$@" 2> /dev/null || attempt "$@" || exit 125
while [ "$1" != -- ]; do shift 3; done
shift
exec "$@"
"""


Step = tuple[Path, str, str]
"""A group's folder, a file in it, and what to write there."""


@dataclass(frozen=True)
class Groups:
    """Where groups can be made: one folder (version 2) or one a controller (version 1); and those made.

    Attributes:
        version: 1 or 2.
        memory: The folder for limits of memory.
        pids: The folder for limits of processes.
        cpu: The folder for limits of CPU time; None: there can be none.
        made: The names that `enter` gave.
    """

    version: int
    memory: Path
    pids: Path
    cpu: Path | None = None
    made: list[str] = field(default_factory=list, compare=False)

    @property
    def folders(self) -> list[Path]:
        """Each folder once."""
        return list(dict.fromkeys(f for f in (self.memory, self.pids, self.cpu) if f))

    def enter(self, limits: Limits, word: str = "") -> list[str]:
        """The start of an argv that runs the rest of it in a new group."""
        name = _fresh_name(word)
        self.made.append(name)
        steps = [*self._bounds(name, limits), *self._entries(name, limits)]
        return ["/bin/sh", "-c", ENTER, "ml-intern", *(str(part) for step in steps for part in step), "--"]

    def _bounds(self, name: str, limits: Limits) -> list[Step]:
        memory, size = self.memory / name, str(limits.memory_mb << 20)
        processes = (self.pids / name, "pids.max", str(limits.processes))
        # Swap would let memory grow beyond its limit; where it is not counted there is no such file.
        if self.version == 2:
            swap = [(memory, "memory.swap.max", "0")] if (self.memory / "memory.swap.max").exists() else []
            return [(memory, "memory.max", size), *swap, processes, *self._cpu_bounds(name, limits)]
        both = "memory.memsw.limit_in_bytes"
        swap = [(memory, both, size)] if (self.memory / both).exists() else []
        return [
            (memory, "memory.limit_in_bytes", size), *swap, processes, *self._cpu_bounds(name, limits)
        ]  # fmt: skip

    def _cpu_bounds(self, name: str, limits: Limits) -> list[Step]:
        if self.cpu is None or not limits.cpus:
            return []
        part = str(max(LEAST_CPU_US, round(limits.cpus * PERIOD_US)))
        if self.version == 2:
            return [(self.cpu / name, "cpu.max", f"{part} {PERIOD_US}")]
        return [
            (self.cpu / name, "cpu.cfs_period_us", str(PERIOD_US)),
            (self.cpu / name, "cpu.cfs_quota_us", part),
        ]

    def _entries(self, name: str, limits: Limits) -> list[Step]:
        folders = [f for f in self.folders if f != self.cpu or limits.cpus or f == self.memory]
        return [(folder / name, "cgroup.procs", "self") for folder in folders]

    def remove(self) -> None:
        """Remove the groups that `enter` named; one that stays in use (a job's) is left for a later sweep."""
        left = {folder / name for name in self.made for folder in self.folders}
        self.made.clear()
        for _ in range(REMOVALS):
            left = {group for group in left if not _removed(group)}
            if not left:
                return
            time.sleep(REMOVAL_S)  # what was killed takes a moment to go

    def sweep(self) -> None:
        """Remove the empty groups of sandboxes that ended; one in use cannot be removed."""
        for folder in self.folders:
            for group in folder.glob(f"{PREFIX}*"):
                with suppress(OSError):
                    if time.time() - group.stat().st_mtime > STALE_S:
                        group.rmdir()


def _removed(group: Path) -> bool:
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _fresh_name(word: str = "") -> str:
    return f"{PREFIX}{word}{os.getpid()}-{_mark}-{next(_numbers)}"


def find_groups(root: Path = ROOT, own: Path = OWN) -> Groups | None:
    """Where this process may make groups with limits; None where it may not.

    Args:
        root: Where control groups are mounted.
        own: The file that says in which groups this process is.
    """
    return next((groups for groups in _choices(root, _own_groups(own)) if _works(groups)), None)


def _choices(root: Path, own: dict[str, str]) -> Iterator[Groups]:
    if "memory" in own and "pids" in own:
        memory, pids = (root / kind / own[kind] for kind in ("memory", "pids"))
        if "cpu" in own and (cpu := root / "cpu" / own["cpu"]).is_dir():
            yield Groups(1, memory, pids, cpu)
        yield Groups(1, memory, pids)
    if "" in own:
        # A group with processes of its own cannot limit children (version 2), but its parent can.
        here = root / own[""]
        for folder in dict.fromkeys((here.parent, here, root)):
            if root in (folder, *folder.parents):
                _hand_down(folder)
                yield Groups(2, folder, folder, folder)
                yield Groups(2, folder, folder)


def _hand_down(folder: Path) -> None:
    """Let the groups below use the controllers that this one has; somebody's own it takes no limits from."""
    control = folder / "cgroup.subtree_control"
    with suppress(OSError):
        given = control.read_text().split()
        for kind in {"memory", "pids", "cpu"} - set(given):
            with suppress(OSError), control.open("r+") as file:  # one by one: another may be missing here
                file.write(f"+{kind}")


def _own_groups(own: Path) -> dict[str, str]:
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return {}
    found: dict[str, str] = {}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        found.update({name: path.lstrip("/") for name in controllers.split(",")})
    return found


def _works(groups: Groups) -> bool:
    """Try it with a process: files can be writable and the move into the group forbidden all the same."""
    limits = Limits(cpus=1.0 if groups.cpu else None)
    if not all((folder / "cgroup.procs").exists() for folder in groups.folders):
        return False  # an ordinary folder: everything could be written and nothing would hold
    try:
        argv = [*groups.enter(limits, "probe-"), "true"]
        done = subprocess.run(argv, capture_output=True, check=False, timeout=PROBE_S)
        return done.returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
    finally:
        groups.remove()
