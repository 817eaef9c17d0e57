"""A command in an E2B sandbox as a process that the rest of the product understands."""

from __future__ import annotations

import io
from typing import IO, Any, cast

from ml_intern.sandbox.e2b_link import Channel


class E2BProcess:
    """A command reached over its standard streams. On this machine it has no number, so `pid` is 0."""

    pid = 0

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.stdin = cast(IO[bytes], _Input(channel))
        self.stdout = channel.stdout

    def poll(self) -> int | None:
        """The exit code, negative for a signal, or None while it runs."""
        return self.channel.end.code if self.channel.over.is_set() else None

    def kill(self) -> None:
        """End the process and everything it started."""
        self.channel.kill()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; the exit code.

        Raises:
            TimeoutError: It runs on.
        """
        if not self.channel.over.wait(timeout):
            raise TimeoutError(f"the command still runs after {timeout:g} s")
        return self.channel.end.code

    def last_words(self) -> str:
        """The end of what it wrote to its error stream, and why it ended where that was not its own doing."""
        return "\n".join(filter(None, [self.channel.end.words.rstrip(), self.reason]))

    def pids(self) -> set[int]:
        """None: it runs on another machine."""
        return set()

    @property
    def reason(self) -> str:
        """Why it ended, where more is known than an exit code: the sandbox is gone, say."""
        return self.channel.end.reason


class _Input(io.RawIOBase):
    """What is written waits for the next request, together with all else that waits."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def writable(self) -> bool:
        """It is for writing."""
        return True

    def write(self, data: Any) -> int:
        """Take bytes."""
        if self._channel.over.is_set():
            raise BrokenPipeError("the command has ended")
        self._channel.write(bytes(data))
        return len(data)
