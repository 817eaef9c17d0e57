"""What is known of a workspace over time: the lines that say what changed, and the states they add up to.

Each line was written after a look and says what was there then; what it names it says whole. So a line that
an earlier process wrote last, before it was killed, is as true as any other, whatever came of its purpose.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml_intern.workspace.looking import Entry, State


@dataclass(frozen=True)
class Delta:
    """What became otherwise between two looks."""

    entries: dict[str, Entry] = field(default_factory=dict)
    gone: tuple[str, ...] = ()

    @classmethod
    def between(cls, before: Mapping[str, Entry], now: Mapping[str, Entry]) -> Delta:
        """From one state to another."""
        entries = {path: entry for path, entry in now.items() if before.get(path) != entry}
        return cls(entries, tuple(path for path in before if path not in now))

    def onto(self, state: State) -> None:
        """Change a state."""
        for path in self.gone:
            state.pop(path, None)
        state.update(self.entries)

    @property
    def contents(self) -> set[str]:
        """The contents that it names."""
        return contents(self.entries.values())

    @property
    def size(self) -> int:
        """Bytes of them."""
        return sum(entry.size for entry in self.entries.values())


def contents(entries: Iterable[Entry]) -> set[str]:
    """The contents of files among entries."""
    return {entry.content for entry in entries if entry.kind == "file"}


@dataclass(frozen=True)
class Line:
    """One line.

    Attributes:
        at: ``cell`` before a cell, ``done`` after it, ``call`` before a call, ``result`` after it,
            ``rebuild`` before finished cells run again, ``found`` what a killed process left, ``forget``
            where the history became too long to be kept, ``moved`` where others have changed the workspace.
        name: The step of a cell, the key of a call.
        delta: What changed since the line before; None where nobody could look.
        lost: Of a cell that took its kernel with it or was stopped: it does not run again as it ran.
    """

    at: str
    name: str = ""
    delta: Delta | None = field(default_factory=Delta)
    lost: bool = False


@dataclass
class Way:
    """What others than its own cell changed before a step, and what its cell changed then, calls included."""

    others: list[Delta] = field(default_factory=list)
    own: list[Delta] = field(default_factory=list)


class Past:
    """The lines so far, and what they add up to.

    Attributes:
        now: The workspace at the last look.
        calls: By key, what a call changed; of one that was cut, what was found after it.
        size: Bytes of the contents that are kept for the sake of the history alone.
    """

    def __init__(self, lines: Iterable[Line] = ()) -> None:
        self.now: State = {}
        self.calls: dict[str, Delta] = {}
        self._lines: list[Line] = []
        self._cell = -1
        self._changed = False
        self._open: list[str] = []
        self._base: set[str] = set()
        self._found: set[str] = set()
        self._pinned: dict[str, int] = {}
        self._loose: set[str] = set()
        self.size = 0
        for line in lines:
            self.add(line)

    def add(self, line: Line) -> None:
        """Take a line."""
        delta = line.delta or Delta()
        replaced = [self.now[path] for path in (*delta.entries, *delta.gone) if path in self.now]
        self._loose |= contents(replaced)
        delta.onto(self.now)
        self._changed = self._changed or bool(delta.entries or delta.gone)
        self._lines.append(line)
        match line.at:
            case "cell":
                self._begun(delta)
            case "rebuild":
                self._pin(delta.entries.values())
            case "done" if line.lost:
                for part in self._lines[self._cell :]:
                    self._pin((part.delta or Delta()).entries.values())
            case "call":
                self._open.append(line.name)
            case "result":
                self._open = [name for name in self._open if name != line.name]
                self.calls[line.name] = delta
                self._pin(delta.entries.values())
            case "found":
                self.calls |= dict.fromkeys(self._open, delta)
                self._found |= delta.contents if self._open else set()
                self._open = []
            case "forget":
                self._loose |= self._pinned.keys()
                self._pinned, self.size = {}, 0
                self.calls.clear()

    def _begun(self, delta: Delta) -> None:
        first, self._cell, self._open = self._cell < 0, len(self._lines) - 1, []
        if self._changed:
            self._base, self._changed = contents(self.now.values()), False
        self._pin(self.now.values() if first else delta.entries.values())

    def _pin(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            if entry.kind == "file" and entry.content not in self._pinned:
                self._pinned[entry.content] = entry.size
                self.size += entry.size

    def __len__(self) -> int:
        return len(self._lines)

    # What is kept

    def needed(self) -> set[str]:
        """The contents that something may still ask for."""
        return self._found | self._base | self._pinned.keys() | contents(self.now.values())

    def superfluous(self) -> set[str]:
        """The contents that nothing will ask for any more; told once."""
        gone = self._loose - self.needed() if self._loose else set()
        self._loose -= gone | self._pinned.keys()
        return gone

    # What was

    @property
    def rebuilding(self) -> Line | None:
        """The line that says so, if finished cells ran again when the last process ended."""
        last = self._lines[-1] if self._lines else None
        return last if last is not None and last.at == "rebuild" else None

    def before(self, step: str) -> State | None:
        """The workspace before the newest cell, if it is that of a step and all is known since."""
        since = self._lines[self._cell :] if self._cell >= 0 else []
        if not since or since[0].name != step:
            return None
        if any(line.at == "forget" or (line.delta is None and line.at != "found") for line in since):
            return None
        return _fold(self._lines[: self._cell + 1])

    def start(self, steps: Iterable[str]) -> State | None:
        """The workspace before the first cell, if all is known that came after it, up to these steps."""
        cells = {line.name for line in self._lines if line.at == "cell"}
        unknown = any((_tells(line) and line.delta is None) or line.at == "forget" for line in self._lines)
        if unknown or not cells.issuperset(steps):
            return None
        first = next(n for n, line in enumerate(self._lines) if line.at == "cell")
        return _fold(self._lines[: first + 1])

    def ways(self) -> dict[str, Way]:
        """How the workspace came to each step, by step."""
        found: dict[str, Way] = {}
        others: list[Delta] = []
        for line in self._lines:
            delta = line.delta or Delta()
            if line.at in ("cell", "rebuild"):
                others.append(delta)
            if line.at == "cell":
                way = found.setdefault(line.name, Way())
                way.others += others
                way.own, others = [], []
            elif found and line.at in ("call", "result", "done"):
                way.own.append(delta)
        return found


def _tells(line: Line) -> bool:
    return line.at in ("cell", "rebuild", "result") or line.lost


def _fold(lines: Iterable[Line]) -> State:
    state: State = {}
    for line in lines:
        (line.delta or Delta()).onto(state)
    return state


class History:
    """The file of lines; the first says which workspace it is about."""

    def __init__(self, path: Path, workspace: Path) -> None:
        self._path = path
        self._workspace = str(workspace)

    def lines(self) -> list[Line]:
        """All lines; none where the file is about another workspace, or one of them is missing."""
        rows = list(self._rows())
        if not rows or rows[0].get("workspace") != self._workspace:
            return []
        if [row.get("n") for row in rows[1:]] != list(range(len(rows) - 1)):
            return []
        try:
            return [_read(row) for row in rows[1:]]
        except (TypeError, ValueError, AttributeError, LookupError):
            return []

    def drop(self) -> None:
        """Begin anew."""
        with suppress(OSError):
            self._path.unlink()

    def append(self, line: Line, number: int) -> None:
        """Write a line, in one piece.

        Args:
            line: What it says.
            number: How many there were before.

        Raises:
            OSError: It cannot be written, or not all of it.
        """
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = json.dumps({"n": number, **_written(line)}) + "\n"
        fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(fd).st_size
            if not size:
                text = json.dumps({"workspace": self._workspace}) + "\n" + text
            elif os.pread(fd, 1, size - 1) != b"\n":  # whoever wrote last was killed while writing
                text = "\n" + text
            data = text.encode()
            if os.write(fd, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(fd)

    def _rows(self) -> Iterator[dict[str, Any]]:
        try:
            texts = self._path.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError):
            return
        for text in texts:
            try:
                row = json.loads(text)
            except ValueError:
                continue
            if isinstance(row, dict):
                yield row


def _written(line: Line) -> dict[str, Any]:
    row: dict[str, Any] = {"at": line.at, "name": line.name}
    if line.lost:
        row["lost"] = True
    if line.delta is None:
        return {**row, "unseen": True}
    if line.delta.entries:
        row["set"] = line.delta.entries
    if line.delta.gone:
        row["gone"] = line.delta.gone
    return row


def _read(row: Mapping[str, Any]) -> Line:
    """A line as it was written.

    Raises:
        ValueError: It names what cannot lie in a workspace.
    """
    entries = {_path(path): _entry(*entry) for path, entry in (row.get("set") or {}).items()}
    delta = None if row.get("unseen") else Delta(entries, tuple(map(_path, row.get("gone") or ())))
    return Line(str(row["at"]), str(row.get("name", "")), delta, bool(row.get("lost")))


def _path(path: str) -> str:
    if {"", ".", ".."} & set(path.split("/")):
        raise ValueError(f"{path!r} is no path in a workspace")
    return path


def _entry(kind: str, mode: int, mtime: int, size: int, content: str) -> Entry:
    if kind == "file" and not re.fullmatch("[0-9a-f]{64}", content):
        raise ValueError(f"{content!r} is no hash")
    return Entry(str(kind), int(mode), int(mtime), int(size), str(content))
