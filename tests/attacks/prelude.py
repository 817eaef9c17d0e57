"""What every attack's code begins with: runs inside, standard library only."""

from __future__ import annotations

import json
from typing import Any

CODE = r"""
import ctypes, errno, glob, os, platform, re, signal, socket, struct, subprocess, sys, threading, time
W = __import__('json').loads(__W__)
MARK = W['mark'].encode()
libc = ctypes.CDLL(None, use_errno=True)

def attempted(what=''):
    print('ATTEMPTED', W['name'], what, flush=True)

def won(what):
    print('WON', what, flush=True)

def loot(data, where=''):
    data = data if isinstance(data, bytes) else str(data).encode('utf-8', 'replace')
    found = sorted({m for m in re.findall(MARK + rb'-[\w-]+', data)})
    for secret in found[:20]:
        print('LOOT', where, secret.decode(), flush=True)
    return bool(found)

def refused(what, problem):
    print('REFUSED', what, type(problem).__name__, str(problem)[:120], flush=True)

def read(path, size=1 << 20):
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            data = os.read(fd, size)
        finally:
            os.close(fd)
    except (OSError, ValueError) as problem:
        refused(path, problem)
        return b''
    loot(data, path)
    return data

def do(what, action, *arguments):
    # Boasts where an action goes through that must not.
    try:
        got = action(*arguments)
    except Exception as problem:
        refused(what, problem)
        return None
    won(f'{what}: {got!r:.80}')
    return got

def check(code):
    if code is None or code < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return code

NUMBERS = {  # x86_64, aarch64
    'keyctl': (250, 219), 'add_key': (248, 217), 'request_key': (249, 218), 'bpf': (321, 280),
    'perf_event_open': (298, 241), 'io_uring_setup': (425, 425), 'userfaultfd': (323, 282),
    'kexec_load': (246, 104), 'init_module': (175, 105), 'pivot_root': (155, 41), 'fsopen': (430, 430),
    'fsconfig': (431, 431), 'fsmount': (432, 432), 'move_mount': (429, 429), 'open_tree': (428, 428),
    'pidfd_open': (434, 434), 'pidfd_getfd': (438, 438), 'pidfd_send_signal': (424, 424),
    'capset': (126, 91), 'reboot': (169, 142), 'syslog': (103, 116), 'renameat2': (316, 276),
    'acct': (163, 89), 'swapon': (167, 224), 'settimeofday': (164, 170), 'mount_setattr': (442, 442),
    'clone3': (435, 435), 'sethostname': (170, 161), 'iopl': (172, None), 'quotactl': (179, 60),
    'open_by_handle_at': (304, 265), 'name_to_handle_at': (303, 264), 'memfd_create': (319, 279),
}

def system(name, *arguments):
    number = NUMBERS[name][0 if platform.machine() == 'x86_64' else 1]
    given = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return check(libc.syscall(ctypes.c_long(number), *given))

def memory(pid, most=400 << 20):
    # Reads a process's writable memory and looks for secrets.
    try:
        maps = open(f'/proc/{pid}/maps').read().splitlines()
        mem = open(f'/proc/{pid}/mem', 'rb', 0)
    except OSError as problem:
        return refused(f'/proc/{pid}/mem', problem)
    seen = 0
    with mem:
        for line in maps:
            span, rights = line.split()[:2]
            if 'r' not in rights or '[v' in line or seen > most:
                continue
            first, last = (int(x, 16) for x in span.split('-'))
            try:
                mem.seek(first)
                data = mem.read(min(last - first, 64 << 20))
            except (OSError, ValueError, OverflowError):
                continue
            seen += len(data)
            loot(data, f'/proc/{pid}/mem')
    print('READ', seen, 'bytes of', pid)

def pids():
    return [int(p) for p in os.listdir('/proc') if p.isdigit()]
"""


def prelude(facts: dict[str, Any]) -> str:
    """The beginning of an attack's code, with what the attacker is assumed to know of the host."""
    return CODE.replace("__W__", repr(json.dumps(facts)))
