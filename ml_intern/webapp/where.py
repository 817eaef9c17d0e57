"""What a page says of itself when it asks, and what it is told."""

from __future__ import annotations

import json
from dataclasses import dataclass

from ml_intern.events import ApprovalNeeded


@dataclass(frozen=True)
class Where:
    """What a page says of itself: which session it shows, and what it has drawn.

    Attributes:
        session: The session's id; empty: a new one that has not begun.
        epoch: Of the transcript that was drawn; another one: it was taken back, draw all anew.
        version: The newest that was drawn.
        list: Of the list of sessions.
        question: The call that the page asks about; empty where it asks nothing.
        fresh: The page has just come to this session: its fields need the session's settings.
        tab: The name of the tab that is open.
    """

    session: str = ""
    epoch: int = 0
    version: int = 0
    list: str = ""
    question: str = ""
    fresh: bool = True
    tab: str = ""

    @classmethod
    def of(cls, said: object) -> Where:
        """From what the page sent; it is not trusted."""
        try:
            given = json.loads(str(said or "{}"))
            return cls(
                str(given.get("session", ""))[:100],
                int(given.get("epoch", 0)),
                int(given.get("version", 0)),
                str(given.get("list", ""))[:100],
                str(given.get("question", ""))[:200],
                bool(given.get("fresh", True)),
                str(given.get("tab", ""))[:40],
            )
        except (ValueError, TypeError, AttributeError):
            return cls()


@dataclass
class News:
    """What a page is told.

    Attributes:
        payload: For the page's own script, JSON.
        question: What the gate asks; meaningful where `asks_anew`.
        asks_anew: Another question than the page shows, or none any more.
        settings: Model and budget of the session, for a page that has just come to it.
    """

    payload: str
    question: ApprovalNeeded | None = None
    asks_anew: bool = False
    settings: dict[str, str] | None = None
