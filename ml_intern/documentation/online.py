"""Hugging Face's documentation on the network: guides and pages beside what is installed.

What fetches is handed in (`Web`): this module knows addresses and answers, and nothing of connections.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ml_intern.documentation.results import EXCERPT_CHARS, DocHit
from ml_intern.errors import ToolError

SEARCH = "https://huggingface.co/api/docs/search"
MOST_LIBRARIES = 5


class Page(Protocol):
    """A page that was fetched."""

    @property
    def url(self) -> str:
        """Where it came from, after redirects."""

    @property
    def content(self) -> bytes:
        """Its bytes."""

    @property
    def headers(self) -> Mapping[str, str]:
        """With names in small letters."""

    @property
    def text(self) -> str:
        """Decoded."""

    @property
    def note(self) -> str:
        """What to know of its age; may be empty."""

    def json(self) -> Any:
        """Its JSON; `ValueError` where it is none."""


class Web(Protocol):
    """What fetches pages, politely, and refuses addresses that are not public."""

    def get(self, url: str, params: Mapping[str, Any] | None = None, /) -> Page:
        """Fetch a page; a `ToolError` says why it cannot be had."""


def guides(web: Web, question: str, libraries: Sequence[str], limit: int) -> tuple[list[DocHit], list[str]]:
    """Pages of Hugging Face's documentation that answer, and what was wrong where some could not be had.

    They describe the newest version, which may be another than the installed one.
    """
    found: list[DocHit] = []
    notes: list[str] = []
    for library in libraries[:MOST_LIBRARIES]:
        try:
            page = web.get(SEARCH, {"q": question.lower(), "product": library})
            rows = page.json()
        except ToolError as error:
            notes.append(f"{library}: {error}")
            continue
        except ValueError:
            notes.append(f"{library}: Hugging Face's answer cannot be read.")
            continue
        notes += [page.note] if page.note else []
        found += _hits(rows if isinstance(rows, list) else [], library)
    seen: dict[str, DocHit] = {}
    for hit in found:
        seen.setdefault(hit.name.partition("#")[0], hit)
    return list(seen.values())[:limit], list(dict.fromkeys(notes))


def _hits(rows: list[Any], library: str) -> list[DocHit]:
    found = []
    for row in rows[:100]:
        url = row.get("source_page_url") if isinstance(row, dict) else None
        if not isinstance(url, str) or not url.startswith("https://"):
            continue
        heads = [str(row.get(key) or "") for key in ("heading1", "heading2")]
        title = " › ".join(part for part in heads if part) or str(row.get("source_page_title") or url)
        text = " ".join(str(row.get("text") or "").split())
        found.append(
            DocHit(url[:500], "page", library, "newest", title[:300], text[:EXCERPT_CHARS], "huggingface.co")
        )
    return found
