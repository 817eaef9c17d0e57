"""Jobs on this machine: folders, each watched over by a supervisor of its own.

Nothing about a job is kept in this process alone. A second `Jobs` on the same folder, in another process or
after a crash, sees the same jobs and can wait for them, read them and cancel them.
"""

from __future__ import annotations

import builtins
import fcntl
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import ml_intern
from ml_intern.errors import ToolError
from ml_intern.events import Event, JobChanged
from ml_intern.jobs import metrics as reading
from ml_intern.jobs.failures import last_lines
from ml_intern.jobs.launch import end_left_over, first_status, launch_plan, make_folder, recipes
from ml_intern.jobs.model import FINISHED, Failure, JobSpec, JobStatus, LogPage
from ml_intern.jobs.slots import is_locked, try_lock
from ml_intern.jobs.thresholds import Thresholds
from ml_intern.masking import mask
from ml_intern.sandbox.base import Sandbox
from ml_intern.settings import Settings
from ml_intern.tooling import did_you_mean

_POLL_S = 0.1
_EVENT_GAP_S = 0.5
_CANCEL_S = 30.0
_LONGEST_WORD = 4_000


class Jobs:
    """The jobs of one session.

    Args:
        folder: Where the jobs' folders are.
        sandbox: Walls around each job; None runs them without.
        settings: Slots, memory, the state folder that jobs must not see.
        emit: Takes the events of moving jobs.
    """

    def __init__(
        self, folder: Path, sandbox: Sandbox | None, settings: Settings, emit: Callable[[Event], None]
    ) -> None:
        self.folder = folder.absolute()
        self.sandbox = sandbox
        self.settings = settings
        self.emit = emit
        self.folder.mkdir(parents=True, exist_ok=True)
        self._supervisors: dict[str, subprocess.Popen[bytes]] = {}
        self._newest: dict[str, tuple[int, dict[str, Any]]] = {}
        self._guard = threading.RLock()
        self._inside = False

    # What is asked

    def submit(self, spec: JobSpec) -> JobStatus:
        """Start a job, or find the one that was started with the same key.

        Raises:
            ToolError: There is no such recipe.
        """
        with self._locked():
            known = self.find(spec.key) if spec.key else None
            job = known or self._make(spec)
            raw = self._read_status(job)
            if raw["state"] == "queued" and raw.get("supervisor") is None:
                self._start(job)
        status = self.status(job)
        self._tell(status)
        return status

    def find(self, key: str) -> str | None:
        """The id of the job that a call with this idempotency key started."""
        return next((job for job in self._ids() if self.spec(job).key == key), None)

    def resume(self, job: str) -> JobStatus:
        """Start a failed or cancelled job again; a training goes on from its last whole checkpoint."""
        folder = self.folder_of(job)
        with self._locked():
            if self.status(job).state in {"failed", "cancelled"}:
                (folder / "cancel").unlink(missing_ok=True)
                past = {"recoveries": self._read_status(job).get("recoveries", [])}
                self._write_status(job, first_status(job, self.spec(job)) | past)
                self._start(job)
        return self.status(job)

    def cancel(self, job: str) -> JobStatus:
        """End a job and everything it started; a job that has ended stays as it is."""
        (self.folder_of(job) / "cancel").touch()
        with self._locked():
            raw = self._read_status(job)
            if raw["state"] == "queued" and raw.get("supervisor") is None and not self._alive(job):
                self._write_status(job, raw | {"state": "cancelled", "ended": time.time()})
        deadline = time.monotonic() + _CANCEL_S
        while self.status(job).state not in FINISHED and time.monotonic() < deadline:
            time.sleep(0.02)
        status = self.status(job)
        self._tell(status)
        return status

    # How it stands

    def status(self, job: str) -> JobStatus:
        """How a job stands now."""
        folder = self.folder_of(job)
        self._reap(job)
        alive = self._alive(job)  # Before the file: a job that ends in between is then not called lost.
        raw = self._read_status(job)
        if not alive and raw["state"] not in FINISHED and raw.get("supervisor") is not None:
            raw = self._mark_lost(job)
        return JobStatus.model_validate({**raw, **self._progress(job), "output": str(folder / "output")})

    def list(self) -> builtins.list[JobStatus]:
        """All jobs, oldest first."""
        return sorted((self.status(job) for job in self._ids()), key=lambda status: status.created)

    def logs(self, job: str, offset: int = 0, limit: int = 20_000) -> LogPage:
        """A stretch of the log from a byte offset; reading on from `next_offset` gives each byte once.

        Args:
            job: Its id.
            offset: Byte to start at; negative counts from the end.
            limit: Bytes at the most.
        """
        over = self.status(job).state in FINISHED
        with (self.folder_of(job) / "log.txt").open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = max(0, size + offset) if offset < 0 else min(offset, size)
            file.seek(start)
            data = file.read(max(4, limit))
            if not (over and start + len(data) >= size):
                data = _whole_words(data)
        end = start + len(data)
        text = mask(data.decode("utf-8", "replace"))
        return LogPage(text=text, next_offset=end, done=over and end >= size)

    def metrics(self, job: str, names: builtins.list[str] | None = None) -> builtins.list[dict[str, Any]]:
        """The rows of metrics by step; where a step was written twice, after a resume, the last one counts.

        Raises:
            ToolError: The job has no metric of such a name.
        """
        rows = reading.rows(self.folder_of(job) / "metrics.jsonl")
        return reading.select(rows, names) if names else rows

    def wait(
        self,
        ids: builtins.list[str],
        timeout_s: float | None = None,
        until: str | None = None,
        cancelled: Callable[[], bool] = lambda: False,
        on_progress: Callable[[JobStatus], None] = lambda status: None,
    ) -> builtins.list[JobStatus]:
        """Wait until all jobs have ended, a condition on their metrics holds, or the time is over.

        Args:
            ids: The jobs.
            timeout_s: How long to wait; None waits without end. The jobs run on when the time is over.
            until: A condition such as ``loss < 3.5``, ``step >= 100`` or ``loss plateau``.
            cancelled: Looked at in each round; True ends the waiting.
            on_progress: Told a job's status when it has changed, twice a second at most.
        """
        limits = Thresholds.of(self.settings.alerts)
        holds = reading.condition(until, limits) if until else lambda status: False
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        told: dict[str, JobStatus] = {}
        next_events = 0.0
        while True:
            statuses = [self.status(job) for job in ids]
            over = all(s.state in FINISHED or holds(s) for s in statuses)
            over = over or cancelled() or (deadline is not None and time.monotonic() >= deadline)
            if over or time.monotonic() >= next_events:
                next_events = time.monotonic() + _EVENT_GAP_S
                for status in statuses:
                    if told.get(status.id) != status:
                        told[status.id] = status
                        self._tell(status)
                        on_progress(status)
            if over:
                return statuses
            time.sleep(_POLL_S)

    # Where things are

    def folder_of(self, job: str) -> Path:
        """The job's folder.

        Raises:
            ToolError: There is no such job.
        """
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", job) or not (self.folder / job / "spec.json").exists():
            guess = did_you_mean(job, self._ids())
            raise ToolError(f"There is no job {job!r}{guess}.", "list_jobs() shows all jobs.")
        return self.folder / job

    def model_path(self, job: str) -> Path:
        """The folder of the model that a job made.

        Raises:
            ToolError: The job made none.
        """
        path = self.folder_of(job) / "output" / "model"
        state = self.status(job).state
        # Of a job that still runs nothing is taken: what it writes has not been looked at yet.
        if state not in FINISHED or not (path / "config.json").is_file():
            raise ToolError(f"Job {job!r} is {state} and has made no model.", "Wait for it, or use another.")
        return path

    def spec(self, job: str) -> JobSpec:
        """What was asked."""
        return JobSpec.model_validate_json((self.folder_of(job) / "spec.json").read_text())

    # How a job is made and started

    def _make(self, spec: JobSpec) -> str:
        if spec.method not in {*recipes(), "script"}:
            guess = did_you_mean(spec.method, recipes())
            raise ToolError(
                f"There is no recipe {spec.method!r}{guess}.", f"Recipes: {', '.join(recipes())}."
            )
        slug = re.sub(r"[^a-z0-9]+", "-", spec.name.lower())[:40].strip("-") or "job"
        number = 1
        while (self.folder / f"{slug}-{number}").exists():
            number += 1
        make_folder(self.folder / f"{slug}-{number}", spec)
        return f"{slug}-{number}"

    def _start(self, job: str) -> None:
        folder, spec = self.folder / job, self.spec(job)
        plan, told = launch_plan(folder, spec, self.sandbox, self.settings)
        (folder / "launch.json").write_text(json.dumps(plan, indent=1))
        lock = _lock_soon(folder / "alive")
        if lock is None:
            return  # Its supervisor lives already.
        with (folder / "supervisor.log").open("ab") as errors:
            try:
                # -S -s: no site-packages, a start in milliseconds; the path gives it this package alone.
                self._supervisors[job] = subprocess.Popen(
                    [sys.executable, "-S", "-s", "-m", "ml_intern.jobs.supervisor", str(folder)],
                    env={"PYTHONPATH": str(Path(ml_intern.__file__).parents[1]), "PATH": os.defpath, **told},
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=errors,
                    stderr=errors,
                    start_new_session=True,
                    pass_fds=(lock,),
                )
            finally:
                os.close(lock)

    # Small parts

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One at a time, across threads and processes: two calls with one key make one job."""
        with self._guard:
            if self._inside:  # This thread holds it already.
                yield
                return
            with (self.folder / ".lock").open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                self._inside = True
                try:
                    yield
                finally:
                    self._inside = False

    def _ids(self) -> builtins.list[str]:
        return [p.parent.name for p in self.folder.glob("[!.]*/spec.json")]

    def _progress(self, job: str) -> dict[str, Any]:
        """Step and newest metrics; the file is read again only when it has grown."""
        path = self.folder / job / "metrics.jsonl"
        size = path.stat().st_size
        known = self._newest.get(job)
        if known is None or known[0] != size:
            known = self._newest[job] = (size, reading.newest(path))
        return known[1]

    def _read_status(self, job: str) -> dict[str, Any]:
        raw: dict[str, Any] = json.loads((self.folder / job / "status.json").read_text())
        return raw

    def _write_status(self, job: str, status: Mapping[str, Any]) -> None:
        path = self.folder / job / "status.json"
        fresh = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}.new")
        fresh.write_text(json.dumps(status, indent=1))
        fresh.replace(path)

    def _alive(self, job: str) -> bool:
        return is_locked(self.folder / job / "alive")

    def _mark_lost(self, job: str) -> dict[str, Any]:
        """The supervisor is gone without a word: a reboot, or kill -9 on it. End what it may have left."""
        with self._locked():
            raw = self._read_status(job)
            if self._alive(job) or raw["state"] in FINISHED:
                return raw
            end_left_over(self.folder / job, self.sandbox)
            text = mask((self.folder / job / "log.txt").read_bytes()[-8_000:].decode("utf-8", "replace"))
            failure = Failure(
                kind="lost",
                message="The job's supervisor is gone: the machine restarted, or something killed it.",
                last_lines=last_lines(text),
                hint="resume_job goes on from its last whole checkpoint.",
            )
            raw |= {"state": "failed", "ended": time.time(), "failure": failure.model_dump()}
            with suppress(OSError):  # On a full disk it is said, and written down when there is room.
                self._write_status(job, raw)
            return raw

    def _reap(self, job: str) -> None:
        with self._guard:
            supervisor = self._supervisors.get(job)
            if supervisor is not None and supervisor.poll() is not None:
                del self._supervisors[job]

    def _tell(self, status: JobStatus) -> None:
        self.emit(
            JobChanged(status.id, status.name, status.state, status.step, status.total_steps, status.metrics)
        )


def _lock_soon(path: Path) -> int | None:
    """Lock a file that others may be looking at: a look lasts microseconds, a supervisor much longer."""
    for _ in range(50):
        lock = try_lock(path)
        if lock is not None:
            return lock
        time.sleep(0.01)
    return None


def _whole_words(data: bytes) -> bytes:
    """Without a last line, word or character that is cut: no page ends within a credential."""
    for gap in (b"\n", b" "):
        end = data.rfind(gap, max(0, len(data) - _LONGEST_WORD)) + 1
        if end:
            return data[:end]
    return _whole_characters(data)


def _whole_characters(data: bytes) -> bytes:
    """Without a last character that is cut: the next page begins with it."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 == 0x80:
            continue
        length = 2 if byte >> 5 == 6 else 3 if byte >> 4 == 14 else 4 if byte >> 3 == 30 else 1
        return data if length <= back else data[:-back]
    return data
