"""Papers on huggingface.co: search, the day's papers, and what was built on a paper.

Only these public pages are fetched here; everything of repositories goes through huggingface_hub.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from ml_intern.papers.ids import PaperId
from ml_intern.papers.model import MOST_AUTHORS, Paper, Resource, Resources
from ml_intern.papers.values import Raw, a_list, an_object, day, part, rows, text, texts, whole
from ml_intern.web.client import Web

OFFICIAL = "https://huggingface.co"
SHOWN = 20


class HuggingFace:
    """The service.

    Args:
        web: Fetches.
    """

    def __init__(self, web: Web) -> None:
        self._web = web
        self._base = web.base("huggingface", OFFICIAL)

    def search(self, query: str, limit: int) -> tuple[list[Paper], str]:
        """Papers by meaning, and a note."""
        page = self._web.get_json(
            f"{self._base}/api/papers/search", {"q": query, "limit": limit}, parse=a_list
        )
        return papers_in(page.data), page.note

    def daily(self, on: date | None, limit: int) -> tuple[list[Paper], str]:
        """The papers of a day, or the newest ones."""
        given = {"date": on.isoformat() if on else None, "limit": limit}
        page = self._web.get_json(f"{self._base}/api/daily_papers", given, parse=a_list)
        return papers_in(page.data), page.note

    def resources(self, id: PaperId) -> Resources:
        """Models, datasets, Spaces and code that name a paper.

        Raises:
            Missing: It is not known here.
        """
        page = self._web.get_json(f"{self._base}/api/papers/{id.value}", parse=an_object)
        return resources_of(page.data, str(id.bare), self._base, page.note)


def papers_in(data: Any) -> list[Paper]:
    """The papers in a list."""
    return [paper for row in rows(data) if (paper := paper_of(row))]


def paper_of(row: Raw) -> Paper | None:
    """A paper; None where it has no id."""
    inner = {**row, **part(row, "paper")}
    id = text(inner.get("id"))
    if not id:
        return None
    published = day(inner.get("publishedAt"))
    names = [text(author.get("name")) for author in rows(inner.get("authors"))]
    return Paper(
        id=id,
        title=text(inner.get("title")),
        authors=[name for name in names if name][:MOST_AUTHORS],
        year=published.year if published else None,
        published=published,
        abstract=text(inner.get("summary")),
        tldr=text(inner.get("ai_summary")),
        categories=texts(inner.get("ai_keywords"))[:10],
        upvotes=whole(inner.get("upvotes")),
        ids={"arxiv": id},
        url=f"{OFFICIAL}/papers/{id}",
        code=text(inner.get("githubRepo")),
    )


def resources_of(data: Raw, id: str, base: str = OFFICIAL, note: str = "") -> Resources:
    """What names a paper: repositories of the Hub and its code."""
    found: list[Resource] = []
    totals: dict[str, int] = {}
    for kind, path in (("model", ""), ("dataset", "datasets/"), ("space", "spaces/")):
        linked = list(rows(data.get(f"linked{kind.capitalize()}s")))
        totals[kind] = whole(data.get(f"numTotal{kind.capitalize()}s")) or len(linked)
        found += [_resource(kind, f"{base}/{path}", row) for row in linked[:SHOWN] if row.get("id")]
    if code := text(data.get("githubRepo")):
        stars = whole(data.get("githubStars"))
        found.append(
            Resource(kind="code", id=code.partition("github.com/")[2] or code, url=code, likes=stars)
        )
    return Resources(
        paper=id,
        title=text(data.get("title")),
        resources=found,
        totals={kind: count for kind, count in totals.items() if count},
        project_page=text(data.get("projectPage")),
        notes=[note] if note else [],
    )


def _resource(kind: str, base: str, row: Raw) -> Resource:
    id = text(row.get("id"))
    likes, downloads = whole(row.get("likes")), whole(row.get("downloads"))
    return Resource(kind=kind, id=id, url=f"{base}{id}", likes=likes, downloads=downloads)
