"""Jobs as their folders tell them, read once a second for as many pages as look on.

Nothing here asks a process: a session of last week is read as one that runs. A file is read again only where
it has changed, and of metrics only what was added.
"""

from __future__ import annotations

import os
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml_intern.errors import ToolError
from ml_intern.jobs.curves import curve, is_number, parsed
from ml_intern.jobs.diagnosis import fields_of
from ml_intern.jobs.folder import read_spec, read_status
from ml_intern.jobs.model import FINISHED, Failure, JobSpec, JobStatus
from ml_intern.jobs.rules import look
from ml_intern.jobs.runs import NOTES, Run, Seen
from ml_intern.jobs.slots import is_locked
from ml_intern.jobs.timing import seconds_left
from ml_intern.secrets.masking import mask
from ml_intern.workspace.safe_files import open_file

MOST_JOBS = 200
"""Jobs that are shown, the newest ones."""
MOST_KEPT = 1000
"""Jobs whose rows stay in memory, of all sessions together."""
METRIC_BYTES = 32 << 20
"""Of a longer file of metrics its end is read."""
LOG_BYTES = 24_000
_FIXED = ("step", "total_steps", "epoch", "time")

Rows = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class JobView:
    """A job at this moment.

    Attributes:
        status: How it stands, with step and newest metrics.
        rows: What it measured, by step.
        spec: What was asked; None where that cannot be read.
        alerts: What the rules see in its curves, notes left out.
        seconds_left: What its steps may still take.
    """

    status: JobStatus
    rows: Rows = ()
    spec: JobSpec | None = None
    alerts: Sequence[Seen] = ()
    seconds_left: float | None = None

    @property
    def id(self) -> str:
        """Its id, the name of its folder."""
        return self.status.id

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.status.state in FINISHED

    def ran_s(self, now: float) -> float:
        """How long it has run so far."""
        if self.over or self.status.started is None:
            return self.status.ran_s
        return max(0.0, now - self.status.started)

    def usd(self, now: float) -> float | None:
        """What it has cost so far; None where nobody sends a bill."""
        rate = self.spec.place.usd_per_hour if self.spec else None
        return None if rate is None else rate * self.ran_s(now) / 3600


class Course:
    """The rows of one ``metrics.jsonl``, read on from where the last look ended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._inode = 0
        self._begin(0)

    def _begin(self, offset: int) -> None:
        self.rows: list[dict[str, Any]] = []
        self.newest: dict[str, float] = {}
        self.total_steps = 0
        self._by_step: dict[int, dict[str, Any]] = {}
        self._offset = offset

    def read_on(self) -> bool:
        """Take what was added; whether that was anything. After a resume the last value of a step wins."""
        try:
            fd = open_file(self.path.parent, self.path)
        except ToolError:
            return False
        with os.fdopen(fd, "rb") as file:
            found = os.fstat(fd)
            if found.st_ino != self._inode or found.st_size < self._offset:
                self._inode = found.st_ino
                self._begin(max(0, found.st_size - METRIC_BYTES))
            if found.st_size == self._offset:
                return False
            file.seek(self._offset)
            data = file.read(METRIC_BYTES)
        end = data.rfind(b"\n") + 1
        self._offset += end
        for row in parsed(data[:end]):
            self._take(row)
        return end > 0

    def _take(self, row: dict[str, Any]) -> None:
        step = row["step"]
        if step in self._by_step:
            self._by_step[step].update(row)
        else:
            self._by_step[step] = row
            self.rows.append(row)
            if len(self.rows) > 1 and step < self.rows[-2]["step"]:
                self.rows.sort(key=lambda known: known["step"])
        self.total_steps = row.get("total_steps") or self.total_steps
        self.newest.update({k: float(v) for k, v in row.items() if is_number(v) and k not in _FIXED})


@dataclass
class _Kept:
    """What is known of one job's folder."""

    course: Course
    rows: Rows = ()
    stamp: tuple[int, int] = (0, 0)
    raw: dict[str, Any] = field(default_factory=dict)
    spec: JobSpec | None = None
    judged: tuple[int, bool] = (-1, False)
    alerts: Sequence[Seen] = ()


class JobFolders:
    """The jobs of sessions' folders. May be asked from any thread."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Path, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def jobs(self, session: Path | None, now: float) -> list[JobView]:
        """The newest jobs of a session, oldest first."""
        if session is None:
            return []
        folders = [p.parent for p in (session / "jobs").glob("[!.]*/spec.json")]
        with self._lock:
            found = [self._view(folder, now) for folder in folders]
            while len(self._kept) > max(MOST_KEPT, len(folders)):
                self._kept.popitem(last=False)
        return sorted(found, key=lambda view: (view.status.created, view.id))[-MOST_JOBS:]

    def _view(self, folder: Path, now: float) -> JobView:
        kept = self._kept.setdefault(folder, _Kept(Course(folder / "metrics.jsonl")))
        self._kept.move_to_end(folder)
        if kept.course.read_on():
            kept.rows = tuple(kept.course.rows)
        if kept.spec is None:
            kept.spec = _spec(folder)
        status = _status(folder, kept)
        over = status.state in FINISHED
        if kept.judged != (len(kept.rows), over):
            kept.judged, kept.alerts = (len(kept.rows), over), _alerts(kept.rows, over, kept.spec)
        rows = list(kept.rows) if status.state == "running" else []
        left = seconds_left(rows, status.total_steps, now) if rows else None
        return JobView(status, kept.rows, kept.spec, kept.alerts, left)


def _spec(folder: Path) -> JobSpec | None:
    try:
        return read_spec(folder)
    except (OSError, ValueError):
        return None


def _status(folder: Path, kept: _Kept) -> JobStatus:
    """As its supervisor has written it; one whose supervisor is gone without a word is lost."""
    alive = _alive(folder)  # before the file: a job that ends in between is then not called lost
    stamp = _stamp(folder / "status.json")
    if stamp != kept.stamp or not kept.raw:
        kept.stamp, kept.raw = stamp, read_status(folder)
    known = {
        "id": folder.name,
        "step": kept.course.rows[-1]["step"] if kept.course.rows else 0,
        "total_steps": kept.course.total_steps,
        "metrics": dict(kept.course.newest),
        "compute": kept.spec.place.words if kept.spec else "local",
        "output": str(folder / "output"),
        "notes": kept.spec.notes if kept.spec else [],
    }
    status = JobStatus.model_validate({**kept.raw, **known})
    here = kept.spec is None or not kept.spec.place.away
    if here and not alive and status.state not in FINISHED and kept.raw.get("supervisor") is not None:
        lost = Failure(kind="lost", message="Whoever watched over it is gone.", hint="resume_job goes on.")
        return status.model_copy(update={"state": "failed", "failure": lost})
    return status


def _alive(folder: Path) -> bool:
    try:
        return (folder / "alive").exists() and is_locked(folder / "alive")
    except OSError:
        return False


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return found.st_mtime_ns, found.st_ino


def _alerts(rows: Rows, over: bool, spec: JobSpec | None) -> list[Seen]:
    try:
        seen = look(Run(rows, over, fields_of(spec))) if rows else []
    except (ValueError, ArithmeticError, LookupError, TypeError, AttributeError):
        return []  # what a job wrote may be anything; rules that stumble over it must not cost the table
    return [one for one in seen if one.kind not in NOTES]


def tail(folder: Path, size: int = LOG_BYTES) -> str:
    """The end of a job's log without credentials, from the beginning of a line on."""
    try:
        fd = open_file(folder, folder / "log.txt")
    except ToolError:
        return ""
    with os.fdopen(fd, "rb") as file:
        start = max(0, os.fstat(fd).st_size - size)
        file.seek(start)
        data = file.read(size)
    if start:
        data = re.split(rb"[\r\n]", data, maxsplit=1)[
            -1
        ]  # half a line may hold half a credential, which no mask knows
    return mask(data.decode("utf-8", "replace"))


def names_of(jobs: Sequence[JobView]) -> list[str]:
    """The metrics that the jobs have written, those first that say how it goes."""
    found = {name for job in jobs for name in job.status.metrics}
    return sorted(found, key=lambda name: (_rank(name), name))


_FIRST = ("loss", "eval_loss", "reward", "eval_reward", "eval_bits_per_byte", "kl", "entropy", "grad_norm")


def _rank(name: str) -> int:
    return _FIRST.index(name) if name in _FIRST else len(_FIRST)


def points_of(job: JobView, name: str) -> list[tuple[float, float]]:
    """A metric of a job by step."""
    return curve(job.rows, name)
