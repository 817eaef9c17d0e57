"""What the host sees of a sandbox's processes while an attack runs."""

from __future__ import annotations

import os
import re
import threading
import time
from contextlib import suppress
from pathlib import Path

SCAN_S = 0.08
TMPFS = ("tmp", "dev/shm", "var/tmp", "home/intern")


WALLS = (b"bwrap", b"docker", b"env", b"sh", b"setpriv", b"prlimit", b"mkdir", b"")
"""Programs by which the host builds the walls, or that have ended."""


class Watch:
    """Looks at all processes again and again and knows those of the sandbox by their folder or their words.

    Attributes:
        processes, resident_mb: The most that was seen since `reset`.
        faults: A process of the sandbox that had a right or a namespace of the host.
        seen: The processes of the sandbox that were looked at.
        marked: Those among them that an attack left to stay.
    """

    def __init__(self, folder: Path, walls: bool, host_is_root: bool) -> None:
        self._word, self._mark = os.fsencode(folder / "state/sessions/this"), os.fsencode(folder.name[-8:])
        self._walls, self._root = walls, host_is_root
        self._strangers: dict[int, int] = {}
        self._namespaces = {
            name: str(Path(f"/proc/self/ns/{name}").readlink()) for name in ("net", "pid", "mnt", "ipc")
        }
        self._lock = threading.Lock()
        self.reset()
        threading.Thread(target=self._run, name="watch", daemon=True).start()

    def reset(self) -> None:
        """Forget what was seen."""
        self.processes, self.resident_mb, self.seen, self.marked = 0, 0.0, set[int](), set[int]()
        self.faults: list[str] = []
        self._suspected = set[str]()
        self._strangers.clear()

    def look(self) -> set[int]:
        """The processes of the sandbox now."""
        with self._lock:
            here = {
                pid
                for pid in (int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit())
                if self._is_ours(pid)
            }
            resident, shared = 0.0, 0.0
            for pid in here:
                anonymous, shm = self._judge(pid)
                resident, shared = resident + anonymous, max(shared, shm)
            tmpfs = max((self._tmpfs(pid) for pid in list(here)[:3]), default=0.0)
            self.processes = max(self.processes, len(here))
            self.resident_mb = max(self.resident_mb, resident + max(shared, tmpfs))
            self.seen |= here
            return here

    def _run(self) -> None:
        while True:
            self.look()
            time.sleep(SCAN_S)

    def _is_ours(self, pid: int) -> bool:
        if pid == os.getpid() or self._strangers.get(pid, 0) > 4:
            return False
        words = b""
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        program = words.split(b"\0")[0].rpartition(b"/")[2]
        place = b""
        with suppress(OSError):
            place = os.fsencode(Path(f"/proc/{pid}/cwd").readlink())
        # The wall itself, its client and the supervisor are of the host.
        ours = program not in WALLS
        ours = ours and b"ml_intern.jobs.supervisor" not in words and b"--inside" not in words
        marked = ours and b"sandboxed-" + self._mark in words
        if marked:
            self.marked.add(pid)
        ours = ours and (self._word in place or marked)
        if not ours:
            self._strangers[pid] = self._strangers.get(pid, 0) + 1
        return ours

    def _judge(self, pid: int) -> tuple[float, float]:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            spaces = {name: str(Path(f"/proc/{pid}/ns/{name}").readlink()) for name in self._namespaces}
        except OSError:
            return 0.0, 0.0
        sizes = {k: float(v) / 1024 for k, v in re.findall(r"(RssAnon|RssShmem):\s+(\d+)", status)}
        with suppress(OSError):  # what several processes share counts once
            rolled = Path(f"/proc/{pid}/smaps_rollup").read_text()
            sizes["RssAnon"] = float(re.search(r"Pss_Anon:\s+(\d+)", rolled)[1]) / 1024  # type: ignore[index]
        if self._walls:
            self._fault(pid, status, spaces)
        return sizes.get("RssAnon", 0.0), sizes.get("RssShmem", 0.0)

    def _fault(self, pid: int, status: str, spaces: dict[str, str]) -> None:
        field = dict(re.findall(r"^(\w+):\t(.*)$", status, re.MULTILINE))
        if field["State"].startswith(("Z", "X")):
            return
        told = [
            f"shares the host's {name} namespace" for name in spaces if spaces[name] == self._namespaces[name]
        ]
        if int(field["CapEff"], 16):
            told.append(f"has capabilities {field['CapEff']}")
        if field["NoNewPrivs"] != "1":
            told.append("may get new rights from setuid programs")
        if self._root and "0" in field["Uid"].split():
            told.append("is root")
        with suppress(OSError):
            routes = Path(f"/proc/{pid}/net/route").read_text().splitlines()[1:]
            if routes:
                told.append(f"has {len(routes)} network routes")
        # Twice: what is becoming a wall, or a process of the sandbox, has the host's rights for a moment.
        suspected = {f"process {pid} {what}" for what in told}
        self.faults += sorted(suspected & self._suspected)
        self._suspected |= suspected

    @staticmethod
    def _tmpfs(pid: int) -> float:
        used = 0.0
        for folder in TMPFS:
            with suppress(OSError):
                found = os.statvfs(Path(f"/proc/{pid}/root", folder))
                used += (
                    (found.f_blocks - found.f_bfree) * found.f_frsize / 2**20
                    if found.f_blocks < 1 << 22
                    else 0
                )
        return used
