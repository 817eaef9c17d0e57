"""What jobs have really cost: a job keeps the reservation of the call that started it until it was measured.

A call that launches a training is over in a moment, the training in hours. What was set aside for the call is
handed on to the job, and when the job has ended it is replaced by the time that the job held its GPUs. Jobs
that nothing was set aside for (the host's own evaluations) are measured all the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Protocol

from ml_intern.jobs.hardware import gpus_of
from ml_intern.jobs.model import FINISHED, JobSpec, JobStatus
from ml_intern.journal.journal import Journal
from ml_intern.prices import Measured
from ml_intern.router.budget import NEVER_RAN, Budget


class JobStore(Protocol):
    """What of `Jobs` is needed here."""

    def find(self, key: str) -> str | None:
        """The id of the job that a call with this idempotency key started."""

    def list(self) -> Sequence[JobStatus]:
        """All jobs."""

    def spec(self, job: str) -> JobSpec:
        """What was asked."""


class JobMeter:
    """Moves reservations from calls to jobs and settles them.

    Args:
        stores: The jobs that calls start, and the host's own, such as evaluations, which are measured and
            count as no job. Asked for when there is something to measure.
        budget: Where it is counted.
        journal: Where it is written down.
    """

    def __init__(
        self, stores: Callable[[], tuple[JobStore, JobStore]], budget: Budget, journal: Journal
    ) -> None:
        self._stores = stores
        self._budget = budget
        self._journal = journal
        self._reported: dict[str, Measured] = {}
        self._settled: set[tuple[str, float | None]] = set()
        self._lock = threading.Lock()

    def report(self, call: str, measured: Measured) -> None:
        """What a running call says that it has cost; several reports add up."""
        with self._lock:
            self._reported[call] = self._reported.get(call, Measured()).plus(measured)

    def close(self, call: str, key: str, ok: bool) -> None:
        """End the reservation of a call, or hand it on to the job that it started."""
        with self._lock:
            reported = self._reported.pop(call, None)
            held = self._budget.held(call)
            job = self._stores()[0].find(key) if held.jobs or held.gpu_hours else None
            if job is not None:
                self._hand_on(call, _holder("job", job))
            elif not ok:
                # A failed call costs what it has reported, and nothing else.
                self._budget.release(call)
        if reported is not None or ok:
            self._budget.reconcile(call, reported)

    def _hand_on(self, call: str, holder: str) -> None:
        self._budget.move(call, holder)
        if any(h == holder for h, _ in self._settled):
            # It ended before its call did, and another call has counted its time: dollars are left to count.
            self._budget.reconcile(holder, Measured(gpu_hours=0.0, jobs=0))

    def settle(self) -> None:
        """Count what jobs that have ended cost; each start of a job is counted once."""
        jobs, hidden = self._stores()
        with self._budget.books:
            self._settle_all("job", jobs)
            self._settle_all("eval", hidden)

    def restore(self, settled: Iterable[tuple[str, float | None]]) -> None:
        """What an earlier process has counted: the holder of a job and when it started."""
        with self._lock:
            self._settled.update(settled)

    def _settle_all(self, kind: str, store: JobStore) -> None:
        for status in store.list():
            holder = _holder(kind, status.id)
            with self._lock:
                if status.state not in FINISHED or (holder, status.started) in self._settled:
                    continue
                self._settled.add((holder, status.started))
                measured = _measured(store.spec(status.id), status, counts=kind == "job")
                cost = self._budget.reconcile(holder, measured)
            line = {"holder": holder, "started": status.started, "cost": asdict(cost)}
            self._journal.append("settled", {**line, "budget": self._budget.snapshot()})


def _holder(kind: str, job: str) -> str:
    return f"{kind}:{job}"


def _measured(spec: JobSpec, status: JobStatus, counts: bool) -> Measured:
    """GPU-hours by the clock, and dollars where the place has a price; elsewhere their estimate stands."""
    if status.started is None:
        return NEVER_RAN
    hours, rate = status.ran_s / 3600, spec.place.usd_per_hour
    usd = None if rate is None else rate * hours
    return Measured(usd, gpus_of(spec) * hours, jobs=1 if counts else 0)
