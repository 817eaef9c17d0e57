"""The workspace as it was before each step, so that a cell that was cut in two can run again from its start.

Before and after each cell, and around each call that may write, the host looks at the workspace and notes
what changed. A run that goes on puts the workspace back as it was before the cell that was under way. Where
the cell then makes a call whose result is known, the files that this call changed come back at that moment:
tools that wrote are not run again, and what they wrote is not lost. Finished cells that run again for a new
kernel start from the workspace as it was in the beginning and meet the same changes in the same order.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ml_intern.workspace.history import Delta, History, Line, Past, Way
from ml_intern.workspace.looking import Looker, Objects, State, TooMuch
from ml_intern.workspace.putting_back import apply, put_back
from ml_intern.workspace.rescuing import rescue

FOLDER = "snapshots"
FILE = "history.jsonl"
CHURN = 16 << 20
"""Bytes that change at one time: what they replace is dropped at once, not when the next cell begins."""
_AGAIN = "again"
"""Of a line before finished cells run again: the workspace is that before the cell that was under way."""


class Snapshots:
    """The history of one session's workspace. Thread-safe.

    Args:
        folder: The session's.
        workspace: What is looked at.
        most_files: With more files and folders, a workspace is not covered; 0: none is.
        most_bytes: The same for all files together; the history may take three times as much.
        tell: Takes a warning for the person.

    Attributes:
        again: Recorded calls bring back the files that they changed.
    """

    def __init__(
        self, folder: Path, workspace: Path, most_files: int, most_bytes: int, tell: Callable[[str], None]
    ) -> None:
        self.again = False
        self._folder = folder
        self._workspace = workspace = workspace.resolve()
        self._most_bytes = most_bytes
        self._on = most_files > 0
        self._tell = tell
        self._told = False
        self._objects = Objects(folder / FOLDER / "objects")
        self._looker = Looker(workspace, self._objects, most_files, most_bytes)
        self._history = History(folder / FOLDER / FILE, workspace)
        self._past = Past(self._history.lines() if self._on else ())
        if self._on and not len(self._past):
            self._history.drop()
        self._held: State | None = None
        self._ways: dict[str, Way] = {}
        self._cell_again = False
        self._lock = threading.RLock()
        if self._on:
            self._objects.drop(self._objects.all() - self._past.needed())

    @classmethod
    def off(cls) -> Snapshots:
        """None are taken."""
        return cls(Path("/nowhere"), Path("/nowhere"), 0, 0, lambda text: None)

    @classmethod
    def of_another(cls, folder: Path, was: Path, workspace: Path) -> Snapshots:
        """The history of another session, for one that plays it again in a workspace of its own.

        Args:
            folder: The other session's; it is only read.
            was: The other's workspace.
            workspace: The one in which what its calls and its people changed comes back.
        """
        made = cls(folder, workspace, 0, 0, lambda text: None)
        made._past = Past(History(folder / FOLDER / FILE, was.resolve()).lines())
        made._ways, made.again = made._past.ways(), True
        return made

    # While the run goes on

    def before_cell(self, step: int) -> None:
        """A cell is about to run."""
        self.come_to(step, over=False)
        self._note("cell", str(step))

    def after_cell(self, step: int, lost: bool) -> None:
        """A cell has run; `lost`: it took its kernel with it, or was stopped."""
        self.again = self.again and not self._on
        self._note("done", str(step), lost)

    @contextmanager
    def around(self, key: str, effect: str) -> Iterator[None]:
        """A call runs. The workspace is not looked at for one that only reads."""
        if not self._on or effect == "read":
            yield
            return
        self._note("call", key)
        try:
            yield
        finally:
            self._note("result", key)

    def call_again(self, key: str) -> None:
        """A call was answered from the journal: what it changed in the workspace changes now."""
        delta = self._past.calls.get(key) if self.again else None
        if delta is not None:
            self._missed(apply(self._workspace, delta.entries, delta.gone, self._objects))

    def _note(self, at: str, name: str = "", lost: bool = False) -> bool:
        """Look, and write down what is otherwise than at the last look; whether that could be."""
        if not self._on:
            return False
        with self._lock:
            line = Line(at, name, self._seen(), lost)
            written = self._write(line)
            if written and self._past.size > 2 * self._most_bytes:
                self._write(Line("forget"))
            if at == "cell" or (line.delta is not None and line.delta.size > CHURN):
                self._objects.drop(self._past.superfluous())
        return written and line.delta is not None

    def _write(self, line: Line) -> bool:
        try:
            self._history.append(line, len(self._past))
        except OSError as error:
            self._uncovered(f"That cannot be written down: {error.strerror or error}.")
            self._on = False
            return False
        self._past.add(line)
        return True

    def _seen(self) -> Delta | None:
        try:
            return Delta.between(self._past.now, self._looker.look())
        except TooMuch as error:
            self._uncovered(error.message)
        except OSError as error:
            self._uncovered(f"It cannot be copied: {error.strerror or error}.")
        return None

    def _uncovered(self, why: str) -> None:
        if not self._told:
            self._told = True
            self._tell(
                f"The workspace is not kept from step to step. {why} If the run is cut in the middle of a "
                "cell, what that cell has appended to files will be there twice."
            )

    # When a run goes on

    def resume(self, under_way: int) -> None:
        """Put the workspace back to where the run goes on from.

        Args:
            under_way: The step whose cell did not come to its end; 0: none.
        """
        past = self._past
        if (cut := past.rebuilding) is not None:  # the workspace may be anything
            self._missed(put_back(self._workspace, past.now, self._objects))
            self.again = cut.name == _AGAIN
        elif under_way and (target := past.before(str(under_way))) is not None:
            known = self._note("found")
            self._missed(put_back(self._workspace, target, self._objects))
            self.again = True
            if known and (where := rescue(self._folder, past.now, target, self._objects)):
                self._tell(
                    f"The workspace was put back for step {under_way}. What changed since is in {where}."
                )
        elif under_way and self._on:
            self._tell(
                f"The workspace as it was before step {under_way} is not known: what its cell wrote already "
                "may be there twice."
            )

    def hold(self) -> bool:
        """Finished cells will run again; whether the workspace can be put back to what it is now."""
        known = self._note("rebuild", _AGAIN if self.again else "")
        self._held = dict(self._past.now) if known else None
        return self._held is not None

    def rewind(self, steps: list[int]) -> None:
        """Put the workspace back to the beginning, where all is known that came after it."""
        start = self._past.start([str(step) for step in steps]) if self._held is not None else None
        self._ways = self._past.ways() if start is not None else {}
        self._cell_again, self.again = self.again, start is not None
        if start is not None:
            self._missed(put_back(self._workspace, start, self._objects))

    def come_to(self, step: int, over: bool) -> None:
        """A finished cell is about to run again: bring what others changed before it.

        Args:
            step: The cell's.
            over: It does not run again as it ran, so that what it changed itself is brought, too.
        """
        way = self._ways.get(str(step), Way())
        for delta in (*way.others, *(way.own if over else ())):
            self._missed(apply(self._workspace, delta.entries, delta.gone, self._objects))

    def release(self) -> None:
        """The cells have run again: the workspace is what it was when it was held."""
        self.again = self._cell_again
        if self._held is not None:
            self._missed(put_back(self._workspace, self._held, self._objects))
        self._held, self._ways = None, {}

    def _missed(self, paths: list[str]) -> None:
        if paths:
            shown = ", ".join(ascii(path)[:100] for path in paths[:5])
            self._tell(
                f"Files of the workspace could not be brought back as they were ({len(paths)}): {shown}."
            )


def moved_on(folder: Path, workspace: Path) -> None:
    """Note that others have put a session's workspace to what it is now, so that nothing puts it elsewhere.

    Args:
        folder: The session's.
        workspace: Its workspace.
    """
    history = History(folder / FOLDER / FILE, workspace.resolve())
    if lines := history.lines():
        try:
            history.append(Line("moved"), len(lines))
        except OSError:  # a disk that is full: rather none than one that is wrong
            history.drop()
