"""A filter of system calls: what no training needs and those who look for a way out do.

libseccomp writes it as the program that the kernel runs at each call; bubblewrap takes that from a file
descriptor and puts it on everything inside. It is kept as a file named by its content, because a job is
started by another process and perhaps much later.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import stat
import tempfile
from functools import lru_cache
from pathlib import Path

import platformdirs

LIBRARY = "libseccomp.so.2"

EPERM, ENOSYS = 1, 38
ALLOW = 0x7FFF0000
FAIL = 0x00050000
"""With an error number in the lower bits: the call fails with it."""

BAD_ARCHITECTURE = 2
"""The attribute that says what comes of calls in another numbering: 32-bit and x32 programs."""

NOT_EQUAL, GREATER, MASKED = 1, 6, 7

REFUSED = (
    # Keyrings: they are not parted by namespaces.
    "add_key", "keyctl", "request_key",
    # Other processes' memory and descriptors.
    "kcmp", "pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace",
    # Parts of the kernel that many ways out began with.
    "bpf", "fanotify_init", "lookup_dcookie", "nfsservctl", "perf_event_open", "userfaultfd", "vmsplice",
    # Mounts and namespaces; unshare and clone by their flags, see below.
    "chroot", "fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr", "move_mount", "open_tree",
    "open_tree_attr", "pivot_root", "setns", "umount", "umount2",
    # Files by number instead of by path.
    "name_to_handle_at", "open_by_handle_at",
    # The machine itself.
    "_sysctl", "acct", "clock_settime", "create_module", "delete_module", "finit_module", "init_module",
    "ioperm", "iopl", "kexec_file_load", "kexec_load", "modify_ldt", "quotactl", "quotactl_fd", "reboot",
    "setdomainname", "sethostname", "settimeofday", "stime", "swapoff", "swapon", "sysfs", "syslog", "uselib",
    "ustat", "vhangup", "vm86", "vm86old",
)  # fmt: skip

UNKNOWN = ("clone3", "io_uring_enter", "io_uring_register", "io_uring_setup")
"""These are said not to exist, so that libraries take the older way: clone3's flags cannot be looked at."""

NAMESPACES = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
"""mount, cgroup, uts, ipc, user, pid, net: flags of clone and unshare."""
TIME_NAMESPACE = 0x80
"""For unshare only: in clone the same bit belongs to a signal's number."""

FAMILIES = (1, 2, 10, 16)
"""Sockets there may be: local, IPv4, IPv6, and netlink, which lists the network's interfaces."""
ROUTE = 0
"""Of netlink, the protocol that does so."""

TERMINAL = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX type into the terminal that a process hangs on."""

ODD_PERSONALITIES = (0x00100000, 0x00200000, 0x00400000)
"""Memory at address 0, the old layout, all that is readable is executable: they unmake protections."""
ASKED = 0x80000000
"""Set in the number that only asks which personality there is."""

FCHMODAT2 = 452
SET_ID = (stat.S_ISUID, stat.S_ISGID)
"""A file with these runs with its owner's rights, whoever starts it; the owner may be the person."""

OPEN = 'exec 9< "$0" && exec "$@"'
DESCRIPTOR = 9

Condition = tuple[int, int, int, int]
"""Argument's number, comparison, and its two values."""


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


def opening() -> list[str]:
    """The start of an argv that opens the filter as `DESCRIPTOR` for the rest; empty where there is none."""
    path = filter_file()
    return ["/bin/sh", "-c", OPEN, str(path)] if path else []


def filter_file() -> Path | None:
    """The file with the filter; None where libseccomp is missing or the cache cannot be written."""
    program = filter_program()
    if not program:
        return None
    folder = Path(platformdirs.user_cache_path("ml-intern"))
    path = folder / f"seccomp-{hashlib.sha256(program).hexdigest()[:16]}.bpf"
    try:
        if not (path.is_file() and path.read_bytes() == program):
            folder.mkdir(parents=True, exist_ok=True)
            _write(path, program)
    except OSError:
        return None
    return path


def _write(path: Path, data: bytes) -> None:
    """Others see the whole file or none."""
    fd, fresh = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        os.fchmod(file.fileno(), 0o644)
    Path(fresh).replace(path)


@lru_cache(maxsize=1)
def filter_program() -> bytes:
    """The filter for this machine's processor; empty where libseccomp is missing or too old."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        return b""
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_Comparison),
    ]  # fmt: skip
    rules = library.seccomp_init(ctypes.c_uint32(ALLOW))
    if not rules:
        return b""
    context = ctypes.c_void_p(rules)
    try:
        library.seccomp_attr_set(context, BAD_ARCHITECTURE, ctypes.c_uint32(FAIL | ENOSYS))
        _add_rules(library, context)
        return _exported(library, context)
    finally:
        library.seccomp_release(context)


def _add_rules(library: ctypes.CDLL, context: ctypes.c_void_p) -> None:
    def refuse(name: str, *conditions: Condition, error: int = EPERM) -> None:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number != -1:  # a call that this processor, or this libseccomp, does not know
            each = (_Comparison * len(conditions))(*(_Comparison(*c) for c in conditions))
            library.seccomp_rule_add_array(context, FAIL | error, number, len(conditions), each)

    for name in REFUSED:
        refuse(name)
    for name in UNKNOWN:
        refuse(name, error=ENOSYS)
    for flag in NAMESPACES:
        refuse("clone", (0, MASKED, flag, flag))
        refuse("unshare", (0, MASKED, flag, flag))
    refuse("unshare", (0, MASKED, TIME_NAMESPACE, TIME_NAMESPACE))
    # The kernel reads the lower half of these arguments only, so only that is compared.
    low = 0xFFFFFFFF
    for call in ("socket", "socketpair"):
        for family in set(range(max(FAMILIES))) - set(FAMILIES):
            refuse(call, (0, MASKED, low, family))
        refuse(call, (0, GREATER, max(FAMILIES), 0))
        refuse(call, (0, MASKED, low, max(FAMILIES)), (2, NOT_EQUAL, ROUTE, 0))
    for request in TERMINAL:
        refuse("ioctl", (1, MASKED, low, request))
    for bit in ODD_PERSONALITIES:
        refuse("personality", (0, MASKED, bit | ASKED, bit))
    # Newer than many a libseccomp; callers fall back to the old call.
    library.seccomp_rule_add_array(context, FAIL | ENOSYS, FCHMODAT2, 0, None)
    for bit in SET_ID:
        for call, place in (("chmod", 1), ("fchmod", 1), ("fchmodat", 2), ("mknod", 1), ("mknodat", 2)):
            refuse(call, (place, MASKED, bit, bit))
        refuse("creat", (1, MASKED, bit, bit))
        # Without O_CREAT the mode is whatever stands in the register.
        refuse("open", (1, MASKED, os.O_CREAT, os.O_CREAT), (2, MASKED, bit, bit))
        refuse("openat", (2, MASKED, os.O_CREAT, os.O_CREAT), (3, MASKED, bit, bit))


def _exported(library: ctypes.CDLL, context: ctypes.c_void_p) -> bytes:
    with tempfile.TemporaryFile() as file:
        if library.seccomp_export_bpf(context, file.fileno()):
            return b""
        file.seek(0)
        return file.read()
