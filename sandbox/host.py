"""The host's side of a kernel: runs cells, answers their calls, brings a lost kernel back."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml_intern.errors import InternError
from ml_intern.sandbox.base import Limits, Mounts, Sandbox
from ml_intern.sandbox.frames import FRAME_LIMIT, encode, text, texts
from ml_intern.sandbox.link import Link
from ml_intern.sandbox.obituary import obituary
from ml_intern.sandbox.process import HostProcess

START_S = 60.0
"""A kernel that says nothing for so long has not started."""

CALLS_AT_ONCE = 32
CALLS_WAITING = 1000
STREAMED_CHARS = 4 << 20
"""Of one cell, what `on_output` is given at the most; the cell's file has the rest."""

FOLDER = ".ml-intern"
"""Folder of the workspace for what kernel and host share."""


@dataclass(frozen=True)
class CallReply:
    """A tool's answer. Where it is not ok, the cell gets a `ToolError` with message and hint."""

    ok: bool
    value: Any = None
    message: str = ""
    hint: str = ""


@dataclass(frozen=True)
class CellResult:
    """What came of a cell.

    Attributes:
        ok: It ran to its end or gave the final answer.
        output: What it printed, whole or head and tail with the path of the whole.
        value: The repr of its last expression, or nothing.
        error: Its traceback, or why it was stopped.
        final: It gave the final answer.
        answer: The final answer.
        variables: New and changed variables in words; a deleted one is an empty text.
        seconds: How long it took, calls included.
        lost: What a restart of the kernel lost and what survived; nothing where there was none.
    """

    ok: bool
    output: str = ""
    value: str = ""
    error: str = ""
    final: bool = False
    answer: str = ""
    variables: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    lost: str = ""


class Stopwatch:
    """A cell's own time: stands still while the host works for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._own = 0.0
        self._since = time.monotonic()
        self._calls = 0

    @property
    def own(self) -> float:
        """Seconds the cell itself has used."""
        with self._lock:
            return self._own + (time.monotonic() - self._since if self._calls == 0 else 0.0)

    def enter(self) -> None:
        """A call begins."""
        with self._lock:
            if self._calls == 0:
                self._own += time.monotonic() - self._since
            self._calls += 1

    def leave(self) -> None:
        """A call ended."""
        with self._lock:
            self._calls -= 1
            if self._calls == 0:
                self._since = time.monotonic()


class Cell:
    """A cell that runs."""

    def __init__(self, number: int, on_output: Callable[[str], None] | None) -> None:
        self.number = number
        self.began = time.monotonic()
        self.clock = Stopwatch()
        self.changed = threading.Condition()
        self.done: dict[str, Any] | None = None
        self.died = False
        self.stop_asked: float | None = None
        self.heard: list[str] = []
        self.heard_bytes = 0
        self._chars = 0
        self._on_output = on_output
        self.trouble: Exception | None = None

    def hear(self, frame: dict[str, Any]) -> None:
        """Take a piece of output."""
        piece = text(frame.get("text"), STREAMED_CHARS - self._chars)
        offset = frame.get("offset")
        self.heard_bytes = offset if type(offset) is int else self.heard_bytes
        self.say(piece)

    def say(self, piece: str) -> None:
        """Keep a piece of output and pass it on."""
        if not piece:
            return
        self._chars += len(piece)
        self.heard.append(piece)
        if self._on_output is not None:
            try:
                self._on_output(piece)
            except Exception as error:  # noqa: BLE001 - the reader thread must go on; `run` raises it
                self._on_output, self.trouble = None, error

    def settle(self, done: dict[str, Any] | None) -> None:
        """The cell ended, or its kernel did."""
        with self.changed:
            self.done, self.died = self.done or done, done is None
            self.changed.notify_all()

    def ask_to_stop(self) -> None:
        """Remember when the cell was first asked to stop."""
        with self.changed:
            self.stop_asked = self.stop_asked or time.monotonic()
            self.changed.notify_all()

    @property
    def over(self) -> bool:
        """Nothing more will come."""
        return self.done is not None or self.died


class KernelHost:
    """Keeps one kernel for a session.

    Args:
        sandbox: The walls.
        mounts: What the kernel sees of the host.
        limits: What it may use.
        tools: `ToolSpec.proxy()` of each tool.
        on_call: Runs a tool; called from a pool of threads, several at a time. It answers and does not raise.
        timeout_s: A cell's own time; what host tools take does not count.
        grace_s: From the interrupt to the kill.
        output_chars: A cell's text is whole up to here; above, it is head, tail and the path of the whole.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        mounts: Mounts,
        limits: Limits,
        tools: Sequence[dict[str, Any]],
        on_call: Callable[[str, dict[str, Any]], CallReply],
        timeout_s: float,
        grace_s: float,
        output_chars: int = 20_000,
    ) -> None:
        self.sandbox, self.mounts, self.limits = sandbox, mounts, limits
        self.timeout_s, self.grace_s, self.output_chars = timeout_s, grace_s, output_chars
        self.dropped = 0
        self._tools = list(tools)
        self._on_call = on_call
        self._pool = ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="tool")
        self._running = threading.Lock()
        self._cells = 0
        self._cell: Cell | None = None
        self._link: Link | None = None
        self._waiting: set[tuple[Link, int]] = set()
        self._known: dict[str, str] = {}
        self._output: Path | None = None
        self._snapshot = mounts.workspace / FOLDER / f"kernel-{secrets.token_hex(4)}.snapshot"
        self._output_fd = -1

    # Life

    def start(self) -> None:
        """Start the kernel.

        Raises:
            InternError: It did not come up; says what it wrote.
        """
        self._open_output()
        process = self.sandbox.start_kernel(self.mounts, self.limits)
        link = self._link = Link(process, self._on_frame, self._on_end)
        link.open()
        link.send(self._init())
        if not link.ready.wait(START_S) or link.ended.is_set():
            link.end()
            self._link = None
            words = process.last_words().strip() if isinstance(process, HostProcess) else ""
            last = words.splitlines()[-1] if words else f"exit code {process.poll()}"
            raise InternError(f"The kernel did not start in the sandbox {self.sandbox.name!r}: {last}.")

    @property
    def alive(self) -> bool:
        """The kernel runs."""
        return self._link is not None and not self._link.ended.is_set()

    def close(self) -> None:
        """End the kernel."""
        link, self._link = self._link, None
        if link is not None:
            link.send({"type": "exit"})
            link.ended.wait(0.5)
            link.end()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._close_output()

    def set_tools(self, tools: Sequence[dict[str, Any]]) -> None:
        """Change what the next cells can call."""
        self._tools = list(tools)
        if self.alive and self._link:
            self._link.send(self._init())

    def _init(self) -> dict[str, Any]:
        return {
            "type": "init",
            "tools": self._tools,
            "workspace": str(self.mounts.workspace),
            "output_file": str(self._output) if self._output else None,
            "output_chars": self.output_chars,
        }

    # Cells

    def run(self, code: str, on_output: Callable[[str], None] | None = None) -> CellResult:
        """Run a cell and wait for it.

        Args:
            code: Python source.
            on_output: Given what the cell prints while it runs.
        """
        with self._running:
            lost = self._revive() if not self.alive else ""
            self._cells += 1
            cell = self._cell = Cell(self._cells, on_output)
            frame = {"type": "exec", "id": cell.number, "code": code}
            if len(encode(frame)) > FRAME_LIMIT:
                return CellResult(False, error=f"The cell is longer than {FRAME_LIMIT >> 20} MB.", lost=lost)
            assert self._link
            self._link.send(frame)
            try:
                why = self._wait(cell)
            except BaseException:  # a Ctrl-C in this thread: the cell must not run on unseen
                self._stop(cell, "")
                raise
            finally:
                self._cell = None
            if cell.trouble is not None:
                raise cell.trouble
            if cell.done is not None:
                return self._finished(cell, cell.done, why, lost)
            return self._lost(cell, why)

    def interrupt(self) -> None:
        """Ask the running cell to stop; where it does not within the grace, its kernel is killed."""
        cell, link = self._cell, self._link
        if cell is not None and link is not None:
            link.send({"type": "interrupt"})
            cell.ask_to_stop()

    def _wait(self, cell: Cell) -> str:
        """Wait for the end of a cell; why it was stopped, or nothing."""
        with cell.changed:
            while not cell.over:
                if cell.stop_asked is not None:
                    break
                left = self.timeout_s - cell.clock.own
                if left <= 0:
                    break
                cell.changed.wait(min(left, 0.5))
            if cell.over:
                return ""
        late = f"it ran longer than its {self.timeout_s:g} s (time inside tools not counted)"
        return self._stop(cell, "it was interrupted" if cell.stop_asked else late)

    def _stop(self, cell: Cell, why: str) -> str:
        """Interrupt, wait the grace, and if the cell goes on, kill its kernel."""
        if cell.stop_asked is None:
            self.interrupt()
            cell.ask_to_stop()
        with cell.changed:
            cell.changed.wait_for(lambda: cell.over, self.grace_s)
        if not cell.over and self._link:
            self._keep_variables(self._link)
            self._link.end()
        return why

    def _finished(self, cell: Cell, done: dict[str, Any], why: str, lost: str) -> CellResult:
        variables = texts(done.get("variables"), 200, 200)
        for name, words in variables.items():
            if words:
                self._known[name] = words
            else:
                self._known.pop(name, None)
        error = text(done.get("error"), 40_000)
        if why and error.startswith("KeyboardInterrupt"):
            error += f"\nThe cell was stopped: {why}. Variables are as the cell left them."
        return CellResult(
            ok=done.get("ok") is True,
            output=text(done.get("output"), 4 * self.output_chars + 1000),
            value=text(done.get("value"), 20_000),
            error=error,
            final=done.get("final") is True,
            answer=text(done.get("answer"), 1 << 20),
            variables=variables,
            seconds=time.monotonic() - cell.began,
            lost=lost,
        )

    # Loss and return

    def _lost(self, cell: Cell, why: str) -> CellResult:
        """The kernel is gone: what it still printed, why, and what a new one could save."""
        assert self._link
        cell.say(self._unheard(cell))
        reason = (
            f"The cell was stopped: {why}, and did not react."
            if why
            else obituary(self._link.process, self.limits)
        )
        return CellResult(
            ok=False,
            output=self._shorten("".join(cell.heard)),
            error=reason,
            seconds=time.monotonic() - cell.began,
            lost=self._revive(),
        )

    def _revive(self) -> str:
        """Start a new kernel in place of the dead one; says what is lost and what survived."""
        first = self._link is None
        known, self._known = self._known, {}
        self.start()
        if first:
            return ""
        saved = [name for name in self._restore() if name in known]
        self._known = {name: known[name] for name in saved}
        gone = [name for name in known if name not in saved]
        told = "The kernel was restarted."
        if saved:
            told += f" Survived: {_listed(saved)}."
        told += f" Lost: {_listed(gone)}." if gone else ("" if saved else " There were no variables to lose.")
        return told

    def _keep_variables(self, link: Link) -> None:
        """Ask a kernel that will be killed to save what it can: a busy Python loop leaves room for that."""
        self._ask(
            link,
            {"type": "snapshot", "path": str(self._snapshot), "seconds": self.grace_s},
            self.grace_s + 1,
        )

    def _restore(self) -> list[str]:
        path = self._snapshot
        if self._link is None or not path.is_file():
            return []
        try:
            reply = self._ask(self._link, {"type": "restore", "path": str(path)}, self.grace_s + 10)
        finally:
            path.unlink(missing_ok=True)
        names = (reply or {}).get("saved")
        return [n[:200] for n in names if isinstance(n, str)] if isinstance(names, list) else []

    def _ask(self, link: Link, frame: dict[str, Any], seconds: float) -> dict[str, Any] | None:
        """Send a frame that is answered by `done` under a number of its own."""
        self._cells += 1
        outer, cell = self._cell, Cell(self._cells, None)
        self._cell = cell
        link.send({**frame, "id": cell.number})
        with cell.changed:
            cell.changed.wait_for(lambda: cell.over, seconds)
        self._cell = outer
        return cell.done

    # Frames, on the reader thread

    def _on_frame(self, link: Link, frame: dict[str, Any]) -> None:
        cell = self._cell
        if link is not self._link:
            return
        if frame["type"] == "call":
            self._take_call(link, frame, cell)
        elif cell is None or frame["id"] != cell.number:
            self.dropped += 1
        elif frame["type"] == "output":
            cell.hear(frame)
        else:
            cell.settle(frame)

    def _on_end(self, link: Link) -> None:
        self.dropped += link.dropped
        cell = self._cell
        if link is self._link and cell is not None:
            cell.settle(None)

    def _take_call(self, link: Link, frame: dict[str, Any], cell: Cell | None) -> None:
        call, tool, arguments = frame["id"], frame.get("tool"), frame.get("arguments")
        if not isinstance(tool, str) or not isinstance(arguments, dict) or (link, call) in self._waiting:
            self.dropped += 1
        elif cell is None:
            self._reply(
                link,
                call,
                CallReply(
                    False, message=f"{tool} was called while no cell runs.", hint="Call it from a cell."
                ),
            )
        elif len(self._waiting) >= CALLS_WAITING:
            self._reply(
                link,
                call,
                CallReply(
                    False, message=f"{CALLS_WAITING} calls wait already.", hint="Call fewer at a time."
                ),
            )
        else:
            self._waiting.add((link, call))
            cell.clock.enter()
            self._pool.submit(self._answer, link, cell, call, tool, arguments)

    def _answer(self, link: Link, cell: Cell, call: int, tool: str, arguments: dict[str, Any]) -> None:
        try:
            reply = self._on_call(tool, arguments)
        except InternError as error:
            reply = CallReply(False, message=error.message, hint=error.hint)
        except Exception as error:  # noqa: BLE001 - top of a thread: a tool's bug must not hang the cell
            reply = CallReply(False, message=f"{tool} failed inside: {type(error).__name__}: {error}")
        self._waiting.discard((link, call))
        cell.clock.leave()
        self._reply(link, call, reply)

    @staticmethod
    def _reply(link: Link, call: int, reply: CallReply) -> None:
        frame = {"type": "return", "id": call, "ok": reply.ok, "value": reply.value}
        try:
            size = len(encode(frame))
        except (TypeError, ValueError, RecursionError) as error:
            reply, size = CallReply(False, message=f"The tool's result cannot be sent: {error}."), 0
        if size > FRAME_LIMIT:
            reply = CallReply(
                False, message=f"The result is {size >> 20} MB.", hint="Ask for less, or for a file."
            )
        value = reply.value if reply.ok else None
        link.send({**frame, "ok": reply.ok, "value": value, "message": reply.message, "hint": reply.hint})

    # The output file: the host makes it and holds it open, so what a dead kernel printed is still there

    def _open_output(self) -> None:
        self._close_output()
        folder = self.mounts.workspace / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
        self._output = folder / f"kernel-{secrets.token_hex(4)}.out"
        self._output_fd = os.open(
            self._output, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )

    def _close_output(self) -> None:
        if self._output_fd >= 0:
            os.close(self._output_fd)
            self._output_fd = -1
        if self._output:
            self._output.unlink(missing_ok=True)

    def _unheard(self, cell: Cell) -> str:
        size = os.fstat(self._output_fd).st_size
        begin = max(cell.heard_bytes, size - self.output_chars)
        return (
            os.pread(self._output_fd, self.output_chars, begin).decode("utf-8", "replace")
            if size > begin
            else ""
        )

    def _shorten(self, whole: str) -> str:
        if len(whole) <= self.output_chars:
            return whole
        half = self.output_chars // 2
        return f"{whole[:half]}\n… {len(whole) - 2 * half} characters left out …\n{whole[-half:]}"


def _listed(names: Sequence[str], limit: int = 30) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
