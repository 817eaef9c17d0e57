"""OpenAlex, the second source: search and citations where Semantic Scholar gives no answer.

API: https://developers.openalex.org. It has a daily allowance, small without a key; single papers are free.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ml_intern.papers.ids import PaperId, try_id
from ml_intern.papers.model import MOST_AUTHORS, Paper, preferred
from ml_intern.papers.values import Raw, an_object, day, part, rows, text, texts, whole
from ml_intern.secrets.credentials import Credential
from ml_intern.web.client import Web
from ml_intern.web.errors import BadAnswer
from ml_intern.web.page import Page

OFFICIAL = "https://api.openalex.org"
MOST_IDS = 100
"""Values that one filter takes with ``|`` between them."""
PAGE = 100
FIELDS = (
    "id,doi,ids,display_name,publication_year,publication_date,cited_by_count,referenced_works,authorships,"
    "primary_location,best_oa_location,abstract_inverted_index,primary_topic"
)
LONGEST_ABSTRACT = 20_000


class OpenAlex:
    """The service.

    Args:
        web: Fetches.
        key: The person's own.
    """

    def __init__(self, web: Web, key: Credential | None = None) -> None:
        self._web, self._key = web, key
        self._base = web.base("openalex", OFFICIAL)

    def search(
        self, query: str, limit: int, filters: Sequence[str] = ()
    ) -> tuple[list[Paper], int | None, str]:
        """Papers by relevance, how many there are in all, and a note. `filters` are OpenAlex's own."""
        given = {"search": query, "per-page": min(limit, PAGE), "filter": ",".join(filters) or None}
        page = self._works(given)
        return papers_in(page.data), whole(part(page.data, "meta").get("count")), page.note

    def paper(self, id: PaperId) -> Paper:
        """One paper.

        Raises:
            Missing: It is not known here.
        """
        if not id.openalex:
            raise BadAnswer(f"OpenAlex knows no ids like {id}.", "Give an arXiv id or a DOI.")
        page = self._web.get_json(
            f"{self._base}/works/{id.openalex}", {"select": FIELDS}, credential=self._key, parse=an_object
        )
        found = work_of(page.data)
        if found is None:
            raise BadAnswer(f"OpenAlex tells nothing of {id}.", "Try another id of the paper.")
        return found[0]

    def works(self, ids: Sequence[str]) -> list[tuple[Paper, list[str]]]:
        """Up to 100 papers with the ids of what each cites, in one request; those that are not known lack."""
        page = self._works({"filter": f"openalex:{'|'.join(ids)}", "per-page": PAGE})
        return works_in(page.data)

    def citing(self, ids: Sequence[str]) -> list[tuple[Paper, list[str]]]:
        """The most cited papers that cite one of up to 100, with the ids of what each cites."""
        given = {"filter": f"cites:{'|'.join(ids)}", "per-page": PAGE, "sort": "cited_by_count:desc"}
        return works_in(self._works(given).data)

    def _works(self, params: Mapping[str, Any]) -> Page:
        given = {**params, "select": FIELDS}
        return self._web.get_json(f"{self._base}/works", given, credential=self._key, parse=an_object)


def works_in(data: Raw) -> list[tuple[Paper, list[str]]]:
    """The works of a page, each with the ids of what it cites."""
    return [work for row in rows(data.get("results")) if (work := work_of(row))]


def papers_in(data: Raw) -> list[Paper]:
    """The same without what they cite."""
    return [paper for paper, _ in works_in(data)]


def work_of(raw: Raw) -> tuple[Paper, list[str]] | None:
    """A paper and the ids of what it cites; None where it has no id."""
    ids = _ids(raw)
    if not ids:
        return None
    cited = [text(url).rpartition("/")[2] for url in texts(raw.get("referenced_works"))]
    published = day(raw.get("publication_date"))
    names = [text(part(row, "author").get("display_name")) for row in rows(raw.get("authorships"))]
    topic = text(part(raw, "primary_topic").get("display_name"))
    return Paper(
        id=preferred(ids),
        title=text(raw.get("display_name") or raw.get("title")),
        authors=[name for name in names if name][:MOST_AUTHORS],
        year=whole(raw.get("publication_year")) or (published.year if published else None),
        published=published,
        abstract=abstract_of(raw.get("abstract_inverted_index")),
        venue=text(part(raw, "primary_location", "source").get("display_name")),
        categories=[topic] if topic else [],
        citations=whole(raw.get("cited_by_count")),
        references=len(cited) or None,
        ids=ids,
        url=text(part(raw, "primary_location").get("landing_page_url")),
        pdf=text(part(raw, "best_oa_location").get("pdf_url")),
    ), cited


def abstract_of(index: Any) -> str:
    """The abstract from OpenAlex's index of words to their places."""
    if not isinstance(index, dict):
        return ""
    places = [
        (place, str(word))
        for word, found in index.items()
        if isinstance(found, list)
        for place in found
        if isinstance(place, int)
    ]
    return " ".join(word for _, word in sorted(places)[:LONGEST_ABSTRACT])


def _ids(raw: Raw) -> dict[str, str]:
    """OpenAlex's own, the DOI, and an arXiv id where a DOI or a location says one."""
    own = text(raw.get("id")).rpartition("/")[2]
    ids = {"openalex": own} if own.startswith("W") else {}
    places = ("best_oa_location", "primary_location")
    urls = [raw.get("doi"), *(part(raw, place).get("landing_page_url") for place in places)]
    for url in urls:
        found = try_id(text(url)) if url else None
        if found and found.scheme in ("doi", "arxiv"):
            ids.setdefault(found.scheme, found.value)
    return ids
