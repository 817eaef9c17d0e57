"""Sessions that are found again by a name, since the configuration of a client never changes."""

from __future__ import annotations

import re
from pathlib import Path

from ml_intern.errors import UsageError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def check_name(name: str) -> str:
    """The name, if it is one.

    Raises:
        UsageError: It is none.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name[:80]!r} is no name of a session.", "Letters, digits, - and _, at most 64.")
    return name


class Names:
    """The names that are kept in a state folder."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._folder = state / "mcp"

    def folder(self, name: str) -> Path | None:
        """The session of a name; None where it has none, or where that was deleted."""
        try:
            known = (self._folder / check_name(name)).read_text(encoding="utf-8").strip()
        except OSError:
            return None
        found = self._state / "sessions" / Path(known).name
        return found if (found / "session.json").is_file() else None

    def keep(self, name: str, folder: Path) -> None:
        """From now on the name means that session."""
        self._folder.mkdir(parents=True, exist_ok=True)
        fresh = self._folder / f".{check_name(name)}.new"
        fresh.write_text(folder.name, encoding="utf-8")
        fresh.replace(self._folder / name)
