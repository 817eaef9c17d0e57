"""Limits for a whole sandbox: memory and processes, through a control group where one can be made."""

from __future__ import annotations

import itertools
import os
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ml_intern.sandbox.base import Limits

ROOT = Path("/sys/fs/cgroup")
PREFIX = "ml-intern-"
STALE_S = 60.0
"""An empty group is somebody's only for the moment between its making and its first process."""

REMOVALS, REMOVAL_S = 10, 0.02

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


@dataclass(frozen=True)
class Groups:
    """Where groups can be made: one folder (version 2) or one a controller (version 1); and those made."""

    version: int
    memory: Path
    pids: Path
    made: list[str] = field(default_factory=list, compare=False)

    def enter(self, limits: Limits) -> list[str]:
        """The start of an argv that runs the rest of it in a new group."""
        name = _fresh_name()
        self.made.append(name)
        steps = self._steps(self.memory / name, self.pids / name, limits)
        return ["/bin/sh", "-c", ENTER, "ml-intern", *(str(part) for step in steps for part in step), "--"]

    def _steps(self, memory: Path, pids: Path, limits: Limits) -> list[tuple[Path, str, str]]:
        size, count = str(limits.memory_mb << 20), str(limits.processes)
        if self.version == 2:
            swap = [(memory, "memory.swap.max", "0")] if (self.memory / "memory.swap.max").exists() else []
            return [
                (memory, "memory.max", size),
                *swap,
                (pids, "pids.max", count),
                (memory, "cgroup.procs", "self"),
            ]
        both = [(memory, "memory.memsw.limit_in_bytes", size)]
        return [
            (memory, "memory.limit_in_bytes", size),
            *(both if (self.memory / "memory.memsw.limit_in_bytes").exists() else []),
            (pids, "pids.max", count),
            (memory, "cgroup.procs", "self"),
            (pids, "cgroup.procs", "self"),
        ]

    def remove(self) -> None:
        """Remove the groups that `enter` named; one that stays in use (a job's) is left for a later sweep."""
        left = {folder / name for name in self.made for folder in (self.memory, self.pids)}
        self.made.clear()
        for _ in range(REMOVALS):
            left = {group for group in left if not _removed(group)}
            if not left:
                return
            time.sleep(REMOVAL_S)  # what was killed takes a moment to go

    def sweep(self) -> None:
        """Remove the empty groups of sandboxes that ended; one in use cannot be removed."""
        for folder in {self.memory, self.pids}:
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


def find_groups() -> Groups | None:
    """Where this process may make groups with limits; None where it may not."""
    own = _own_groups()
    choices = []
    if "memory" in own and "pids" in own:
        choices.append(Groups(1, ROOT / "memory" / own["memory"], ROOT / "pids" / own["pids"]))
    if "" in own:
        # A group with processes of its own cannot limit children (version 2), but its parent can.
        here = ROOT / own[""]
        choices += [
            Groups(2, folder, folder)
            for folder in (here.parent, here, ROOT)
            if ROOT in (folder, *folder.parents)
        ]
    return next((groups for groups in choices if _works(groups)), None)


def _own_groups() -> dict[str, str]:
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return {}
    found: dict[str, str] = {}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        found.update({name: path.lstrip("/") for name in controllers.split(",")})
    return found


def _works(groups: Groups) -> bool:
    name = _fresh_name("probe-")
    made: list[Path] = []
    try:
        for folder in dict.fromkeys((groups.memory, groups.pids)):
            (folder / name).mkdir()
            made.append(folder / name)
        for folder, file, value in groups._steps(groups.memory / name, groups.pids / name, Limits()):
            if value != "self":
                with (folder / file).open(
                    "r+"
                ) as limit:  # "w" would make a file where the controller is missing
                    limit.write(value)
        return os.access(groups.memory / name / "cgroup.procs", os.W_OK)
    except OSError:
        return False
    finally:
        for folder in made:
            with suppress(OSError):
                folder.rmdir()
