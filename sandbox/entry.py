"""Process 1 of a container: bars system calls, runs the command, reaps what it leaves behind.

    python3 -I -S entry.py FILTER STREAMS PROGRAM ARGUMENTS…

The filter (base64; nothing: none) comes on top of the engine's own, which depends on the engine's age: all
that is started here is under it, this process too. Code inside can neither read this process's memory nor
reach its streams. STREAMS is ``apart``, or ``together`` for output and errors in one.

One file, standard library only: it is started by path and never imported by the host.
"""

from __future__ import annotations

import base64
import ctypes
import os
import signal
import sys
from typing import NoReturn

SET_DUMPABLE, SET_SECCOMP, WITH_FILTER = 4, 22, 2
INSTRUCTION = 8  # bytes
NOT_STARTED, NOT_FOUND = 126, 127


class Filter(ctypes.Structure):
    """What the kernel takes: the number of instructions, and where they are."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def main(program: str, streams: str, *command: str) -> NoReturn:
    """Start the command under the filter and end with it, with its exit code."""
    if streams == "together":
        os.dup2(1, 2)
    library = ctypes.CDLL(None, use_errno=True)
    instructions = base64.b64decode(program)
    if instructions and library.prctl(SET_SECCOMP, WITH_FILTER, ctypes.byref(_filter(instructions))):
        fail(NOT_STARTED, f"the filter of system calls was refused: {os.strerror(ctypes.get_errno())}")
    child = os.fork()
    if child == 0:
        become(command)
    library.prctl(SET_DUMPABLE, 0, 0, 0, 0)
    # Process 1 gets no signal from inside but those that it handles, and Python handles this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def _filter(instructions: bytes) -> Filter:
    return Filter(len(instructions) // INSTRUCTION, instructions)


def become(command: tuple[str, ...]) -> NoReturn:
    """Replace this process by the command."""
    try:
        os.execvp(command[0], command)
    except OSError as error:
        fail(NOT_FOUND, f'exec: "{command[0]}": {error.strerror}')


def fail(code: int, words: str) -> NoReturn:
    """Leave with a line."""
    os.write(2, f"{words}\n".encode())
    os._exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
