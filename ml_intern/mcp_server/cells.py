"""Cells of an assistant: Python in the sandbox's kernel, with the tools as functions."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ml_intern.agent.executor import CellFailed, KernelExecutor
from ml_intern.errors import Interrupted
from ml_intern.events import CellOutput, Event, ToolProgress
from ml_intern.mcp_server.running import Running
from ml_intern.mcp_server.words import RUN_CELL
from ml_intern.research.reader import Reader
from ml_intern.router.calls import Outcome
from ml_intern.router.proxies import keep
from ml_intern.router.stopping import Stop
from ml_intern.sandbox.host import KernelHost
from ml_intern.secrets.masking import mask
from ml_intern.workspace.snapshots import Snapshots

if TYPE_CHECKING:
    from ml_intern.mcp_server.session import ToolSession


POLL_S = 0.1


class CellCalls(Reader):
    """The router as the cells meet it, with a stop of its own: other calls go on when a cell is stopped."""

    def __init__(self, session: ToolSession) -> None:
        self._router, self.source, self.name = session.router, "cell", ""
        self.interrupted = threading.Event()
        self.stop = Stop(self.interrupted)
        self.earlier = session.router.earlier
        self.running: Running | None = None
        self.services = replace(session.router.services, emit=self._emit)

    def call(self, name: str, given: Mapping[str, object], source: str = "cell") -> Outcome:
        """A call of the running cell."""
        return self._router.call(name, given, source=source, reader=self)

    def begin_rebuilding(self) -> None:
        """From here on finished cells run again."""
        self._router.begin_rebuilding()

    def _emit(self, event: Event) -> None:
        if (running := self.running) is not None:
            if isinstance(event, CellOutput) and event.text.strip():
                running.emit(ToolProgress(RUN_CELL, event.text.strip().splitlines()[-1]))
            else:
                running.emit(event)
                return
        self._router.services.emit(event)


class Cells:
    """The kernel of a session, one cell at a time."""

    def __init__(self, session: ToolSession) -> None:
        self._session = session
        self._turn = threading.Lock()
        self._router = CellCalls(session)
        self.stop = self._router.stop
        settings, proxies = session.settings, session.proxies()
        keep(session.folder, proxies)
        session.kernel = self._kernel = KernelHost(
            session.sandbox,
            session.walls.mounts(),
            session.walls.limits(),
            proxies,
            lambda name, arguments: self._executor.call_tool(name, arguments),
            timeout_s=settings.cell_timeout_s,
            grace_s=settings.cell_grace_s,
            output_chars=settings.observation_chars,
        )
        self._executor = KernelExecutor(
            self._kernel,
            self._router,
            session.journal,
            settings.observation_chars,
            session.recorded,
            Snapshots.off(),
            session.took_over,
        )
        self._cut = session.recorded.under_way
        self._steps = max([*session.recorded.cells, self._cut], default=0)
        self._recall()

    def _recall(self) -> None:
        """The cells of earlier processes, which the kernel runs again before the next one."""
        if not self._session.recorded.cells:
            self._kernel.start()
        for step, ran in sorted(self._session.recorded.cells.items()):
            self._executor.step = step
            try:
                self._executor(ran.code)
            except CellFailed:
                pass

    def run(self, code: str, running: Running) -> Outcome:
        """Run a cell for a call; what it printed, or the error with its own lines."""
        while not self._turn.acquire(timeout=POLL_S):
            if running.interrupted.is_set():
                raise Interrupted("Stopped while another cell ran.")
        watch = threading.Thread(target=self._watch, args=(running,), daemon=True)
        try:
            self._router.running = running
            self._executor.step = self._step(code)
            running.begins(f"cell-{self._executor.step}")
            watch.start()
            return self._run(code)
        finally:
            self._router.running = None
            running.over.set()
            watch.join()
            self._turn.release()

    def _run(self, code: str) -> Outcome:
        try:
            output = self._executor(code)
        except CellFailed as failed:
            self.stop.was_only_this()
            return Outcome(False, message=failed.message)
        if output.is_final_answer:
            return Outcome(True, f"{output.logs}\nFinal answer: {mask(str(output.output))}")
        return Outcome(True, output.logs)

    def _step(self, code: str) -> int:
        """The number of a cell; one that was cut off and comes again has its old one."""
        cut, self._cut = self._cut, 0
        if cut and self._session.cut_code(cut) == code:
            return cut
        self._steps += 1
        return self._steps

    def _watch(self, running: Running) -> None:
        """Stop the cell when its call is cancelled."""
        while not running.over.wait(POLL_S):
            if running.stop.is_set():
                self.stop_this()

    def stop_this(self) -> bool:
        """Stop the cell that runs; whether there was one."""
        if not self.stop.this(("cell",)):
            return False
        self._kernel.interrupt()
        return True


class RunningCell(Running):
    """A call of ``run_cell``."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._sources: list[str] = []

    def begins(self, source: str) -> None:
        """Questions of this cell's calls come here."""
        self._asking.begin(source, self)
        self._sources.append(source)

    def outcome(self) -> Outcome:
        """Run the code that was given."""
        try:
            code = self.given.get("code")
            if not isinstance(code, str) or set(self.given) != {"code"}:
                return Outcome(False, message=f"{RUN_CELL} takes one argument, code: the Python to run.")
            return self.session.with_cells().run(code, self)
        finally:
            for source in self._sources:
                self._asking.end(source)
