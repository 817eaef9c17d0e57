"""The host's side of a kernel: runs cells, answers their calls, brings a lost kernel back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ml_intern.errors import InternError
from ml_intern.sandbox.answers import CALLS_AT_ONCE, Answers
from ml_intern.sandbox.base import Limits, Mounts, Sandbox
from ml_intern.sandbox.cell import CallReply, Cell, CellResult
from ml_intern.sandbox.frames import FRAME_LIMIT, encode
from ml_intern.sandbox.link import Link
from ml_intern.sandbox.obituary import obituary
from ml_intern.sandbox.results import finished, shortened, told_loss
from ml_intern.sandbox.watcher import Watcher

__all__ = ["CALLS_AT_ONCE", "CallReply", "CellResult", "KernelHost"]

START_TRIES, SILENT_TRIES = 3, 2
START_S = 120.0
"""A kernel that says nothing for so long has not started."""


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

    Attributes:
        saving_s: What saving the variables of a kernel before its kill may take: the grace once more.
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
        self.saving_s = grace_s
        self._dropped = 0
        self._tools = list(tools)
        self._answers = Answers(sandbox, mounts, on_call)
        self._running = threading.Lock()
        self._cells = 0
        self._cell: Cell | None = None
        self._link: Link | None = None
        self._known: dict[str, str] = {}
        self._watcher = Watcher(mounts, limits)
        self._files = sandbox.kernel_files(mounts)
        self._closed = False
        self.stopping: Callable[[], bool] = lambda: False
        """Whether something asks right now that what runs shall stop."""

    # Life

    def start(self) -> None:
        """Start the kernel.

        Raises:
            InternError: It did not come up; says what it wrote.
        """
        self._closed = self._answers.closed = False
        self._watcher.begin()
        self._files.open()
        silences = 0
        for left in reversed(range(START_TRIES)):
            why, silent = self._start_once()
            if not why:
                return
            silences += silent
            if not left or self._closed or silences == SILENT_TRIES:
                raise InternError(f"The kernel did not start in the sandbox {self.sandbox.name!r}: {why}.")

    def _start_once(self) -> tuple[str, bool]:
        """One try: why the kernel did not come up, nothing where it did, and whether it said nothing.

        One that died at once is tried again: memory or processes may have been short for a moment. One that
        says nothing, too, but once: its wait is long.
        """
        process = self.sandbox.start_kernel(self.mounts, self.limits)
        link = self._link = Link(process, self._on_frame, self._on_end)
        link.open()
        link.send(self._init())
        answered = link.ready.wait(START_S)
        if answered and not link.ended.is_set():
            self._watcher.follow(link)
            return "", False
        link.end()
        self._link = None
        said = process.last_words().strip()
        ended = f"exit code {process.poll()}" if answered else f"it said nothing for {START_S:g} s"
        return said.splitlines()[-1] if said else ended, not answered

    @property
    def dropped(self) -> int:
        """How many frames made no sense."""
        return self._dropped + self._answers.dropped

    @property
    def alive(self) -> bool:
        """The kernel runs."""
        return self._link is not None and not self._link.ended.is_set()

    def close(self) -> None:
        """End the kernel; a cell that runs ends with it. Calls that run have `grace_s` to end."""
        self._closed = self._answers.closed = True
        self._answers.refuse_waiting()
        link = self._link
        if link is not None and not link.ended.is_set():
            link.send({"type": "exit"})
            link.ended.wait(0.5)
            link.end()
        self._files.close()
        self._answers.close(self.grace_s)

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
            "output_file": str(self._files.output),
            "output_chars": self.output_chars,
            "file_mb": self.limits.file_bytes >> 20,
        }

    # Cells

    def run(self, code: str, on_output: Callable[[str], None] | None = None) -> CellResult:
        """Run a cell and wait for it.

        Args:
            code: Python source.
            on_output: Given what the cell prints while it runs.
        """
        with self._running:
            if self._closed:
                raise InternError("The kernel was closed.")
            lost = self._revive() if not self.alive else ""
            self._watcher.begin()
            self._cells += 1
            cell = self._cell = Cell(self._cells, on_output)
            frame = {"type": "exec", "id": cell.number, "code": code}
            if len(encode(frame)) > FRAME_LIMIT:
                return CellResult(False, error=f"The cell is longer than {FRAME_LIMIT >> 20} MB.", lost=lost)
            if self.stopping():  # nothing of it runs, however short it is
                self._cell = None
                return CellResult(False, error="KeyboardInterrupt before the cell began", lost=lost)
            assert self._link
            trouble = self._exchange(self.sandbox.push)
            self._link.send(frame)
            if self.stopping():  # asked for while this cell was being told
                self.interrupt()
            try:
                why = self._wait(cell)
                trouble += self._exchange(self.sandbox.pull)
            except BaseException:  # a Ctrl-C in this thread: the cell must not run on unseen
                self._stop(cell, "")
                raise
            finally:
                self._cell = None
            if cell.trouble is not None:
                raise cell.trouble
            ended = cell.done is not None
            result = self._finished(cell, cell.done or {}, why, lost) if ended else self._lost(cell, why)
            if not trouble:
                return result
            return replace(result, ok=False, error="\n".join(filter(None, [result.error, *trouble])))

    def _exchange(self, move: Callable[[Mounts], None]) -> list[str]:
        """Bring files in or out; what went wrong is told with the cell's result."""
        try:
            move(self.mounts)
        except InternError as error:
            return [str(error)]
        return []

    def interrupt(self) -> bool:
        """Ask the running cell to stop; where it does not within the grace, its kernel is killed.

        Calls that run go on, see `wait_for_calls`; those that wait or come now are refused. False: no cell
        runs.
        """
        cell, link = self._cell, self._link
        if cell is not None and link is not None:
            cell.ask_to_stop()  # first: a call that comes now is refused
            link.send({"type": "interrupt", "id": cell.number})
            self._answers.refuse_waiting()
            return True
        return False

    @property
    def progress(self) -> tuple[float, int] | None:
        """How long the cell has run that runs, and how much of its output has come; None where none runs."""
        cell = self._cell
        return None if cell is None else cell.progress

    @property
    def calls_running(self) -> int:
        """How many calls the host still works for, also where their cell is gone."""
        return self._answers.running

    def wait_for_calls(self, seconds: float) -> bool:
        """Wait for the calls that still run after an interrupt; whether all ended in time."""
        return self._answers.wait(seconds)

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
            if cell.over:  # an interrupt may have ended it before this thread looked
                return "it was interrupted" if cell.stop_asked and cell.done is not None else ""
        late = f"it ran longer than its {self.timeout_s:g} s (time inside tools not counted)"
        return self._stop(cell, "it was interrupted" if cell.stop_asked else late)

    def _stop(self, cell: Cell, why: str) -> str:
        """Interrupt, wait the grace, and if the cell goes on, kill its kernel."""
        for again in (False, True):  # twice: a retry loop in the cell may have swallowed the first
            if again or cell.stop_asked is None:
                self.interrupt()
            with cell.changed:
                if cell.changed.wait_for(lambda: cell.over, self.grace_s / 2):
                    return why
        if not cell.over and self._link:
            self._keep_variables(self._link)
            self._link.end()
        return why

    def _finished(self, cell: Cell, done: dict[str, Any], why: str, lost: str) -> CellResult:
        result = finished(cell, done, why, lost, self.output_chars)
        for name, words in result.variables.items():
            if words:
                self._known[name] = words
            else:
                self._known.pop(name, None)
        return result

    # Loss and return

    def _lost(self, cell: Cell, why: str) -> CellResult:
        """The kernel is gone: what it still printed, why, and what a new one could save."""
        assert self._link
        cell.say(self._files.unheard(cell.heard_bytes, self.output_chars))
        verdict = self._watcher.verdict()
        if self._closed:
            reason = "The cell was stopped: the kernel was closed."
        elif verdict:
            reason = f"The cell was stopped: {verdict}"
        elif why:
            reason = f"The cell was stopped: {why}, and did not react."
        else:
            reason = obituary(self._link.process, self.limits)
        return CellResult(
            ok=False,
            output=shortened("".join(cell.heard), self.output_chars),
            error=reason,
            seconds=time.monotonic() - cell.began,
            lost=self._revive(),
        )

    def _revive(self) -> str:
        """Start a new kernel in place of the dead one; says what is lost and what survived."""
        if self._closed:
            return ""
        first = self._link is None
        known, self._known = self._known, {}
        verdict = self._watcher.verdict()
        self.start()
        if first:
            return ""
        saved = [name for name in self._restore() if name in known]
        self._known = {name: known[name] for name in saved}
        told = told_loss(list(known), saved)
        return f"Between the cells, {verdict} {told}" if verdict else told

    def _keep_variables(self, link: Link) -> None:
        """Ask a kernel that will be killed to save what it can: a busy Python loop leaves room for that."""
        self._ask(
            link,
            {"type": "snapshot", "path": str(self._files.snapshot), "seconds": self.saving_s},
            self.saving_s + 1,
        )

    def _restore(self) -> list[str]:
        if self._link is None or not self._files.has_snapshot():
            return []
        frame = {"type": "restore", "path": str(self._files.snapshot)}
        try:
            reply = self._ask(self._link, frame, self.saving_s + 10)
        finally:
            self._files.drop_snapshot()
        names = (reply or {}).get("saved")
        return [n[:200] for n in names if isinstance(n, str)] if isinstance(names, list) else []

    def _ask(self, link: Link, frame: dict[str, Any], seconds: float) -> dict[str, Any] | None:
        """Send a frame that is answered by `done` under a number of its own."""
        self._cells += 1
        outer, cell = self._cell, Cell(self._cells, None)
        cell.ask_to_stop()  # no cell of the brain's runs: calls are refused
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
            self._answers.take(link, frame, cell)
        elif cell is None or frame["id"] != cell.number:
            self._dropped += 1
        elif frame["type"] == "output":
            cell.hear(frame)
        else:
            cell.settle(frame)

    def _on_end(self, link: Link) -> None:
        self._dropped += link.dropped
        cell = self._cell
        if link is self._link and cell is not None:
            cell.settle(None)
