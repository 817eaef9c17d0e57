"""A command in a sandbox, from start to end."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence

from ml_intern.errors import Interrupted
from ml_intern.sandbox.base import Limits, Mounts, Sandbox
from ml_intern.sandbox.growth import Growth
from ml_intern.sandbox.process import kill_group, run_quietly
from ml_intern.sandbox.tree import below

KEPT = 4 << 20
"""Bytes of the output that are kept from each end."""

OUTPUT_MB = 64
"""A command that writes more is ended, where nothing else is said."""

SLICE_S = 0.1
CHUNK = 1 << 16
REST_BYTES = 8 << 20
"""After the end no more is read than this: a process that got away could write for ever."""


def run_in_sandbox(
    sandbox: Sandbox,
    mounts: Mounts,
    limits: Limits,
    argv: Sequence[str],
    timeout: float,
    cancelled: Callable[[], bool] = lambda: False,
    *,
    output_mb: int | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command behind the walls and wait for it.

    Output and errors come together in `stdout`, in the order in which they were written: the first and the
    last `KEPT` bytes. A command that writes more than `output_mb` is ended; the last line says so.

    Args:
        sandbox: The walls.
        mounts: What the command sees of the host.
        limits: What it may use.
        argv: The command.
        timeout: Seconds.
        cancelled: Asked again and again; where it says yes, the command is ended.
        output_mb: What it may write; by default `OUTPUT_MB`, or `limits.disk_mb` where that is less.

    Raises:
        subprocess.TimeoutExpired: It took longer; its `output` is what was written until then.
        Interrupted: It was cancelled.
    """
    most = min(limits.disk_mb, OUTPUT_MB) if output_mb is None else output_mb
    deadline = time.monotonic() + timeout
    launch = sandbox.launch(argv, mounts, limits)
    sandbox.push(mounts)
    with subprocess.Popen(
        launch.argv,
        env={**os.environ, **launch.env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        output = _Output(process)
        growth = _growth(mounts, limits, process.pid)
        why = ""
        try:
            while process.poll() is None and not why:
                if cancelled():
                    raise Interrupted("The command was stopped.")
                if time.monotonic() >= deadline:
                    why = "late"
                elif output.size > most << 20:
                    why = f"it wrote more than {most} MB"
                elif growth and growth.over():
                    why = f"the workspace grew by more than {growth.limit_mb:.0f} MB"
                else:
                    output.read(min(SLICE_S, timeout))
        finally:
            output.end()
            run_quietly(launch.end, {**os.environ, **launch.env})
            sandbox.pull(mounts)
    if why == "late":
        raise subprocess.TimeoutExpired(list(argv), timeout, output=output.text())
    text = output.text()
    if output.size > most << 20:  # also where it had ended before anybody looked
        why = f"it wrote more than {most} MB"
    if why:
        text += f"\nThe command was ended: {why}."
    return subprocess.CompletedProcess(list(argv), process.returncode, text, "")


def _growth(mounts: Mounts, limits: Limits, pid: int) -> Growth | None:
    if limits.growth_mb is None:
        return None
    return Growth([mounts.workspace, *mounts.writable], limits.growth_mb, lambda: {pid, *below(pid)})


class _Output:
    """What a process writes: its beginning, its end, and the number of bytes.

    Read from a pipe, so that nothing of it lies on the host's disk.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout
        self.size = 0
        self._process = process
        self._fd = process.stdout.fileno()
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)
        self._open = True
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_size = 0

    def read(self, seconds: float) -> bool:
        """Take what is there, or wait for it; whether something came."""
        if not self._open:
            # The process closed its output and goes on.
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                pass
            return False
        if not self._poll.poll(seconds * 1000):
            return False
        chunk = os.read(self._fd, CHUNK)
        self._open = bool(chunk)
        self._keep(chunk)
        return self._open

    def end(self) -> None:
        """End the process group and take what it had still written."""
        kill_group(self._process.pid)
        self._process.wait()
        most = self.size + REST_BYTES
        while self._open and self.size < most and self.read(0):
            pass

    def text(self) -> str:
        """The whole, or both ends and the number of bytes between them."""
        tail = b"".join(self._tail)[-KEPT:]
        left_out = self.size - len(self._head) - len(tail)
        if not left_out:
            return (bytes(self._head) + tail).decode("utf-8", "replace")
        middle = f"\n… {left_out} bytes left out …\n"
        return self._head.decode("utf-8", "replace") + middle + tail.decode("utf-8", "replace")

    def _keep(self, chunk: bytes) -> None:
        self.size += len(chunk)
        room = KEPT - len(self._head)
        self._head += chunk[:room]
        rest = chunk[max(room, 0) :]
        if rest:
            self._tail.append(rest)
            self._tail_size += len(rest)
        while self._tail and self._tail_size - len(self._tail[0]) >= KEPT:
            self._tail_size -= len(self._tail.popleft())
