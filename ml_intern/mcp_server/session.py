"""A session without a brain of its own: its calls come from an assistant."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.agent.inbox import What
from ml_intern.errors import InternError, LimitReached, UsageError
from ml_intern.events import Notice
from ml_intern.journal.journal import Journal
from ml_intern.mcp_server.nobody import LABEL
from ml_intern.router.earlier import Earlier
from ml_intern.router.recorded import Recorded
from ml_intern.session.session import Session
from ml_intern.settings import Settings
from ml_intern.workspace.disk import DiskTrouble
from ml_intern.workspace.snapshots import Snapshots

if TYPE_CHECKING:
    from ml_intern.mcp_server.asking import Asking
    from ml_intern.mcp_server.cells import Cells

PROMPT = "An assistant uses the tools over MCP."
LOOK_S = 0.2
CALLS_S = 10.0
"""How long calls that are stopped have to put their things away."""
MOST_NOTICES = 100


class ToolSession(Session):
    """Offers its router to calls from outside until it is left. Wall time counts while a call runs.

    Attributes:
        known: What earlier processes of the session did.
        cells: Runs Python for the assistant; made with the first cell.
    """

    brainless = True

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.known = Earlier(self.router.earlier.recorded)
        self.cells: Cells | None = None
        self._notices: list[Notice] = []
        self._ready = threading.Event()
        self._busy = 0
        self._count = self.recorded.count
        self._books = threading.Lock()
        self._quiet = threading.Condition(self._books)
        self._making = threading.Lock()
        self._untold = unheard(self.journal, self.recorded)
        # A call here belongs to no cell, and what it wrote is no part of one.
        self.router.snapshots = Snapshots.off()

    @classmethod
    def opened(cls, settings: Settings, asking: Asking, folder: Path | None = None) -> ToolSession:
        """A session that takes calls: a new one, or that of a folder.

        Raises:
            InternError: It cannot be had; see `Session.create` and `Session.resume`.
        """
        if folder is None:
            session = cls.create(with_nobody(settings), PROMPT, asking)
        else:
            given = with_nobody(settings).model_dump(exclude_unset=True)
            session = cls.resume(folder, asking, **given)
        assert isinstance(session, cls)
        threading.Thread(target=session._follow, name="mcp-events", daemon=True).start()
        session._ready.wait()
        return session

    def _follow(self) -> None:
        for event in self.run():
            if isinstance(event, Notice):
                with self._books:
                    self._notices = [*self._notices, event][-MOST_NOTICES:]

    def notices(self) -> list[Notice]:
        """What the session has told since this was asked last."""
        with self._books:
            told, self._notices = self._notices, []
        return told

    def drive(self) -> str:
        """Wait until the session is left or stopped."""
        self.wall_time.stop()
        self._ready.set()
        while not self.leaving.wait(LOOK_S) and not self.router.interrupted.is_set():
            pass
        return ""

    def number(self) -> int:
        """The number of the next call from outside."""
        with self._books:
            self._count += 1
            return self._count

    def untold(self, digest: str) -> str:
        """The key of such a call of an earlier process whose end no client has heard of; used once."""
        with self._books:
            key = next((k for k in self._untold if k.split(":")[1:2] == [digest]), "")
            self._untold.discard(key)
            return key

    def told(self, key: str) -> None:
        """The client has what came of a call: the same call again is another one."""
        if not self.telling.closed.is_set():
            with suppress(DiskTrouble):
                self.journal.append("told", {"key": key})

    @contextmanager
    def working(self) -> Iterator[None]:
        """While a call runs: the clock of the budget goes.

        Raises:
            LimitReached: The wall time is used up.
            InternError: The session has ended.
        """
        self.check()
        with self._books:
            self._busy += 1
            if self._busy == 1:
                self.wall_time.start()
        try:
            yield
        finally:
            with self._books:
                self._busy -= 1
                if self._busy == 0:
                    self.wall_time.stop()
                    self._quiet.notify_all()

    def check(self) -> None:
        """Whether it still takes calls.

        Raises:
            LimitReached: The wall time is used up.
            InternError: The session has ended.
        """
        on = f"ml-intern mcp --resume {self.id} goes on with it"
        left = self.budget.left()["seconds"]
        if self.wall_time.late or (left is not None and left <= 0):
            raise LimitReached("The wall time of the budget is used up.", f"{on}, with a larger --budget.")
        if self.router.interrupted.is_set() or self.finished is not None:
            raise InternError(f"The session {self.id} was stopped.", f"{on}.")

    def with_cells(self) -> Cells:
        """What runs cells; made when it is first asked for."""
        from ml_intern.mcp_server.cells import Cells

        with self._making:
            if self.cells is None:
                self.cells = Cells(self)
            return self.cells

    def cut_code(self, step: int) -> str:
        """The code of a cell that was cut off with an earlier process."""
        found = [e.payload for e in self.journal.entries("cell") if e.payload.get("step") == step]
        return str(found[-1].get("code", "")) if found else ""

    def stop(self, what: What = "run") -> bool:
        """Stop the running cell, or the session."""
        if what == "run":
            return super().stop("run")
        return self.cells is not None and self.cells.stop_this()

    def interrupt(self) -> None:
        """Stop everything."""
        super().interrupt()
        if self.cells is not None:
            self.cells.stop.run()

    def end(self) -> None:
        """Leave and put everything away. Calls that run are stopped and have a moment to end; jobs run on."""
        with self._quiet:
            busy = self._busy > 0
        if busy:
            self.interrupt()
            with self._quiet:
                self._quiet.wait_for(lambda: self._busy == 0, CALLS_S)
        self.leave()
        self._worker.join(LOOK_S * 5)
        self.close()


def with_nobody(settings: Settings) -> Settings:
    """The same settings without a brain; a language model that they name answers tools that need one.

    Raises:
        UsageError: The model is a playbook, which answers no tool.
    """
    if settings.model == LABEL:
        return settings
    if (settings.model or "").startswith("playbook"):
        raise UsageError("A playbook answers no assistant.", "Name a language model, or leave --model out.")
    update: dict[str, Any] = {"model": LABEL}
    if settings.research_model is None and settings.model:
        update["research_model"] = settings.model
    return settings.model_copy(update=update)


def unheard(journal: Journal, recorded: Recorded) -> set[str]:
    """Keys of calls with an effect that an earlier process was asked for, and whose end it told nobody.

    They were cut off, or a person had said yes to them, or they had ended when the process did. The same call
    again is then that one: it is looked after, and not done twice.
    """
    told = {str(entry.payload.get("key")) for entry in journal.entries("told")}
    begun = {
        str(entry.payload["key"]) for entry in journal.entries("intent") if entry.payload["effect"] != "read"
    }
    ended = {key for key in begun if (known := recorded.calls.get(key)) is not None and known.ok}
    return ({*recorded.open, *recorded.said} | ended) - told
