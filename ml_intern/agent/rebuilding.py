"""A kernel for a run that goes on: the finished cells run again, with the results that their calls had.

Nothing is asked, published or launched a second time: each call is answered from the journal. The cells begin
with the files as they were at the beginning, and files are put back as they are now afterwards, since a cell
that appends to one would append twice. What comes out otherwise than it did (time, random numbers, jobs that
have gone on since) is told, not hidden.

A kernel on another machine may have outlived its process. If no cell was under way it stands where the last
one has left it, and is taken over; else nobody knows what half of a cell has done to it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ml_intern.errors import InternError, Interrupted
from ml_intern.events import Notice
from ml_intern.router.recorded import Ran
from ml_intern.workspace.keeping import Kept

if TYPE_CHECKING:
    from ml_intern.agent.executor import KernelExecutor


CUT_S = 10.0
"""For so long at most a cell runs again that was stopped when it ran first."""

TRIES = 3
"""How often a kernel that dies while it is rebuilt is rebuilt from the beginning."""


def rebuild(executor: KernelExecutor, past: Sequence[Ran]) -> str:
    """Run the finished cells again, in order, unless the kernel that they ran in is still there.

    Returns:
        What the brain has to know where that cannot be.

    Raises:
        Interrupted: The person stopped it.
        DiskTrouble: There is no room for a copy of the workspace.
    """
    if executor.took_over and _is_there(executor):
        return ""
    emit = executor.router.services.emit
    count = sum(not ran.lost for ran in past)
    emit(Notice("info", f"The kernel is rebuilt: {_cells(count)} run again with the results they had."))
    died: list[int] = []
    for _ in range(TRIES):
        differing, died_at = _run_all(executor, past)
        if not died_at:
            if differing:
                emit(Notice("warning", _told(differing, executor.router.earlier.unknown)))
            return ""
        died.append(died_at)
        emit(Notice("warning", f"The kernel died while step {died_at} ran again to rebuild it."))
    named = ", ".join(map(str, sorted({*died})))
    told = f"The kernel was restarted and could not be rebuilt: it died each time, at step {named}."
    emit(Notice("warning", told))
    return f"{told} Variables of earlier steps may be gone; files and the results of calls are there."


def _run_all(executor: KernelExecutor, past: Sequence[Ran]) -> tuple[list[int], int]:
    """One try: the steps that told something else, and the step at which the kernel died, or 0."""
    kept = Kept(executor.router.services.folder, executor.kernel.mounts.workspace)
    snapshots = executor.snapshots
    if not executor.scratch and not snapshots.hold() and (told := kept.keep()):
        executor.router.services.emit(Notice("warning", told))
    router, step, differing = executor.router, executor.step, []
    router.begin_rebuilding()
    try:
        snapshots.rewind([ran.step for ran in past])
        for ran in past:
            same, dead = _same(executor, ran)
            if dead:
                return [], ran.step
            if not same:
                differing.append(ran.step)
    finally:
        router.earlier.rebuilding, executor.step = False, step
        snapshots.release()
        kept.put_back()
    return differing, 0


def _is_there(executor: KernelExecutor) -> bool:
    """Whether the kernel of the dead process answers."""
    emit = executor.router.services.emit
    try:
        executor.kernel.start()
    except InternError as error:
        emit(Notice("info", f"The kernel of before could not be taken over: {error.message}"))
        return False
    emit(Notice("info", "The kernel ran on: its variables are as they were."))
    return True


def _same(executor: KernelExecutor, ran: Ran) -> tuple[bool, bool]:
    """Run one cell again, unless it took the kernel with it; whether it told the same and lost the kernel."""
    executor.step = ran.step
    executor.snapshots.come_to(ran.step, ran.lost)
    if ran.lost:
        return True, False
    unknown = len(executor.router.earlier.unknown)
    with cut(executor, ran):
        result = executor.kernel.run(ran.code)
    if ran.cut is not None:
        executor.snapshots.come_to(ran.step, True)
    if executor.router.interrupted.is_set():
        raise Interrupted("Stopped by the person.")
    seen = "\n".join(filter(None, [executor.observe(result), ran.note]))
    same = seen == ran.observation and len(executor.router.earlier.unknown) == unknown
    return same, bool(result.lost) and not same


@contextmanager
def cut(executor: KernelExecutor, ran: Ran) -> Iterator[None]:
    """A cell that was stopped is stopped again, where it was then: after as long, and with as much output.

    On a slower machine time alone would stop it before it has set what it had set. `CUT_S` bounds both.
    """
    if ran.cut is None:
        yield
        return
    over, after = threading.Event(), min(ran.cut, CUT_S)

    def is_as_far() -> bool:
        seconds, chars = executor.kernel.progress or (0.0, -1)  # It may not have begun yet.
        return chars >= 0 and seconds >= after and (chars >= ran.cut_chars or seconds >= CUT_S)

    def stop() -> None:
        while not over.wait(0.02):
            if is_as_far() and executor.kernel.interrupt():
                return

    threading.Thread(target=stop, name="ml-intern-cut", daemon=True).start()
    # It may have been stopped in the midst of a call, which then has no result.
    executor.router.earlier.on_unknown = executor.kernel.interrupt
    try:
        yield
    finally:
        over.set()
        executor.router.earlier.on_unknown = None


def _told(steps: Sequence[int], unknown: Sequence[str]) -> str:
    named = ", ".join(map(str, steps))
    word = "step" if len(steps) == 1 else "steps"
    calls = f" Calls that are new were not carried out: {', '.join(sorted({*unknown}))}." if unknown else ""
    told = "gave another result when run again: time, random numbers or files."
    return f"{word.capitalize()} {named} {told}{calls}"


def _cells(count: int) -> str:
    return "1 finished cell" if count == 1 else f"{count} finished cells"
