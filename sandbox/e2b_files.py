"""A kernel's output file and snapshot where they lie in an E2B sandbox."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from ml_intern.errors import InternError
from ml_intern.sandbox.e2b_link import Channel
from ml_intern.sandbox.shared import FOLDER

if TYPE_CHECKING:
    from ml_intern.sandbox.e2b import E2BSandbox

ASK_S = 30.0


class E2BFiles:
    """The files stay inside. What the host had not heard of the output comes with the kernel's end."""

    def __init__(self, sandbox: E2BSandbox, workspace: Path, output: str = "") -> None:
        mark = secrets.token_hex(4)
        folder = workspace.absolute() / FOLDER
        self.output = Path(output) if output else folder / f"kernel-{mark}.out"
        self.snapshot = folder / f"kernel-{mark}.snapshot"
        self._sandbox = sandbox
        self._channel: Channel | None = None

    def open(self) -> None:
        """The other end makes the file when it starts the kernel."""
        self._sandbox.expect(self)

    def started(self, channel: Channel) -> None:
        """The kernel that writes to them."""
        self._channel = channel

    def close(self) -> None:
        """The file goes with the sandbox."""

    def unheard(self, heard: int, limit: int) -> str:
        """The end of the output, from where the kernel last told of it."""
        if self._channel is None or not self._channel.over.is_set():
            return ""
        end = self._channel.end
        first = end.size - len(end.tail)
        begin = max(heard, end.size - limit, first)
        return end.tail[begin - first :][:limit].decode("utf-8", "replace")

    def has_snapshot(self) -> bool:
        """Whether a kernel left a snapshot; in a new sandbox there is none."""
        if self._channel is None or self._channel.ended.is_set():
            return False
        try:
            return self._channel.request("exists", path=str(self.snapshot)).value(ASK_S) is True
        except InternError:
            return False

    def drop_snapshot(self) -> None:
        """Remove the snapshot."""
        if self._channel is not None:
            self._channel.request("remove", tree=0, path=str(self.snapshot))
