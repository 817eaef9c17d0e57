"""Runs a command that reaches the host's network and none of the host's own sockets.

    python -I -S landlock.py COMMAND...

Sockets of the abstract kind (a desktop's session bus, its display, a container's overseer) have no path that
could be hidden: they belong to the network, and who was given that reaches them. Landlock keeps those apart
that were made outside. It is there from Linux 6.12 on; where it is not, the command runs without.

It is run inside the sandbox by path and imports nothing but the standard library.
"""

from __future__ import annotations

import ctypes
import os
import sys

CREATE, RESTRICT = 444, 446
"""Numbers of the system calls, on every processor the same."""

ASK_VERSION = 1
NEEDED = 6
SOCKETS, SIGNALS = 1, 2
"""What is kept to those within: abstract sockets, and signals."""


class _Rules(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("ports", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


def restrict() -> bool:
    """Keep this process and what it starts to its own sockets; whether the system could."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(CREATE, None, ctypes.c_size_t(0), ASK_VERSION) < NEEDED:
        return False
    rules = _Rules(0, 0, SOCKETS | SIGNALS)
    fd = libc.syscall(CREATE, ctypes.byref(rules), ctypes.c_size_t(ctypes.sizeof(rules)), 0)
    if fd < 0:
        return False
    done: int = libc.syscall(RESTRICT, fd, 0)
    os.close(fd)
    return done == 0


if __name__ == "__main__":
    restrict()
    os.execvp(sys.argv[1], sys.argv[1:])
