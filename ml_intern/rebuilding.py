"""A kernel for a run that goes on: the finished cells run again, with the results that their calls had.

Nothing is asked, published or launched a second time: each call is answered from the journal. Files are put
back as they were, since a cell that appends to one would append twice. What comes out otherwise than it did
(time, random numbers, files that have changed since) is told, not hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ml_intern.errors import Interrupted
from ml_intern.events import Notice
from ml_intern.keeping import Kept
from ml_intern.recorded import Ran

if TYPE_CHECKING:
    from ml_intern.executor import KernelExecutor


TRIES = 3
"""How often a kernel that dies while it is rebuilt is rebuilt from the beginning."""


def rebuild(executor: KernelExecutor, past: Sequence[Ran]) -> str:
    """Run the finished cells again, in order; what the brain has to know where that cannot be.

    Raises:
        Interrupted: The person stopped it.
        DiskTrouble: There is no room for a copy of the workspace.
    """
    emit = executor.router.services.emit
    cells = [ran for ran in past if not ran.lost]
    emit(Notice("info", f"The kernel is rebuilt: {_cells(len(cells))} run again with the results they had."))
    died: list[int] = []
    for _ in range(TRIES):
        differing, died_at = _run_all(executor, cells)
        if not died_at:
            if differing:
                emit(Notice("warning", _told(differing, executor.router.unknown)))
            return ""
        died.append(died_at)
        emit(Notice("warning", f"The kernel died while step {died_at} ran again to rebuild it."))
    named = ", ".join(map(str, sorted({*died})))
    told = f"The kernel was restarted and could not be rebuilt: it died each time, at step {named}."
    emit(Notice("warning", told))
    return f"{told} Variables of earlier steps may be gone; files and the results of calls are there."


def _run_all(executor: KernelExecutor, cells: Sequence[Ran]) -> tuple[list[int], int]:
    """One try: the steps that told something else, and the step at which the kernel died, or 0."""
    kept = Kept(executor.router.services.folder, executor.kernel.mounts.workspace)
    if told := kept.keep():
        executor.router.services.emit(Notice("warning", told))
    router, step, differing = executor.router, executor.step, []
    router.begin_rebuilding()
    try:
        for ran in cells:
            same, dead = _same(executor, ran)
            if dead:
                return [], ran.step
            if not same:
                differing.append(ran.step)
    finally:
        router.rebuilding, executor.step = False, step
        kept.put_back()
    return differing, 0


def _same(executor: KernelExecutor, ran: Ran) -> tuple[bool, bool]:
    """Run one cell again; whether it told the same, and whether it lost the kernel."""
    executor.step = ran.step
    unknown = len(executor.router.unknown)
    result = executor.kernel.run(ran.code)
    if executor.router.interrupted.is_set():
        raise Interrupted("Stopped by the person.")
    seen = "\n".join(filter(None, [executor.observe(result), ran.note]))
    same = seen == ran.observation and len(executor.router.unknown) == unknown
    return same, bool(result.lost) and not same


def _told(steps: Sequence[int], unknown: Sequence[str]) -> str:
    named = ", ".join(map(str, steps))
    word = "step" if len(steps) == 1 else "steps"
    calls = f" Calls that are new were not carried out: {', '.join(sorted({*unknown}))}." if unknown else ""
    told = "gave another result when run again: time, random numbers or files."
    return f"{word.capitalize()} {named} {told}{calls}"


def _cells(count: int) -> str:
    return "1 finished cell" if count == 1 else f"{count} finished cells"
