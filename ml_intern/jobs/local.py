"""The jobs of a session: folders, whatever machine they run on.

What a place does differently is behind `ml_intern.jobs.backends.base.Backend`. Nothing about a job is kept in
this process alone: a second `Jobs` on the same folder, in another process or after a crash, finds them all
and can wait for them, read them and cancel them.
"""

from __future__ import annotations

import builtins
import fcntl
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ml_intern.errors import ToolError
from ml_intern.events import Event, JobChanged
from ml_intern.jobs import metrics as reading
from ml_intern.jobs.backends.base import Backend, Site
from ml_intern.jobs.backends.places import Backends
from ml_intern.jobs.folder import read_spec, read_status, write_status
from ml_intern.jobs.launch import first_status, make_folder, recipes, room_of
from ml_intern.jobs.model import FINISHED, JobSpec, JobStatus, LogPage, Place
from ml_intern.jobs.recovery import TRAININGS
from ml_intern.jobs.thresholds import Thresholds
from ml_intern.sandbox.base import Sandbox
from ml_intern.secrets.masking import mask
from ml_intern.settings import Settings
from ml_intern.tooling import did_you_mean

if TYPE_CHECKING:
    from ml_intern.hub.client import Hub

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
        hub: Where HF Jobs are; without one there are none.
    """

    def __init__(
        self,
        folder: Path,
        sandbox: Sandbox | None,
        settings: Settings,
        emit: Callable[[Event], None],
        hub: Hub | None = None,
    ) -> None:
        self.folder = folder.absolute()
        self.sandbox = sandbox
        self.settings = settings
        self.emit = emit
        self.folder.mkdir(parents=True, exist_ok=True)
        self._places = Backends(Site(settings, lambda: self.sandbox, lambda: hub, self._locked))
        self._specs: dict[str, JobSpec] = {}
        self._newest: dict[str, tuple[int, dict[str, Any]]] = {}
        self._told: dict[str, JobStatus] = {}
        self._guard = threading.RLock()
        self._inside = False

    # What is asked

    def submit(self, spec: JobSpec, prepare: Callable[[Path], None] = lambda folder: None) -> JobStatus:
        """Start a job, or find the one that was started with the same key.

        Args:
            spec: What to do.
            prepare: Called with the folder of a job that is new, before it starts.

        Raises:
            ToolError: There is no such recipe.
        """
        return self.submit_all([spec], prepare)[0]

    def submit_all(
        self, specs: Sequence[JobSpec], prepare: Callable[[Path], None] = lambda folder: None
    ) -> builtins.list[JobStatus]:
        """Start several jobs; on a cluster those for one place go as one array.

        Raises:
            ToolError: There is no such recipe, or a place does not take its job; then none has started.
        """
        with self._locked():
            known = [self.find(spec.key) if spec.key else None for spec in specs]
            for spec, job in zip(specs, known, strict=True):
                if job is None:
                    self._check(spec)
            jobs = [job or self._make(spec, prepare) for spec, job in zip(specs, known, strict=True)]
            self._start_all(jobs)
        statuses = [self.status(job) for job in jobs]
        for status in statuses:
            self.tell(status)
        return statuses

    def find(self, key: str) -> str | None:
        """The id of the job that a call with this idempotency key started."""
        return next((job for job in self._ids() if self._key_of(job) == key), None)

    def resume(self, job: str) -> JobStatus:
        """Start a failed or cancelled job again; a training goes on from its last whole checkpoint.

        What is returned is the state that was decided by: a job told as failed here has failed anew.
        """
        folder = self.folder_of(job)
        with self._locked():
            status = self.status(job)
            if status.state not in {"failed", "cancelled"}:
                return status
            (folder / "cancel").unlink(missing_ok=True)
            with suppress(OSError):  # On a disk that is still full it goes on without.
                room_of(folder).take()
            past = {"recoveries": read_status(folder).get("recoveries", [])}
            write_status(folder, first_status(job, self.spec(job)) | past)
            self._start(job)
        return self.status(job)

    def cancel(self, job: str) -> JobStatus:
        """End a job and everything it started; a job that has ended stays as it is."""
        folder = self.folder_of(job)
        (folder / "cancel").touch()
        if self.status(job).state not in FINISHED:
            self._backend(job).cancel(folder)
        deadline = time.monotonic() + _CANCEL_S
        while self.status(job).state not in FINISHED and time.monotonic() < deadline:
            time.sleep(0.02)
        status = self.status(job)
        self.tell(status)
        return status

    # How it stands

    def status(self, job: str) -> JobStatus:
        """How a job stands now."""
        folder = self.folder_of(job)
        raw = self._backend(job).status(folder)
        known: dict[str, Any] = {"compute": self._place(job).words, "output": str(folder / "output")}
        known["notes"] = self._specs[job].notes if job in self._specs else []
        return JobStatus.model_validate({**raw, **self._progress(job), **known})

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
        self._backend(job).fetch(self.folder_of(job))
        with _log(self.folder_of(job)) as file:
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
        self._backend(job).fetch(self.folder_of(job))
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
                        self.tell(status)
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
            raise ToolError(f"Job {job!r} is {state} and has made no model.", self._instead(job, state))
        return path

    def _instead(self, job: str, state: str) -> str:
        """What helps who wants the model of a job that has none."""
        if state in FINISHED:
            return "Use another."
        ends_early = state == "running" and self.spec(job).method in TRAININGS
        early = f", end it early with cancel_job({job!r}, keep_model=True)" if ends_early else ""
        return f"Wait for it{early}, or use another."

    def spec(self, job: str) -> JobSpec:
        """What was asked.

        Raises:
            ToolError: There is no such job, or what was asked cannot be read any more.
        """
        path = self.folder_of(job) / "spec.json"
        if job in self._specs:  # Nobody changes it once it is written.
            return self._specs[job]
        try:
            return self._specs.setdefault(job, read_spec(path.parent))
        except (OSError, ValueError) as error:
            told = str(error).splitlines()[0]
            raise ToolError(f"What job {job!r} was asked cannot be read: {told}.", f"It is {path}.") from None

    # How a job is made and started

    def _check(self, spec: JobSpec) -> None:
        if spec.method not in {*recipes(), "script"}:
            guess = did_you_mean(spec.method, recipes())
            raise ToolError(
                f"There is no recipe {spec.method!r}{guess}.", f"Recipes: {', '.join(recipes())}."
            )
        self._places.of(spec.place).check(spec)

    def _make(self, spec: JobSpec, prepare: Callable[[Path], None]) -> str:
        slug = re.sub(r"[^a-z0-9]+", "-", spec.name.lower())[:40].strip("-") or "job"
        number = 1
        while (self.folder / f"{slug}-{number}").exists():
            number += 1
        make_folder(self.folder / f"{slug}-{number}", spec)
        prepare(self.folder / f"{slug}-{number}")
        return f"{slug}-{number}"

    def _start_all(self, jobs: Sequence[str]) -> None:
        """Start those that wait and were not given to their place yet, together where they go together."""
        waiting: dict[str, builtins.list[str]] = {}
        for job in jobs:
            folder = self.folder / job
            if read_status(folder)["state"] == "queued" and not self._backend(job).submitted(folder):
                waiting.setdefault(self.spec(job).place.model_dump_json(), []).append(job)
        for together in waiting.values():
            self._start(*together)

    def _start(self, *jobs: str) -> None:
        self._backend(jobs[0]).submit([self.folder / job for job in jobs])

    def _backend(self, job: str) -> Backend:
        return self._places.of(self._place(job))

    def _place(self, job: str) -> Place:
        try:
            return self.spec(job).place
        except ToolError:  # Nobody can read it any more: what else there is of the job is here.
            return Place()

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
        size = path.stat().st_size if path.is_file() else 0
        known = self._newest.get(job)
        if known is None or known[0] != size:
            known = self._newest[job] = (size, reading.newest(path))
        return known[1]

    def _key_of(self, job: str) -> str | None:
        try:
            return self.spec(job).key
        except ToolError:
            return None

    def tell(self, status: JobStatus) -> None:
        """Tell whoever watches the session how a job stands."""
        self._told[status.id] = status
        self.emit(
            JobChanged(status.id, status.name, status.state, status.step, status.total_steps, status.metrics)
        )

    def refresh(self) -> None:
        """Tell anew of those jobs that were told of, are not over, and stand otherwise now.

        Nobody may be waiting for them. Only of this machine's, whose state is a file to be read: that costs
        next to nothing, and where a far place is asked its caller waits for it.
        """
        for job, told in list(self._told.items()):
            if told.state in FINISHED or self._place(job).away:
                continue
            status = self.status(job)
            if status != told and self._told.get(job) is told:  # somebody who waits may have been faster
                self.tell(status)


def _log(folder: Path) -> IO[bytes]:
    try:
        return (folder / "log.txt").open("rb")
    except OSError as error:
        raise ToolError(f"The log of job {folder.name!r} cannot be read: {error.strerror}.") from None


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
