"""Answers the calls of a cell: takes what the kernel asks, has the tool run, sends what came of it.

The kernel is not believed. A call without a cell, one too many, one that is there already or makes no sense
gets a refusal or nothing, and whatever a tool does, the cell gets a reply.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ml_intern.errors import InternError
from ml_intern.sandbox.base import Mounts, Sandbox
from ml_intern.sandbox.calls import Calls
from ml_intern.sandbox.cell import CallReply, Cell
from ml_intern.sandbox.frames import FRAME_LIMIT, encode
from ml_intern.sandbox.link import Link

CALLS_AT_ONCE = 32
CALLS_WAITING = 1000

REFUSED = CallReply(False, message="The cell was interrupted.")


class Answers:
    """The calls of one host's kernels.

    Args:
        sandbox: Brings the workspace up to date before a tool runs and after it.
        mounts: Where the workspace is.
        on_call: Runs a tool; called from several threads at a time.
    """

    def __init__(
        self, sandbox: Sandbox, mounts: Mounts, on_call: Callable[[str, dict[str, Any]], CallReply]
    ) -> None:
        self.dropped = 0
        self.closed = False
        self._sandbox, self._mounts, self._on_call = sandbox, mounts, on_call
        self._calls = Calls(CALLS_AT_ONCE)
        self._waiting: set[tuple[Link, int]] = set()

    @property
    def running(self) -> int:
        """How many calls the host works for."""
        return self._calls.running

    def refuse_waiting(self) -> None:
        """Refuse what has not begun."""
        self._calls.refuse_waiting()

    def wait(self, seconds: float) -> bool:
        """Wait for the calls that run; whether all ended in time."""
        return self._calls.wait(seconds)

    def close(self, grace_s: float) -> None:
        """Give what runs a while to end, then let the threads go."""
        self._calls.wait(grace_s)
        self._calls.close()

    def take(self, link: Link, frame: dict[str, Any], cell: Cell | None) -> None:
        """Begin to answer a call, or refuse it."""
        call, tool, arguments = frame["id"], frame.get("tool"), frame.get("arguments")
        if not isinstance(tool, str) or not isinstance(arguments, dict) or (link, call) in self._waiting:
            self.dropped += 1
        elif cell is None or cell.over:  # Its files may still be fetched, which takes time.
            told = f"{tool} was called while no cell runs."
            _send(link, call, CallReply(False, message=told, hint="Call it from a cell."))
        elif cell.stop_asked is not None:
            _send(link, call, REFUSED)
        elif len(self._waiting) >= CALLS_WAITING:
            told = f"{CALLS_WAITING} calls wait already."
            _send(link, call, CallReply(False, message=told, hint="Call fewer at a time."))
        else:
            self._waiting.add((link, call))
            cell.clock.enter()
            self._calls.submit(partial(self._answer, link, cell, call, tool, arguments))

    def _answer(
        self, link: Link, cell: Cell, call: int, tool: str, arguments: dict[str, Any], go: bool
    ) -> None:
        # Asked again on the call's own thread: after an interrupt, only what is counted as running goes on.
        wanted = go and cell.stop_asked is None and not cell.died and not self.closed
        reply = self._reply_of(tool, arguments) if wanted else REFUSED
        self._waiting.discard((link, call))
        cell.clock.leave()
        _send(link, call, reply)

    def _reply_of(self, tool: str, arguments: dict[str, Any]) -> CallReply:
        try:
            self._sandbox.pull(self._mounts)
            try:
                return self._on_call(tool, arguments)
            finally:
                self._sandbox.push(self._mounts)
        except InternError as error:
            return CallReply(False, message=error.message, hint=error.hint)
        except Exception as error:  # noqa: BLE001 - top of a thread: a tool's bug must not hang the cell
            return CallReply(False, message=f"{tool} failed inside: {type(error).__name__}: {error}")


def _send(link: Link, call: int, reply: CallReply) -> None:
    frame = {"type": "return", "id": call, "ok": reply.ok, "value": reply.value}
    try:
        size = len(encode(frame))
    except (TypeError, ValueError, RecursionError) as error:
        reply, size = CallReply(False, message=f"The tool's result cannot be sent: {error}."), 0
    if size > FRAME_LIMIT:
        told = f"The result is {size >> 20} MB."
        reply = CallReply(False, message=told, hint="Ask for less, or for a file.")
    value = reply.value if reply.ok else None
    link.send({**frame, "ok": reply.ok, "value": value, "message": reply.message, "hint": reply.hint})
