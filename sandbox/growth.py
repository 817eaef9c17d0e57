"""Watches what folders grow by, and is cheap about it. Standard library only: a job's supervisor uses it.

Limits of a process bound one file and not their number, and quotas are not there to be had on most machines.
So somebody looks. Several times a second the file system is asked how much space and how many inodes it has
left; only when it lost more than the folders may still grow by are their files counted. Other processes use
the same disk: what they take makes a count happen, and never a stop.

Counted are the blocks of each file, for whatever has a name at least an inode's share of the disk, and files
without a name that a process still holds open. Not seen are such files of processes that an ordinary host may
not look into.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from ml_intern.sandbox.walk import walk

PAUSE_S = 0.2
"""Between two looks; more often costs nothing and tells nothing."""

UNIT = 4096
"""An empty file takes no block, but an inode, and most file systems have a number of these: it counts as its
share of the disk, mostly 16 kB, and as this where the number has no end."""

ROOM = 0.9
"""However much is allowed, so much of what the disk has left is not to be passed."""

SLACK = 16 << 20
"""Who is over the limit must be able to do something about it, and a little room is needed for that."""

REST = 5
"""After a count the next one waits for as many times as long as it took."""
SELDOM_S, SELDOM = 1.0, 100
"""A count without a reason, at such intervals and so many times its length, a hundredth of a core at most: a
disk's loss tells nothing while others free what ours use."""


class Growth:
    """What folders have grown by since this was made.

    Args:
        paths: Folders and files; what is below them counts.
        limit_mb: What they may grow by together, in MB (2**20 bytes); less where the disk has less left.
        pids: The processes that write there: what they deleted and still hold open counts as well.
    """

    def __init__(
        self, paths: Iterable[Path], limit_mb: float, pids: Callable[[], Iterable[int]] = lambda: ()
    ) -> None:
        self._paths = _outermost(paths)
        self._pids = pids
        self._devices = {path.stat().st_dev: path for path in self._paths if path.exists()}
        self._shares = {device: _inode_share(path) for device, path in self._devices.items()}
        room_mb = min(map(_room, self._devices.values()), default=0) * ROOM / (1 << 20)
        self.tight = room_mb < limit_mb
        self.limit_mb = min(limit_mb, room_mb)
        self._base, _ = self._count(None)
        self._allowed = self._limit
        self._grown = 0
        self._free = self._left()
        self._next_look = self._next_count = 0.0
        self._seldom = time.monotonic() + SELDOM_S

    def over(self) -> bool:
        """Whether they grew by more than they may. Ask again and again: most answers cost microseconds."""
        now = time.monotonic()
        if now < self._next_look:
            return False
        self._next_look = now + PAUSE_S
        if now >= self._next_count and (self._suspicious() or now >= self._seldom):
            self._measure()
        return self._grown > self._allowed

    @property
    def told(self) -> str:
        """What they may grow by, in words."""
        return f"{self.limit_mb:.0f} MB" + (", nine tenths of what the disk had left" if self.tight else "")

    def renew(self) -> None:
        """Let work begin again: what is there may stay, also over the limit, and a little more may come."""
        if (
            self._grown > self._limit or self._suspicious()
        ):  # the last moment of earlier work counts as its own
            self._measure(whole=True)
        self._allowed = self._limit if self._grown <= self._limit else self._grown + SLACK

    @property
    def _limit(self) -> int:
        return int(self.limit_mb * (1 << 20))

    def _suspicious(self) -> bool:
        """The disks lost what would be too much if all of it were ours."""
        now = self._left()
        lost = sum(max(0, self._free[device] - left) for device, left in now.items() if device in self._free)
        return self._grown + lost > self._allowed

    def _left(self) -> dict[int, int]:
        """For each disk what is left, inodes as a unit each."""
        left = {}
        for device, path in self._devices.items():
            with suppress(OSError):
                disk = os.statvfs(path)
                left[device] = disk.f_bfree * disk.f_frsize + disk.f_ffree * self._shares[device]
        return left

    def _measure(self, whole: bool = False) -> None:
        began = time.monotonic()
        free = self._left()
        most = None if whole else self._base + self._allowed
        used, blind = self._count(most)
        grown = used - self._base
        if grown <= self._allowed:
            grown += _held(self._pids(), set(self._devices))
        if blind:  # Somebody closed a folder to us: then all that the disk lost may lie in it.
            grown = max(grown, self._grown + sum(self._free[d] - left for d, left in free.items()))
        self._grown, self._free = grown, free
        took = time.monotonic() - began
        self._next_count = time.monotonic() + REST * took
        self._seldom = time.monotonic() + max(SELDOM_S, SELDOM * took)

    def _count(self, most: int | None) -> tuple[int, bool]:
        """Bytes below the paths, and whether something could not be looked into; ends early above `most`."""
        total, linked, blind = 0, set(), False
        for status in _each(self._paths):
            if status is None:
                blind = True
                continue
            if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
                if (key := (status.st_dev, status.st_ino)) in linked:
                    continue
                linked.add(key)
            total += max(self._shares.get(status.st_dev, UNIT), status.st_blocks * 512)
            if most is not None and total > most:
                break
        return total, blind


def _outermost(paths: Iterable[Path]) -> list[Path]:
    """Each once, and none that lies below another."""
    given = list(dict.fromkeys(path.resolve() for path in paths))
    return [path for path in given if not any(other in path.parents for other in given)]


def _inode_share(path: Path) -> int:
    disk = os.statvfs(path)
    return max(UNIT, disk.f_blocks * disk.f_frsize // disk.f_files) if disk.f_files else UNIT


def _room(path: Path) -> int:
    """Bytes that may still be written on the disk, or as many files as there may be, by their share."""
    disk = os.statvfs(path)
    if not disk.f_blocks:
        return sys.maxsize  # a file system that does not tell
    space = disk.f_bavail * disk.f_frsize
    return min(space, disk.f_favail * _inode_share(path)) if disk.f_files else space


def _each(paths: Sequence[Path]) -> Iterator[os.stat_result | None]:
    """The status of the paths and of everything below; None for a folder that cannot be looked into."""
    for path in paths:
        with suppress(OSError):
            yield (status := path.lstat())
            if stat.S_ISDIR(status.st_mode):
                yield from (found and found.status for found in walk(path))


def _held(pids: Iterable[int], devices: set[int]) -> int:
    """Bytes of files on these disks that have no name any more and that these processes hold."""
    found: dict[tuple[int, int], int] = {}
    for pid in pids:
        with suppress(OSError):  # it is gone, or not ours to look into
            for fd in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208
                with suppress(OSError):
                    status = Path(f"/proc/{pid}/fd/{fd}").stat()
                    if status.st_nlink == 0 and status.st_dev in devices and stat.S_ISREG(status.st_mode):
                        found[status.st_dev, status.st_ino] = status.st_blocks * 512
        with suppress(OSError):
            _add_mapped(Path(f"/proc/{pid}/maps").read_bytes(), devices, found)
    return sum(found.values())


def _add_mapped(maps: bytes, devices: set[int], found: dict[tuple[int, int], int]) -> None:
    """Add deleted files that are mapped into memory; their descriptors may be closed."""
    for line in maps.splitlines():
        if not line.endswith(b" (deleted)"):
            continue
        span, _, _, device, inode, *_ = line.split(None, 5)
        major, minor = (int(part, 16) for part in device.split(b":"))
        begin, end = (int(part, 16) for part in span.split(b"-"))
        key = os.makedev(major, minor), int(inode)
        if key[0] in devices:
            found[key] = max(found.get(key, 0), end - begin)
