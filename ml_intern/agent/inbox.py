"""What a person says to a session while it runs, from any process: small files in its folder.

A message waits until the brain is asked the next time; a stop is taken at once. Cells do not see the folder.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any, Literal

from ml_intern.errors import UsageError

FOLDER = "inbox"

What = Literal["cell", "step", "run"]
STOPS: tuple[What, ...] = ("cell", "step", "run")

MOST_CHARS = 100_000
"""A longer message belongs into a file that the message names."""


@dataclass(frozen=True)
class Said:
    """A message of the person; the id keeps it from being heard twice."""

    id: str
    text: str


class Inbox:
    """The inbox of one session.

    Args:
        folder: The session's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / FOLDER

    def say(self, text: str) -> str:
        """Leave a message; its id.

        Raises:
            UsageError: It is empty or too long.
        """
        if not text.strip():
            raise UsageError("There is nothing to say: the message is empty.")
        if len(text) > MOST_CHARS:
            raise UsageError(
                f"The message has {len(text)} characters, more than {MOST_CHARS}.",
                "Put it into a file of the workspace and name that.",
            )
        return self._put("say", {"text": text.strip()})

    def take_back(self, id: str) -> None:
        """The message was not meant to be heard: whoever left it said so before anybody read it."""
        (self._folder / f"{id}.json").unlink(missing_ok=True)

    def stop(self, what: What) -> None:
        """Ask for the end of what runs: the cell, the step, or the run."""
        self._put("stop", {"what": what})

    def messages(self, heard: Collection[str] = ()) -> list[Said]:
        """The messages that wait, oldest first; those that were heard before a crash are cleared away."""
        found = []
        for path, given in self._read("say"):
            if path.stem in heard:
                path.unlink(missing_ok=True)
            else:
                found.append(Said(path.stem, str(given.get("text", ""))))
        return found

    def heard(self, said: Said) -> None:
        """The message stands in the journal now."""
        (self._folder / f"{said.id}.json").unlink(missing_ok=True)

    def take_stops(self) -> list[What]:
        """The stops that were asked for; each is told once."""
        found: list[What] = []
        for path, given in self._read("stop"):
            path.unlink(missing_ok=True)
            found += [what for what in STOPS if what == given.get("what")]
        return found

    def _put(self, kind: str, given: dict[str, Any]) -> str:
        self._folder.mkdir(exist_ok=True)
        path = self._folder / f"{kind}-{time.time_ns():020}-{token_hex(3)}.json"
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(given), encoding="utf-8")
        fresh.replace(path)
        return path.stem

    def _read(self, kind: str) -> list[tuple[Path, dict[str, Any]]]:
        found = []
        for name in self._names(kind):
            path = self._folder / name
            try:
                given = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue  # taken by somebody else, or not ours
            if isinstance(given, dict):
                found.append((path, given))
        return found

    def _names(self, kind: str) -> list[str]:
        try:
            with os.scandir(self._folder) as entries:
                return sorted(e.name for e in entries if e.name.startswith(kind) and e.name.endswith(".json"))
        except FileNotFoundError:
            return []
