"""Where the source of a dataset is today: at the path that the person told, in this folder, or on the Hub."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ml_intern.data.sources import STDLIB, walk
from ml_intern.errors import ToolError, UsageError
from ml_intern.reproducing.card import Row
from ml_intern.tooling import did_you_mean

MAX_LOOKED_AT = 2_000
"""Files of this folder that are hashed in search of a source."""
MAX_HASHED = 2 << 30

_HUB = re.compile(r"(?P<id>[\w-][\w.-]*/[\w-][\w.-]*)(?::(?P<split>[\w./-]+))?")
_SPLIT = re.compile(r"(?P<name>.+?)(?::(?P<split>[\w-]+))?")


@dataclass(frozen=True)
class Place:
    """Where a source is.

    Attributes:
        ref: What a tool is given for it; empty where it is not at hand.
        path: The file or folder, where it is one.
        lacks: Why it is not at hand.
        differs: What is otherwise than it was.
    """

    ref: str = ""
    path: Path | None = None
    lacks: str = ""
    differs: str = ""


def read_pairs(pairs: Iterable[str]) -> dict[str, Path]:
    """The words of ``--data NAME=PATH``.

    Raises:
        UsageError: One is no such pair, or there is nothing at its path.
    """
    found: dict[str, Path] = {}
    for pair in pairs:
        name, equals, place = pair.partition("=")
        if not equals or not name.strip() or not place.strip():
            raise UsageError(f"--data {pair!r} is no NAME=PATH.")
        path = Path(place.strip()).expanduser().absolute()
        if not path.exists():
            raise UsageError(f"--data {name.strip()}: there is nothing at {str(path)!r}.")
        found[name.strip()] = path
    return found


def check_names(given: Mapping[str, Path], known: Iterable[str]) -> None:
    """Refuse a name that the card does not have.

    Raises:
        UsageError: Names what there is.
    """
    names = list(dict.fromkeys(n for n in known if n))
    for name in given:
        if name not in names:
            shown = ", ".join(n[:80] for n in names[:10]) or "none"
            raise UsageError(
                f"--data {name}: the card has no source of that name{did_you_mean(name, names)}.",
                f"It has: {shown}.",
            )


def names_of(row: Row) -> list[str]:
    """What a person may call a dataset or its sources in ``--data``."""
    sources = [root.source for root in roots_of(row).values()] or [row.source]
    plain = [_parts(source)[0] for source in sources]
    return [row.id, row.name, *sources, *plain, *(Path(name).name for name in plain)]


def roots_of(row: Row) -> dict[str, Row]:
    """What a dataset was made of beside other datasets of the card, by the name that its maker used.

    A mixture has a source for each of its parts, and a hash for each.
    """
    parts = row.arguments.get("parts")
    if row.operation != "mix_datasets" or not isinstance(parts, dict):
        return {} if row.parents else {row.id: row}
    hashes = row.source_sha256.split(" ")
    known = {*row.parents, *(id.partition("@")[0] for id in row.parents)}
    found = {}
    for part, sha in zip(parts, hashes if len(hashes) == len(parts) else [""] * len(parts), strict=True):
        if part not in known:
            found[part] = row.model_copy(update={"source": part, "source_sha256": sha})
    return found


def place_of(row: Row, given: Mapping[str, Path], here: Path) -> Place:
    """Where the source of a dataset is that was made of nothing else in the card."""
    name, split = _parts(row.source)
    tail = f":{split}" if split else ""
    told = next((given[n] for n in (row.source, name, Path(name).name) if n in given), None)
    if told is not None:
        return Place(f"{told}{tail}", told, differs=_differs(told, row))
    if name == STDLIB:
        return Place(STDLIB)
    if row.revision and (match := _HUB.fullmatch(row.source)):
        return Place(f"{match['id']}@{row.revision}" + (f":{match['split']}" if match["split"] else ""))
    if (found := _here(name, row, here)) is not None:
        return Place(f"{found}{tail}", found)
    return Place(lacks=_lacking(name, row, here))


def _parts(source: str) -> tuple[str, str]:
    match = _SPLIT.fullmatch(source)
    return (match["name"], match["split"] or "") if match else (source, "")


def _here(name: str, row: Row, here: Path) -> Path | None:
    """The file of the working folder that has the hash which is wanted; of its name first."""
    wanted = row.source_sha256
    near = _within(here, name)
    if near is not None and near.is_dir():
        return near  # The hash of what is made of it decides.
    if near is not None and (not wanted or sha256_of(near) == wanted):
        return near
    return _by_hash(wanted, Path(name).suffix, here) if re.fullmatch("[0-9a-f]{64}", wanted) else None


def _within(here: Path, name: str) -> Path | None:
    """A name as a path of the working folder; nothing where it leads out of it."""
    for tried in (name, Path(name).name):
        try:
            path = (here / tried).resolve()
            if here.resolve() in path.parents and path.exists():
                return path
        except (OSError, RuntimeError, ValueError):
            continue
    return None


def _by_hash(wanted: str, suffix: str, here: Path) -> Path | None:
    looked = 0
    try:
        for path in walk(here):
            if path.suffix != suffix or path.is_symlink():
                continue
            looked += 1
            if looked > MAX_LOOKED_AT:
                return None
            if sha256_of(path) == wanted:
                return path
    except (ToolError, OSError):
        return None
    return None


def _lacking(name: str, row: Row, here: Path) -> str:
    wanted = f"sha256 {row.source_sha256}" if row.source_sha256 else "its hash was not kept"
    near = _within(here, name)
    other = ""
    if near is not None and near.is_file():
        other = f" The {near.name} in this folder is another one (sha256 {sha256_of(near)[:16]}…)."
    return f"The source {name[:200]!r} of {row.id} is not at hand ({wanted}).{other}"


def _differs(path: Path, row: Row) -> str:
    if path.is_dir() or not row.source_sha256 or sha256_of(path) == row.source_sha256:
        return ""
    return f"{path.name} has another sha256 ({sha256_of(path)[:16]}…) than the card's source."


def sha256_of(path: Path) -> str:
    """Of a file; nothing where it cannot be read or is very large."""
    digest = hashlib.sha256()
    try:
        if path.stat().st_size > MAX_HASHED:
            return ""
        with path.open("rb") as file:
            while piece := file.read(2**20):
                digest.update(piece)
    except OSError:
        return ""
    return digest.hexdigest()
