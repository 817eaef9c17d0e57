"""Open any source of rows: a file, a folder of files, the standard library of the running Python."""

from __future__ import annotations

import os
import sysconfig
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ml_intern.data import layout, loading, readers, streams
from ml_intern.data.streams import Stream
from ml_intern.data.table import Table, digest
from ml_intern.data.units import CHUNK_CHARS, Unit, choose_unit, pieces
from ml_intern.errors import ToolError

if TYPE_CHECKING:
    import polars as pl

STDLIB = "python-stdlib"
# Not the library itself: what was installed beside it, its tests, generated tables, bundled programs.
_INSTALLED = frozenset({"site-packages", "dist-packages", "node_modules"})
_NOT_STDLIB = _INSTALLED | {
    "test",
    "tests",
    "lib2to3",
    "idlelib",
    "turtledemo",
    "encodings",
    "pydoc_data",
    "ensurepip",
}
_PYTHON = frozenset({".py", ".pyi"})
_PROSE = frozenset({".txt", ".md", ".rst", ".tex", ".text"})
_CODE_NAMES = (
    "c h cc cpp hpp cu cs go hs java jl js jsx kt lua m ml php pl r rb rs scala sh sql swift ts tsx vue zig"
)
_CODE = frozenset(f".{name}" for name in _CODE_NAMES.split())
_TEXT = _PYTHON | _PROSE | _CODE
# Beside data on the Hub, these describe it and are not part of it.
_ABOUT = frozenset(
    {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "config.json"}
)
MAX_FILES = 50_000


def stdlib_folder() -> Path:
    """Where the running Python keeps its standard library."""
    return Path(sysconfig.get_path("stdlib"))


@lru_cache(maxsize=2)
def read_stdlib(unit: Unit | None = None, size: int = CHUNK_CHARS) -> Table:
    """The Python files of the standard library, cut into single code lines unless another unit is asked."""
    folder = stdlib_folder()
    files = [
        p
        for p in walk(folder)
        if p.suffix == ".py" and not _NOT_STDLIB.intersection(p.relative_to(folder).parts)
    ]
    return _texts(folder, files, STDLIB, unit or "statements", size)


def read_path(
    path: Path,
    name: str,
    split: str | None = None,
    unit: Unit | None = None,
    size: int = CHUNK_CHARS,
    follow_links: bool = False,
) -> Table:
    """Open a file or a folder.

    Args:
        path: Where it is.
        name: How the caller called it, for messages and lineage.
        split: Which split of a folder of data files.
        unit: How to cut text into rows; nothing means what suits it.
        size: Characters of a chunk.
        follow_links: Whether links may lead out of the folder (a Hub snapshot's do).

    Raises:
        ToolError: It is empty, broken, or not data.
    """
    if not path.is_dir():
        _no_splits(name, split)
        return _file(path, name, unit, size)
    files = list(walk(path, follow_links))
    tables, texts = _sorted_by_use(files)
    if tables:
        return _tables(path, tables, name, split)
    if texts:
        _no_splits(name, split)
        return _texts(path, texts, name, unit, size)
    seen = ", ".join(
        f"{n} {suffix or 'without suffix'}" for suffix, n in Counter(p.suffix for p in files).most_common(4)
    )
    raise ToolError(
        f"The folder {name!r} holds no data." if files else f"The folder {name!r} is empty.",
        f"Readable are {' '.join(loading.TABLE_SUFFIXES)}, text and source files"
        + (f"; it has {seen}." if seen else "."),
    )


def stream_path(
    path: Path, name: str, split: str | None = None, follow_links: bool = False, above: int = 0
) -> Stream | None:
    """A file or a folder of data files, to be read in pieces; None where it is small, or text.

    Args:
        path: Where it is.
        name: How the caller called it, for messages.
        split: Which split of a folder of data files.
        follow_links: Whether links may lead out of the folder.
        above: Bytes up to which a source is small.

    Raises:
        ToolError: It is empty, or has no such split.
    """
    splits: dict[str, list[Path]] = {}
    paths, chosen = [path], None
    if path.is_dir():
        tables, _ = _sorted_by_use(list(walk(path, follow_links)))
        if not tables:
            return None
        splits = layout.layout(path, tables)
        chosen = layout.choose(splits, split, name)
        paths = splits[chosen]
    if not all(loading.kind_of(p) in streams.STREAMED for p in paths) or _bytes(paths) <= above:
        return None
    notes: list[str] = []

    def pieces() -> Iterator[pl.DataFrame]:
        for file in paths:
            yield from streams.pieces(file, notes)

    return Stream(name, pieces, chosen, tuple(splits), notes)


def walk(folder: Path, follow_links: bool = False) -> Iterator[Path]:
    """The regular files below a folder, sorted, without hidden ones and without links that lead out of it."""
    root, count = folder.resolve(), 0
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(
            d for d in folders if d != "__pycache__" and d not in _INSTALLED and not d.startswith(".")
        )
        for name in sorted(names):
            path = Path(where, name)
            if name.startswith(".") or not path.is_file():
                continue
            if path.is_symlink() and not follow_links and root not in path.resolve().parents:
                continue
            count += 1
            if count > MAX_FILES:
                raise ToolError(
                    f"The folder {folder.name!r} holds more than {MAX_FILES} files.", "Name a smaller one."
                )
            yield path


def _file(path: Path, name: str, unit: Unit | None, size: int) -> Table:
    if loading.kind_of(path) in loading.TABLE_SUFFIXES:
        reading = readers.read_table(path)
        return Table(reading.rows, name, reading.sha256, notes=tuple(reading.notes))
    notes: list[str] = []
    data = loading.load(path)
    text = loading.decode(path, data, notes)
    chosen = unit or choose_unit(path.name, text)
    rows = pieces(text, chosen, size)
    if not rows:
        loading.refuse(path, f"has no {chosen}" if text.strip() else "is empty")
    import polars as pl

    return Table(pl.DataFrame({"text": rows}), name, digest(data), unit=chosen, notes=tuple(notes))


def _sorted_by_use(files: list[Path]) -> tuple[list[Path], list[Path]]:
    """Data files, or text files, whichever the folder is about. JSON beside code is configuration."""
    tables = [p for p in files if loading.kind_of(p) in loading.TABLE_SUFFIXES and p.name not in _ABOUT]
    everything = [p for p in files if p.suffix in _TEXT]
    texts = [p for p in everything if p.stem.lower() not in ("readme", "license")]
    if texts and all(p.suffix == ".json" for p in tables) and any(p.suffix in _PYTHON | _CODE for p in texts):
        tables = []
    if tables and _bytes(tables) >= _bytes(texts):
        return tables, []
    # A folder with nothing but a README is about the README.
    return [], texts or everything


def _bytes(files: list[Path]) -> int:
    return sum(p.stat().st_size for p in files)


def _tables(folder: Path, files: list[Path], name: str, split: str | None) -> Table:
    import polars as pl

    splits = layout.layout(folder, files)
    chosen = layout.choose(splits, split, name)
    paths = splits[chosen]
    readings = [readers.read_table(path) for path in paths]
    notes = [note for reading in readings for note in reading.notes]
    if not set.intersection(*(set(r.rows.columns) for r in readings)):
        columns = [f"{p.name}: {', '.join(r.rows.columns[:6])}" for p, r in zip(paths, readings, strict=True)]
        shown = "; ".join(columns[:3])
        raise ToolError(
            f"The files of {name!r} have no column in common ({shown}).", "Name one of the files."
        )
    if len({tuple(sorted(r.rows.columns)) for r in readings}) > 1:
        notes.append(
            f"The files of {chosen} have different columns; what a file lacks is missing in its rows."
        )
    try:
        rows = pl.concat([r.rows for r in readings], how="diagonal_relaxed")
    except pl.exceptions.PolarsError as error:
        why = str(error).splitlines()[0]
        raise ToolError(f"The files of {name}:{chosen} do not make one table: {why}.") from None
    return Table(
        rows,
        name,
        _fingerprint(folder, splits[chosen], [r.sha256 for r in readings]),
        split=chosen,
        splits=tuple(splits),
        notes=tuple(notes),
    )


def _texts(folder: Path, files: list[Path], name: str, unit: Unit | None, size: int) -> Table:
    import polars as pl

    files = _one_kind(files, unit)
    contents = [loading.load(path) for path in files]
    texts, notes = _decoded(folder, files, contents)
    # One unit for all files: the one that suits the longest of them.
    longest = max(texts, key=lambda file: len(texts[file]), default="")
    used = unit or choose_unit(longest, texts.get(longest, ""))
    cut = [(row, file) for file, text in texts.items() for row in pieces(text, used, size)]
    if not cut:
        raise ToolError(f"The files of {name!r} have no {used}.", notes[-1] if notes else "")
    rows = pl.DataFrame(cut, schema={"text": pl.String, "file": pl.String}, orient="row")
    return Table(
        rows, name, _fingerprint(folder, files, list(map(digest, contents))), unit=used, notes=tuple(notes)
    )


def _decoded(folder: Path, files: list[Path], contents: list[bytes]) -> tuple[dict[str, str], list[str]]:
    """Texts by relative path. A file in an unknown encoding is left out and counted."""
    texts: dict[str, str] = {}
    notes: list[str] = []
    refused: list[str] = []
    for path, data in zip(files, contents, strict=True):
        try:
            texts[path.relative_to(folder).as_posix()] = loading.decode(path, data, notes)
        except ToolError as error:
            refused.append(error.message)
    if refused:
        notes.append(f"{len(refused)} of {len(files)} files were left out; the first: {refused[0]}")
    return texts, notes


def _one_kind(files: list[Path], unit: Unit | None) -> list[Path]:
    """Python files or the other texts of a folder, whichever are more, unless the unit decides."""
    python = [p for p in files if p.suffix in _PYTHON]
    if unit == "statements" or (unit is None and python and 2 * _bytes(python) >= _bytes(files)):
        if not python:
            raise ToolError(
                "There are no Python files to take statements from.", "Use 'lines' or 'paragraphs'."
            )
        return python
    return files if unit else [p for p in files if p not in set(python)]


def _fingerprint(folder: Path, files: list[Path], hashes: list[str]) -> str:
    named = (f"{p.relative_to(folder).as_posix()} {h}" for p, h in zip(files, hashes, strict=True))
    return digest("\n".join(named).encode())


def _no_splits(name: str, split: str | None) -> None:
    if split not in (None, "train"):
        raise ToolError(f"{name} has no splits, so no {split!r}.", "Make some with split_dataset.")
