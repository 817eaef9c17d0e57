"""A file that a person brings: looked over, put where the session's tools read, shown in its first rows."""

from __future__ import annotations

import hashlib
import mmap
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ml_intern.data import loading
from ml_intern.data.readers import read_table
from ml_intern.errors import ToolError, UsageError
from ml_intern.workspace.safe_files import open_file, write_file

TEXTS = (".txt", ".md")
SUFFIXES = (*loading.TABLE_SUFFIXES, *TEXTS)
PREVIEW_BYTES = 64 << 20
"""A larger file is not read whole for its first rows."""
ROWS, COLUMNS, CELL_CHARS = 6, 12, 200
MOST_COPIES = 100


@dataclass(frozen=True)
class Preview:
    """How a file begins.

    Attributes:
        columns: Names; nothing for a text.
        rows: Values as text, cut.
        lines: The first lines of a text.
        count: Rows in all; None where they were not counted.
        methods: Trainings that take it as it is.
        problem: Why its rows cannot be read.
    """

    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    lines: Sequence[str] = ()
    count: int | None = None
    methods: Sequence[str] = ()
    problem: str = ""


@dataclass(frozen=True)
class Uploaded:
    """A file that was taken in: what it is called for a prompt, and how it begins."""

    name: str
    size: int
    preview: Preview
    sentences: Sequence[str] = field(default_factory=tuple)


def take_in(source: Path, called: str, folder: Path, most: int, inside: bool = True) -> Uploaded:
    """Put an uploaded file into a folder that tools read.

    Args:
        source: Where it lies now.
        called: Its name, as the browser says.
        folder: A workspace, or where uploads are kept.
        most: Bytes that it may have.
        inside: Whether a prompt names it by its name alone; else by its path.

    Raises:
        InternError: It is too large, of a kind that is not read, or not what its name says.
    """
    name = safe_name(called)
    with tempfile.TemporaryDirectory() as own:  # under its own name, which refusals tell
        named = Path(own) / name
        _linked(source, named)
        return _taken(named, folder, most, inside)


def _linked(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:  # another disk
        shutil.copyfile(source, target)


def _taken(source: Path, folder: Path, most: int, inside: bool) -> Uploaded:
    name, size = source.name, source.stat().st_size
    if size > most:
        raise UsageError(
            f"{name} has {size / 2**20:,.0f} MB, and {most >> 20:,} MB is the most.",
            "The setting upload_mb says so.",
        )
    if size == 0:
        raise UsageError(f"{name} is empty.", "Upload a file with rows or text.")
    if loading.kind_of(source) not in SUFFIXES:
        loading.check(source, most)  # knows better what to do with some of them
        raise UsageError(
            f"{name} is no kind of file that is taken.", f"Take {', '.join(SUFFIXES)}, or those as .gz."
        )
    loading.check(source, most)
    preview = preview_of(source)
    path = _put(source, folder.resolve(strict=True), name)
    told = path.name if inside else str(path)
    return Uploaded(path.name, size, preview, sentences(told, preview, loading.kind_of(path)))


def safe_name(called: str) -> str:
    """A file's name that means nothing to a shell, a page or a path."""
    last = re.split(r"[\\/]", called)[-1]
    plain = re.sub(r"[^\w.+-]+", "_", last, flags=re.ASCII).lstrip(".-") or "data"
    stem, dot, ends = plain.rpartition(".")
    return f"{stem[:80]}{dot}{ends[:20]}" if dot else plain[:80]


def _put(source: Path, folder: Path, name: str) -> Path:
    """Write it; another file of that name stays as it is, the same one is not written again."""
    stem, _, ends = name.partition(".")
    for number in range(1, MOST_COPIES):
        path = folder / (name if number == 1 else f"{stem}-{number}.{ends}")
        if not path.is_symlink() and not path.exists():
            with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                write_file(folder, path, memoryview(data))
            return path
        if _same(folder, path, source):
            return path
    raise UsageError(f"There are {MOST_COPIES} files called {name}.", "Give it another name.")


def _same(folder: Path, path: Path, source: Path) -> bool:
    try:
        with open(open_file(folder, path), "rb") as there, source.open("rb") as new:  # noqa: PTH123 - a descriptor
            return (
                hashlib.file_digest(there, "sha256").digest() == hashlib.file_digest(new, "sha256").digest()
            )
    except ToolError:
        return False


def preview_of(path: Path) -> Preview:
    """The first rows of a table, or the first lines of a text."""
    if loading.kind_of(path) in TEXTS:
        return Preview(lines=_lines(path), methods=("pretrain",))
    if path.stat().st_size > PREVIEW_BYTES:
        told = f"It has more than {PREVIEW_BYTES >> 20} MB: its rows are shown by inspect_dataset."
        return Preview(problem=told)
    from ml_intern.data.formats import detect

    try:
        table = read_table(path).rows
        methods = detect(table).methods
    except ToolError as error:
        return Preview(lines=_lines(path), problem=str(error))
    head = table.head(ROWS)
    columns = head.columns[:COLUMNS]
    rows = [[_cell(value) for value in row[:COLUMNS]] for row in head.rows()]
    return Preview(columns, rows, count=table.height, methods=methods)


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= CELL_CHARS else f"{text[: CELL_CHARS - 1]}…"


def _lines(path: Path) -> list[str]:
    with loading.opened(path) as file:
        start = file.read(8_000)
    if b"\0" in start:
        return []
    return [_cell(line) for line in start.decode("utf-8", "replace").splitlines()[:ROWS]]


def sentences(name: str, preview: Preview, kind: str) -> tuple[str, ...]:
    """What a person may say next."""
    found = []
    if "sft" in preview.methods and "pretrain" not in preview.methods:
        found.append(f"fine-tune MODEL on {name} in 10 minutes")
    if "pretrain" in preview.methods:
        found.append(f"pretrain a small model on {name} in 5 minutes")
    if "dpo" in preview.methods:
        found.append(f"train MODEL on the preferences in {name} with dpo")
    if not found and kind not in TEXTS:
        found.append(
            f"look at {name}, bring it into a form that can be trained on, and fine-tune MODEL on it"
        )
    return tuple(found)
