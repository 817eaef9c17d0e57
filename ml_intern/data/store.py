"""Versioned datasets of a session: what came of which source, by what operation, never changed afterwards.

A dataset is a folder ``<name>/<version>`` with ``data.jsonl`` and ``lineage.json``. It is written beside its
place and moved there whole, so a dataset that can be seen is complete. Saving the same content by the same
operation again gives the version that is there: a call that is repeated after a crash makes nothing twice.

Cells see the folder and read it, as another user where the host is root. A dataset that was withdrawn has a
link in place of its rows, to where no cell can follow it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic import BaseModel, Field, ValidationError

from ml_intern import __version__
from ml_intern.data import sources
from ml_intern.data.loading import TABLE_SUFFIXES
from ml_intern.data.streams import Stream
from ml_intern.data.table import Table, columns_of, digest
from ml_intern.data.units import CHUNK_CHARS, Unit
from ml_intern.errors import ToolError
from ml_intern.tooling import did_you_mean

if TYPE_CHECKING:
    import polars as pl

    from ml_intern.workspace.files import Files

Rows: TypeAlias = "list[dict[str, Any]] | Table | pl.DataFrame"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}")
_REF = re.compile(rf"(?P<name>{_NAME.pattern})(?:@(?P<version>\d+))?")
_HUB = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w.-]+))?(?::(?P<split>[\w./-]+))?")

# Datasets do not change, so the ones that were opened last stay in memory.
RECENT = 4
STREAM_ABOVE = 512 * 2**20
"""Bytes of a source above which what only measures it reads it in pieces."""


class Lineage(BaseModel):
    """Where a dataset comes from.

    Attributes:
        source: What was opened, as the caller called it.
        revision: The commit of the Hub's repository that was read; empty for other sources.
        operation: The tool that made the dataset.
        arguments: What the tool was told.
        code: Version of ML Intern that did it.
        code_sha256: Of the source files that read and change rows, as they were when it was made.
        rows_before: Rows that went in.
        rows_after: Rows that came out.
        parents: Ids of the datasets that it was made from.
        sha256: Of the bytes of the source.
    """

    source: str
    revision: str = ""
    operation: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    code: str = __version__
    code_sha256: str = ""
    rows_before: int = 0
    rows_after: int = 0
    parents: list[str] = Field(default_factory=list)
    sha256: str = ""


class DatasetInfo(BaseModel):
    """A stored dataset. `sha256` is that of ``data.jsonl``; `created` is seconds since the epoch.

    `maker` is the key of the call that made it.
    """

    id: str
    rows: int
    columns: dict[str, str]
    path: Path
    lineage: Lineage
    sha256: str
    created: float = 0.0
    maker: str = Field("", repr=False)


class DatasetStore:
    """Opens sources and keeps what is made of them.

    Args:
        folder: Where the datasets of the session live.
        files: What paths may be read.
        fetch: Downloads a dataset of the Hub and gives its folder; nothing where there is no Hub.
        refuse: Raises for a repository and split of the Hub that may not be opened.
    """

    def __init__(
        self,
        folder: Path,
        files: Files,
        fetch: Callable[[str], Path] | None = None,
        refuse: Callable[[str, str | None], None] = lambda repository, split: None,
    ) -> None:
        self.folder = folder
        self.files = files
        self.fetch = fetch
        self.stream_above = STREAM_ABOVE
        self.refuse = refuse
        self._saving = threading.Lock()
        self._remembering = threading.Lock()
        self._recent: OrderedDict[tuple[Any, ...], Table] = OrderedDict()

    def open(
        self,
        source: str,
        split: str | None = None,
        unit: Unit | None = None,
        size: int = CHUNK_CHARS,
        maker: str = "",
    ) -> Table:
        """The rows of a source.

        Args:
            source: ``name@version`` or ``name`` (the newest) of the store, ``python-stdlib``, a path, or a
                Hub id; a path or Hub id may end in ``:split``.
            split: Which split, where the source has several; train when it is not said.
            unit: How to cut text into rows; nothing means what suits it.
            size: Characters of a chunk.
            maker: Key of the call that opens. Made again after a crash, it passes over the versions that it
                has made itself: with "name" it means the one that was the newest then.

        Raises:
            ToolError: It is missing, empty, broken or lies where tools may not read.
        """
        source = source.strip()
        if not source:
            raise ToolError("No source was named.", "Name a dataset, a path, 'python-stdlib' or a Hub id.")
        if source == sources.STDLIB:
            return sources.read_stdlib(unit, size)
        if place := self._find(source, maker):
            return self._stored(self._read(place))
        path, name, named = self._path(source)
        if path:
            return sources.read_path(path, name, named or split, unit, size)
        if place := self._find(source):
            return self._stored(self._read(place))
        return self._fetched(source, split, unit, size)

    def on_the_hub(self, source: str) -> tuple[str, str | None] | None:
        """The repository and split that a source names on the Hub as it is now; None for all else."""
        source = source.strip()
        match = _HUB.fullmatch(source)
        if match is None or match["revision"] or self.fetch is None or self._find(source):
            return None
        path, _, _ = self._path(source)
        return None if path else (match["id"], match["split"])

    def stream(self, source: str, split: str | None = None) -> Stream | None:
        """The rows of a large source in pieces; None where it is small enough to be opened.

        Raises:
            ToolError: It is missing, or lies where tools may not read.
        """
        source = source.strip()
        if not source or source == sources.STDLIB or self._find(source):
            return None
        path, name, named = self._path(source)
        if path:
            return sources.stream_path(path, name, named or split, above=self.stream_above)
        folder, name, named = self._download(source, split)
        found = sources.stream_path(folder, name, named or split, True, self.stream_above)
        if found is not None:
            self.refuse(name, found.split)
        return found

    def save(self, name: str, rows_or_table: Rows, lineage: Lineage, maker: str = "") -> DatasetInfo:
        """Write a new version, whole or not at all.

        Args:
            name: Of the dataset.
            rows_or_table: Its rows.
            lineage: Where they come from.
            maker: Key of the call that makes it.

        Raises:
            ToolError: The name does not fit, or there are no rows.
        """
        check_name(name)
        rows = _frame(rows_or_table)
        if rows.height == 0:
            raise ToolError(f"Nothing is left for the dataset {name!r}: 0 of {lineage.rows_before} rows.")
        data = _lines(rows)
        lineage = lineage.model_copy(update={"rows_after": rows.height, "code_sha256": code_hash()})
        with self._saving:
            known = self._same(name, digest(data), lineage)
            return known or self._write(name, data, rows, lineage, maker)

    def info(self, ref: str) -> DatasetInfo:
        """What is known of a dataset, by ``name@version`` or ``name`` for the newest.

        Raises:
            ToolError: There is no such dataset.
        """
        place = self._find(ref)
        if place is not None:
            return self._read(place)
        if self._path(ref)[0] is not None:
            raise ToolError(
                f"{ref!r} is a file and no dataset of this session.",
                f"filter_dataset({ref!r}, where='1 = 1') makes one of it.",
            )
        raise self._missing(ref)

    def _read(self, place: Path) -> DatasetInfo:
        try:
            found = json.loads((place / "lineage.json").read_text("utf-8"))
            return DatasetInfo.model_validate({**found, "path": place / "data.jsonl"})
        except (OSError, ValueError, ValidationError) as error:
            ref = f"{place.parent.name}@{place.name}"
            raise ToolError(f"The dataset {ref!r} is damaged: {str(error).splitlines()[0]}.") from None

    def path(self, ref: str) -> Path:
        """The rows of a dataset as a file of JSON lines, to be handed to code or to the world.

        Raises:
            ToolError: There is no such dataset, or held-out rows are among its rows.
        """
        info = self.info(ref)
        if info.path.is_symlink():
            raise ToolError(
                f"The dataset {ref!r} holds held-out rows, so its file is closed.", self._instead(info)
            )
        return info.path

    def _instead(self, info: DatasetInfo) -> str:
        """What may be used in the place of a dataset that was withdrawn."""
        open_ = [i.id for i in self.list() if info.id in i.lineage.parents and not i.path.is_symlink()]
        name = f"{info.id.partition('@')[0]}-open"
        made = f"filter_dataset({info.id!r}, where='1 = 1', name={name!r}) makes one of all its other rows"
        return f"Use {', '.join(open_)}, made of it without them; {made}." if open_ else f"{made}."

    def withdraw(self, ref: str, folder: Path) -> None:
        """Move the rows of a dataset to a folder that no cell sees; the host goes on reading them."""
        info = self.info(ref)
        if info.path.is_symlink():
            return
        folder.mkdir(parents=True, exist_ok=True)
        kept, link = folder / f"{info.id}.jsonl", info.path.with_name(".data.jsonl")
        for old in (kept, link):
            old.unlink(missing_ok=True)
        os.link(info.path, kept)
        link.symlink_to(kept)
        link.replace(info.path)

    def list(self) -> list[DatasetInfo]:
        """Every dataset, by name and version."""
        return [self._read(place) for place in self._places()]

    def _places(self) -> Iterator[Path]:
        for name in sorted(self.folder.iterdir()) if self.folder.is_dir() else ():
            for version in self._versions(name.name):
                yield name / str(version)

    def _versions(self, name: str) -> Sequence[int]:
        home = self.folder / name
        return sorted(int(p.name) for p in home.iterdir() if p.name.isdigit()) if home.is_dir() else []

    def _find(self, ref: str, maker: str = "") -> Path | None:
        match = _REF.fullmatch(ref)
        if not match:
            return None
        home = self.folder / match["name"]
        if match["version"]:
            place = home / str(int(match["version"]))
            return place if place.exists() else None
        places = [home / str(version) for version in self._versions(match["name"])]
        others = (p for p in reversed(places) if not maker or self._read(p).maker != maker)
        return next(others, None)

    def _stored(self, info: DatasetInfo) -> Table:
        stat = info.path.stat()
        seen = (info.id, stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if known := self._recent.get(seen):
            return known
        table = sources.read_path(info.path, info.id)
        if table.fingerprint != info.sha256:
            raise ToolError(f"The dataset {info.id!r} was changed on disk.", "Make it again from its source.")
        known = Table(table.rows, info.id, info.sha256, notes=table.notes, parent=info.id)
        with self._remembering:
            self._recent[seen] = known
            if len(self._recent) > RECENT:
                self._recent.popitem(last=False)
        return known

    def _path(self, source: str) -> tuple[Path | None, str, str | None]:
        """The path that a source names, its name, and the split behind its colon; no path if none exists."""
        bases = (Path(), self.files.workspace, self.files.project)
        head, colon, tail = source.rpartition(":")
        for name, split in ((source, None), (head, tail)) if colon and head else ((source, None),):
            if any(
                (base / Path(name).expanduser()).exists()
                for base in bases[0 if Path(name).is_absolute() else 1 :]
            ):
                return self.files.readable(name), name, split
        return None, source, None

    def _fetched(self, source: str, split: str | None, unit: Unit | None, size: int) -> Table:
        folder, name, named = self._download(source, split)
        table = sources.read_path(folder, name, named or split, unit, size, follow_links=True)
        self.refuse(name, table.split)
        return replace(table, revision=revision_of(folder))

    def _download(self, source: str, split: str | None) -> tuple[Path, str, str | None]:
        """The folder of a dataset of the Hub, its id, and the split behind its colon."""
        match = _HUB.fullmatch(source)
        if not match or self.fetch is None or source.startswith((".", "/", "~")):
            raise self._missing(source)
        if Path(match["id"]).suffix.lower() in TABLE_SUFFIXES:
            raise self._missing(source)  # a slip in a path; no Hub has to be asked for it
        self.refuse(match["id"], match["split"] or split)
        revision = f"@{match['revision']}" if match["revision"] else ""
        return self.fetch(match["id"] + revision), match["id"], match["split"]

    def _missing(self, source: str) -> ToolError:
        known = [p.parent.name for p in self._places()] + [sources.STDLIB]
        for base in (self.files.workspace, self.files.project):
            for part in {Path(source).parent, Path()}:
                near = (base / part).resolve()
                if near.is_dir() and base.resolve() in [near, *near.parents]:
                    known += [str(part / p.name) for p in near.iterdir() if p.exists()]
        name = source.split("@")[0]
        versions = ", ".join(f"{name}@{v}" for v in self._versions(name)) if _NAME.fullmatch(name) else ""
        hint = (
            f"There are {versions}."
            if versions
            else "Give a dataset's id, a path, 'python-stdlib' or a Hub id."
        )
        return ToolError(f"There is no dataset or file {source!r}{did_you_mean(source, known)}.", hint)

    def _same(self, name: str, sha256: str, lineage: Lineage) -> DatasetInfo | None:
        for version in reversed(self._versions(name)):
            info = self._read(self.folder / name / str(version))
            if info.sha256 == sha256 and info.lineage == lineage:
                return info
        return None

    def _write(self, name: str, data: bytes, rows: pl.DataFrame, lineage: Lineage, maker: str) -> DatasetInfo:
        home = self.folder / name
        for folder in (self.folder, home):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o755)
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=home))
        try:
            (draft / "data.jsonl").write_bytes(data)
            (draft / "data.jsonl").chmod(0o644)
            while True:
                version = max(self._versions(name), default=0) + 1
                info = DatasetInfo(
                    id=f"{name}@{version}",
                    rows=rows.height,
                    columns=columns_of(rows),
                    sha256=digest(data),
                    path=home / str(version) / "data.jsonl",
                    lineage=lineage,
                    created=time.time(),
                    maker=maker,
                )
                (draft / "lineage.json").write_text(info.model_dump_json(indent=1, exclude={"path"}), "utf-8")
                (draft / "lineage.json").chmod(0o644)
                draft.chmod(0o755)
                try:
                    draft.rename(home / str(version))
                except OSError:
                    # Another process took the number between the look and the move: take the next.
                    if not (home / str(version)).exists():
                        raise
                    continue
                return info
        finally:
            shutil.rmtree(draft, ignore_errors=True)


@cache
def code_hash() -> str:
    """sha256 of the source files that read and change rows: the version alone does not change with them."""
    folder = Path(__file__).parent
    files = sorted(folder.glob("*.py"))
    return digest("\n".join(f"{p.name} {digest(p.read_bytes())}" for p in files).encode())


def revision_of(folder: Path) -> str:
    """The commit of a downloaded repository: the Hub's cache names the folder after it."""
    return folder.name if folder.parent.name == "snapshots" else ""


def check_name(name: str) -> str:
    """The name, where it fits a dataset.

    Raises:
        ToolError: It does not.
    """
    if not _NAME.fullmatch(name):
        raise ToolError(f"{name!r} is no name for a dataset.", "Use letters, digits, '-', '_' and '.'.")
    return name


def _frame(rows: Rows) -> pl.DataFrame:
    from ml_intern.data.frames import frame

    if isinstance(rows, Table):
        return rows.rows
    if not isinstance(rows, list):
        return rows
    import polars as pl

    return frame("rows", rows, []) if rows else pl.DataFrame()


def _lines(rows: pl.DataFrame) -> bytes:
    import polars as pl

    try:
        text: str = rows.write_ndjson()
        return text.encode()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise ToolError(f"The rows cannot be stored as JSON: {str(error).splitlines()[0]}.") from None
