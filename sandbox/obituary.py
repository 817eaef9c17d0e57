"""Why a kernel ended, in a sentence a brain can act on."""

from __future__ import annotations

import re
import signal

from ml_intern.sandbox.base import Limits, Process

NAMES = {
    signal.SIGSEGV: "a segmentation fault in native code",
    signal.SIGABRT: "an abort in native code",
    signal.SIGBUS: "a bus error",
    signal.SIGFPE: "a floating-point exception in native code",
    signal.SIGILL: "an illegal instruction",
}


def obituary(process: Process, limits: Limits) -> str:
    """The cause of death and, where the crash handler saw it, the cell's line."""
    if process.reason:
        return f"The kernel ended: {process.reason}."
    code = process.poll()
    words = process.last_words()
    line = re.search(r'File "<cell \d+>", line (\d+)', words)
    where = f" at line {line[1]} of the cell" if line else ""
    return f"The kernel ended{where}: {_cause(code, limits)}."


def _cause(code: int | None, limits: Limits) -> str:
    # bubblewrap and shells report a signal as 128 plus its number, Python as its negative.
    number = -code if code is not None and code < 0 else (code or 0) - 128
    if number == signal.SIGKILL:
        return f"it was killed, most likely for memory (the limit is {limits.memory_mb} MB)"
    try:
        return NAMES.get(signal.Signals(number)) or f"it got the signal {signal.Signals(number).name}"
    except ValueError:
        return f"the process left with exit code {code}"
