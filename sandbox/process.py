"""A child process whose last error lines are kept, started from a thread as long-lived as the sandbox."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from ml_intern.sandbox.tree import below

KEPT = 8192  # bytes of the error stream
END_S = 30.0


def kill_group(pid: int) -> None:
    """Kill a process group; that it is gone already is no error."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def run_quietly(argv: Sequence[str], env: Mapping[str, str] | None = None) -> None:
    """Run what ends a command elsewhere; it may have ended already.

    Args:
        argv: The command.
        env: Its variables; None: the host's own.
    """
    if argv:
        try:
            subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=END_S,
                env=None if env is None else dict(env),
            )
        except (OSError, subprocess.TimeoutExpired):
            pass


class HostProcess:
    """A process group in a session of its own, so that a terminal's Ctrl-C is the host's alone.

    Args:
        argv: The command.
        cwd: Its folder.
        env: All its variables; None: the host's own.
        end: Run after a kill, see `Launch`.
    """

    reason: str = ""

    def __init__(
        self,
        argv: Sequence[str],
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        end: Sequence[str] = (),
    ) -> None:
        self._end = list(end)
        self._popen = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env=None if env is None else dict(env),
            start_new_session=True,
        )
        assert self._popen.stdin and self._popen.stdout
        self.stdin: IO[bytes] = self._popen.stdin
        self.stdout: IO[bytes] = self._popen.stdout
        self.pid = self._popen.pid
        self._killing = threading.Lock()
        self._group_ended = False
        self._said = b""
        self._listener = threading.Thread(target=self._listen, name="kernel errors", daemon=True)
        self._listener.start()

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._popen.poll()

    def kill(self) -> None:
        """End the whole process group, also when only its children are left."""
        with self._killing:
            if self._group_ended:
                return
            self._group_ended = self._popen.poll() is not None  # later its number may be another's
            kill_group(self.pid)
            run_quietly(self._end)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; the exit code."""
        return self._popen.wait(timeout)

    def pids(self) -> set[int]:
        """It and what it started."""
        return {self.pid, *below(self.pid)}

    def last_words(self) -> str:
        """The end of what it wrote to its error stream."""
        if self._popen.poll() is not None:
            self._listener.join(1.0)
        return self._said.decode("utf-8", "replace")

    def _listen(self) -> None:
        stream = self._popen.stderr
        assert stream
        with stream:
            while chunk := os.read(stream.fileno(), KEPT):
                self._said = (self._said + chunk)[-KEPT:]


class Spawner:
    """One long-lived thread that starts processes.

    `--die-with-parent` kills the child when the *thread* that started it ends, so a worker that comes and
    goes must not start kernels.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sandbox")
        self._started: list[HostProcess] = []

    def start(self, make: Callable[[], HostProcess]) -> HostProcess:
        """Start a process from the long-lived thread."""
        process = self._thread.submit(make).result()
        self._started = [p for p in self._started if p.poll() is None]
        self._started.append(process)
        return process

    def stop(self) -> None:
        """Kill what still runs, then let the thread go."""
        for process in self._started:
            process.kill()
            process.wait()
        self._thread.shutdown()
