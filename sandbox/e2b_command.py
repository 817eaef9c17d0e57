"""The command that runs inside, as an ordinary user: started, fed, listened to and ended.

Standard library only: uploaded, and run inside beside `e2b_inside`.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import resource
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

WORDS = 8192
ANSWERED = (b'{"type": "call",', b'{"type": "done",')
"""How the frames of a kernel begin that the host answers with its own hands."""

HEAD = len(ANSWERED[0])
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 36, 38


class Command:
    """One command and its streams.

    Args:
        user: Who it runs as; None: as we do.
        on_output: Given what it prints.
        on_answered: Told before frames are passed on that the host will answer: how many, and whether one of
            them ends a cell.
        on_end: Told its exit code and the end of its error stream, when nothing of it is left.
    """

    def __init__(
        self,
        user: pwd.struct_passwd | None,
        on_output: Callable[[bytes], None],
        on_answered: Callable[[int, bool], None],
        on_end: Callable[[int, str], None],
    ) -> None:
        self._user = user
        self._on_output, self._on_answered, self._on_end = on_output, on_answered, on_end
        self._child: subprocess.Popen[bytes] | None = None
        self._inputs: deque[bytes] = deque()
        self._fed = threading.Condition()
        self._words = b""
        self._head = b""
        self._frames = False

    @property
    def running(self) -> bool:
        """It was started and has not ended."""
        return self._child is not None and self._child.poll() is None

    def start(self, request: dict[str, Any]) -> None:
        """Start it; that this fails is told as its end."""
        user, self._frames = self._user, request["frames"]
        drop = user is not None and os.geteuid() == 0
        home = user.pw_dir if user and os.path.isdir(user.pw_dir) else "/tmp"  # noqa: PTH112
        env = {"PATH": os.environ.get("PATH", os.defpath), "HOME": home, "TMPDIR": "/tmp", **request["env"]}
        try:
            self._child = subprocess.Popen(
                request["argv"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE if self._frames else subprocess.STDOUT,
                cwd=request["cwd"],
                env=env,
                user=user.pw_uid if user and drop else None,
                group=user.pw_gid if user and drop else None,
                extra_groups=[] if drop else None,
                start_new_session=True,
                preexec_fn=lambda: _bind(request["limits"]),
            )
        except OSError as error:
            self._on_end(127, f"{request['argv'][0]!r} cannot be started inside: {error.strerror or error}.")
            return
        readers = [threading.Thread(target=w, daemon=True) for w in (self._read_output, self._read_errors)]
        others = [
            threading.Thread(target=self._write_input, daemon=True),
            threading.Thread(target=self._wait, args=(readers,), daemon=True),
        ]
        for thread in [*readers, *others]:
            thread.start()

    def feed(self, data: bytes) -> None:
        """Give it input, when it reads."""
        with self._fed:
            self._inputs.append(data)
            self._fed.notify_all()

    def _write_input(self) -> None:
        """On a thread of its own: a command that does not read must not hold the host's other messages."""
        assert self._child and self._child.stdin
        try:
            while True:
                with self._fed:
                    self._fed.wait_for(lambda: self._inputs)
                    data = self._inputs.popleft()
                self._child.stdin.write(data)
                self._child.stdin.flush()
        except OSError:
            pass  # it closed its input, or is gone

    def _read_output(self) -> None:
        assert self._child and self._child.stdout
        fd = self._child.stdout.fileno()
        while chunk := os.read(fd, 1 << 16):
            kinds = self._kinds(chunk) if self._frames else []
            if kinds:
                self._on_answered(len(kinds), ANSWERED[1] in kinds)
            self._on_output(chunk)

    def _kinds(self, chunk: bytes) -> list[bytes]:
        """The beginnings of lines, in this chunk, that the host will answer."""
        found = []
        pieces = chunk.split(b"\n")
        for index, piece in enumerate(pieces):
            if len(self._head) < HEAD:
                self._head = (self._head + piece[:HEAD])[:HEAD]
                if self._head in ANSWERED:
                    found.append(self._head)
            if index < len(pieces) - 1:
                self._head = b""
        return found

    def _read_errors(self) -> None:
        if self._child and self._child.stderr:
            while chunk := os.read(self._child.stderr.fileno(), WORDS):
                self._words = (self._words + chunk)[-WORDS:]

    def _wait(self, readers: list[threading.Thread]) -> None:
        assert self._child
        code = self._child.wait()
        end_tree()  # what it left holds its output open
        for reader in readers:
            reader.join(5.0)
        self._on_end(code, self._words.decode("utf-8", "replace"))


def ordinary_user() -> pwd.struct_passwd | None:
    """Who a command runs as: E2B's own user, else the first ordinary one, else nobody."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    ordinary = sorted((e for e in known.values() if 1000 <= e.pw_uid < 60_000), key=lambda e: e.pw_uid)
    return known.get("user") or (ordinary[0] if ordinary else known.get("nobody"))


def adopt_orphans() -> None:
    """What a command leaves behind becomes ours, so that we can end it."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def end_tree() -> None:
    """End every process below this one, also those whose parents are gone."""
    for _ in range(200):
        below = _below(os.getpid())
        if not below:
            return
        for pid in below:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        time.sleep(0.01)


def _bind(limits: dict[str, int]) -> None:
    """In the child: no way to more rights, an end with its parent, and bounds."""
    _prctl(PR_SET_NO_NEW_PRIVS, 1)  # E2B's user may become root with sudo
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name, most in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))


def _below(root: int) -> set[int]:
    """The living processes below `root`."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", errors="replace") as file:  # noqa: PTH123
                    state, parent = file.read().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            if state != "Z":
                children.setdefault(int(parent), []).append(int(name))
    found: set[int] = set()
    waiting = list(children.get(root, []))
    while waiting:
        pid = waiting.pop()
        found.add(pid)
        waiting.extend(children.get(pid, []))
    return found


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
