"""The list of a user's sessions beside the page."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ml_intern.cli.board import shorten
from ml_intern.webapp.house import Home
from ml_intern.webapp.markup import text

_MOST = 100
"""Sessions in the list."""
_LOOK_S = 10.0
"""The list is read from the disk so often, also where nothing has changed here: other processes change it."""


@dataclass
class SessionList:
    """What was read from the disk last, of one user."""

    _at: float = 0.0
    _live: dict[str, str] = field(default_factory=dict)
    _rows: list[tuple[str, str, str, str]] = field(default_factory=list)

    def news(self, home: Home, has: str, current: str) -> dict[str, Any]:
        """The list for a page, left out where it has it already.

        Args:
            home: Whose sessions.
            has: The digest of the list that the page shows.
            current: The session that it shows.
        """
        live = live_of(home)
        if self._live != live or time.monotonic() - self._at > _LOOK_S:
            self._at, self._live = time.monotonic(), live
            self._rows = [(c.id, c.prompt, c.status, c.created) for c in home.cards()[:_MOST]]
        rows = "".join(_row(row, live, current) for row in self._rows)
        digest = hashlib.sha256(rows.encode()).hexdigest()[:16]
        return {"list": digest, "rows": rows} if digest != has else {"list": digest}


def live_of(home: Home) -> dict[str, str]:
    """The sessions of a user that have a process, and what each does: working, waiting, or asks."""
    states = {one.hosted.id: (one.hosted.state, one.hosted.questions) for one in home.all()}
    return {
        session: "asks" if questions else state
        for session, (state, questions) in states.items()
        if state in ("working", "waiting")
    }


def _row(row: tuple[str, str, str, str], live: Mapping[str, str], current: str) -> str:
    session, prompt, status, created = row
    state = live.get(session, "over")
    told = {"asks": "needs an answer", "working": "working", "waiting": "waiting"}.get(state, status)
    here = ' aria-current="true"' if session == current else ""
    return (
        f'<a class="mi-session" href="?session={text(session)}" data-session="{text(session)}"{here}>'
        f'<span class="mi-title">{text(shorten(prompt, 80)) or "…"}</span>'
        f'<span class="mi-when"><span class="mi-dot mi-is-{state} mi-was-{text(status)}"></span>'
        f"{text(told)} · {text(created[5:16].replace('T', ' '))}</span></a>"
    )
