"""The documentation of what is installed in a session's sandbox: references, and an index to search."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ml_intern.documentation.asking import Run, ask
from ml_intern.documentation.search import search
from ml_intern.documentation.store import Entry, Store
from ml_intern.errors import ToolError

USUAL = ("trl", "transformers", "datasets", "peft", "accelerate")
"""What is searched where no library is named."""

_ANY = "|".join(USUAL)
_NAMED = re.compile(
    rf"\b(?:in|from|library|import)\s+`?({_ANY})\b(?!-)|(?<![\w.-])({_ANY})(?:\.\w|'s\b|\s+library\b)|`({_ANY})`",
    re.I,
)
"""Usual libraries as a question names them: "datasets" and "accelerate" alone are plain words as well."""

READ_S, IMPORT_S, INDEX_S = 60.0, 120.0, 300.0
SHARE_BYTES = 6 << 20
"""Text that the sandbox gives in one go: packed, it stays far below what a command's output may be."""

COLUMNS = (str, str, int, str, str, str, str, int)
MOST_CELL = 8000

Progress = Callable[[str], None]


class Documentation:
    """Reads, indexes and searches.

    Args:
        folder: Where the index is kept; no cell can write there.
        place: Names the environment: what is installed in another one has an index of its own.
    """

    def __init__(self, folder: Path, place: str) -> None:
        self._store, self._place = Store(folder), place
        self._ready: dict[str, str] = {}
        self._lock = threading.Lock()

    def reference(self, run: Run, python: str, name: str) -> dict[str, Any]:
        """What is known of a name: from its source, and by importing it where the source does not tell.

        Raises:
            ToolError: Nothing of that name is installed; the hint has the nearest names.
        """
        told = ask(run, python, {"ask": "reference", "name": name, "imported": False}, READ_S)
        if told.get("generated") or (told.get("missing") and told.get("importable")):
            try:
                live = ask(run, python, {"ask": "reference", "name": name, "imported": True}, IMPORT_S)
            except ToolError:
                live = told
            if told.get("missing"):
                told = live
            elif not live.get("missing"):
                told = _merged(told, live)
        if told.get("missing"):
            near = ", ".join(str(n) for n in told.get("near", [])[:8])
            hint = f"Nearest: {near}." if near else "search_docs finds names by what they do."
            raise ToolError(f"Nothing named {name!r} is installed in the sandbox.", hint)
        return told

    def search(
        self, run: Run, python: str, question: str, libraries: Sequence[str], limit: int, progress: Progress
    ) -> tuple[list[Entry], dict[str, str]]:
        """The best entries for a question, and the versions of what was searched.

        Libraries that are not indexed yet are, which takes seconds.

        Where no library is given, those that the question names are searched; else, or where these have
        nothing, all usual ones.

        Raises:
            ToolError: A given library is not installed.
        """
        if libraries:
            return self._search(run, python, question, libraries, True, limit, progress)
        if named := named_in(question):
            found = self._search(run, python, question, named, False, limit, progress)
            if found[0]:
                return found
        return self._search(run, python, question, USUAL, False, limit, progress)

    def _search(
        self,
        run: Run,
        python: str,
        question: str,
        libraries: Sequence[str],
        demanded: bool,
        limit: int,
        progress: Progress,
    ) -> tuple[list[Entry], dict[str, str]]:
        with self._lock:
            known = self._prepared(run, python, list(libraries), demanded, progress)
            versions = {name: self._ready[name] for name in known}
        return search(self._store, self._place, known, question, limit), versions

    def page(self, name: str) -> str | None:
        """The text of a page or symbol of the index; None where there is none of that name."""
        found = self._store.named(self._place, [name])
        return self._store.body(found[0]) if found else None

    def body(self, entry: Entry) -> str:
        """All the text of an entry."""
        return self._store.body(entry)

    def _prepared(
        self, run: Run, python: str, libraries: list[str], demanded: bool, progress: Progress
    ) -> list[str]:
        unknown = [name for name in libraries if name not in self._ready]
        stamps = ask(run, python, {"ask": "versions", "names": unknown}, READ_S) if unknown else {}
        for name in unknown:
            stamp = stamps.get(name)
            if isinstance(stamp, dict) and stamp.get("version"):
                self._index(run, python, name, str(stamp["version"]), str(stamp.get("state")), progress)
            elif demanded:
                raise ToolError(
                    f"{name!r} is not installed in the sandbox.",
                    f"Searched without a name: {', '.join(USUAL)}.",
                )
        return [name for name in libraries if name in self._ready]

    def _index(
        self, run: Run, python: str, library: str, version: str, state: str, progress: Progress
    ) -> None:
        if not self._store.has(self._place, library, state):
            progress(f"Indexing {library} {version}; this is done once for each version.")
            self._store.put(self._place, library, version, state, _rows(run, python, library))
        self._ready[library] = version


def named_in(question: str) -> list[str]:
    """The usual libraries that a question names: "packing in trl" → trl."""
    return list(dict.fromkeys("".join(hit).lower() for hit in _NAMED.findall(question)))


def _rows(run: Run, python: str, library: str) -> Iterator[tuple[Any, ...]]:
    start: int | None = 0
    while start is not None:
        question = {"ask": "extract", "library": library, "start": start, "most_bytes": SHARE_BYTES}
        share = ask(run, python, question, INDEX_S)
        for row in share.get("rows", []):
            if isinstance(row, list) and [type(cell) for cell in row] == list(COLUMNS):
                yield tuple(cell[:MOST_CELL] if isinstance(cell, str) else cell for cell in row)
        then = share.get("next")
        start = then if isinstance(then, int) and then > start else None


def _merged(source: dict[str, Any], live: dict[str, Any]) -> dict[str, Any]:
    """What importing tells, with the place in the source and the texts that only the source has."""
    told = {**source, **{key: live[key] for key in ("doc", "how") if live.get(key)}}
    helped = {row["name"]: row.get("help", "") for row in live.get("parameters", [])}
    told["parameters"] = [
        {**row, "help": row["help"] or helped.get(row["name"], "")} for row in source["parameters"]
    ]
    if all(row["name"].startswith("*") for row in told["parameters"]):
        told["parameters"] = live.get("parameters") or told["parameters"]
        told["signature"] = live.get("signature") or told["signature"]
    return told
