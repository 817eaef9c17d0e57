"""Semantic Scholar: search, citations with their contexts, recommendations, snippets.

API: https://api.semanticscholar.org/api-docs. Without a key all callers share one pool, so it may ask for
patience. Limits of its own: 500 ids, 10 MB and 9,999 citations in one batch; 1,000 links on a page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ml_intern.papers.ids import PaperId, try_id
from ml_intern.papers.model import MOST_AUTHORS, Paper, Snippet, preferred
from ml_intern.papers.values import Raw, a_list, an_object, day, part, rows, text, texts, whole
from ml_intern.secrets.credentials import Credential
from ml_intern.web.client import Web
from ml_intern.web.errors import BadAnswer
from ml_intern.web.page import Page

OFFICIAL = "https://api.semanticscholar.org"
MOST_IDS = 500
PAGE = 1000
MOST_FOUND = 100
_BRIEF = (
    "title", "year", "authors.name", "externalIds", "citationCount", "influentialCitationCount", "venue",
    "publicationDate", "referenceCount",
)  # fmt: skip
FIELDS = ",".join((*_BRIEF, "abstract", "tldr", "openAccessPdf", "fieldsOfStudy", "url"))
BRIEF = ",".join(_BRIEF)
LINKED = ("title", "year", "externalIds", "citationCount", "influentialCitationCount", "publicationDate")
"""Of each neighbour in a batch: little, since there may be thousands."""
EDGE = "contexts,intents,isInfluential"
_SCHEMES = {"ArXiv": "arxiv", "DOI": "doi", "ACL": "acl", "CorpusId": "corpus", "PubMed": "pmid"}


@dataclass(frozen=True)
class Link:
    """A citation as one page tells it: the paper at the other end, and how it is cited."""

    paper: Paper
    contexts: tuple[str, ...] = ()
    intents: tuple[str, ...] = ()
    influential: bool = False


@dataclass(frozen=True)
class Links:
    """A page of citations; `next` is where the next one begins, `unknown` how many had no id."""

    links: list[Link]
    next: int | None = None
    unknown: int = 0
    note: str = ""


class SemanticScholar:
    """The service.

    Args:
        web: Fetches.
        key: The person's own; None: the shared pool.
    """

    def __init__(self, web: Web, key: Credential | None = None) -> None:
        self._web, self._key = web, key
        self._base = web.base("semantic-scholar", OFFICIAL)

    def search(self, query: str, limit: int, **filters: Any) -> tuple[list[Paper], int | None, str]:
        """Papers by relevance, how many there are in all, and a note.

        Args:
            query: Plain words.
            limit: At most 100.
            filters: Parameters of the API: ``publicationDateOrYear``, ``minCitationCount``, ``year``, …
        """
        given = {"query": query, "limit": min(limit, MOST_FOUND), "fields": FIELDS, **filters}
        page = self._get("/graph/v1/paper/search", given)
        return papers_in(page.data.get("data")), whole(page.data.get("total")), page.note

    def match(self, title: str) -> Paper | None:
        """The paper with the nearest title."""
        page = self._get("/graph/v1/paper/search/match", {"query": title, "fields": FIELDS})
        return next(iter(papers_in(page.data.get("data"))), None)

    def paper(self, id: PaperId, fields: str = FIELDS) -> Paper:
        """One paper.

        Raises:
            Missing: It is not known here.
        """
        if not id.semantic_scholar:
            raise BadAnswer(f"Semantic Scholar knows no ids like {id}.", "Give an arXiv id or a DOI.")
        page = self._get(f"/graph/v1/paper/{_path(id)}", {"fields": fields})
        found = paper_of(page.data)
        if found is None:
            raise BadAnswer(f"Semantic Scholar tells nothing of {id}.", "Try another id of the paper.")
        return found

    def batch(self, ids: Sequence[str], fields: str = BRIEF) -> tuple[list[dict[str, Any] | None], str]:
        """Up to 500 papers in one request, in the order of the ids; None where one is not known."""
        assert len(ids) <= MOST_IDS, "one request takes 500 ids"
        page = self._web.ask_json(
            f"{self._base}/graph/v1/paper/batch",
            {"ids": list(ids)},
            {"fields": fields},
            self._key,
            parse=a_list,
        )
        found = [row if isinstance(row, dict) else None for row in page.data]
        return found + [None] * (len(ids) - len(found)), page.note

    def references(self, id: str, offset: int = 0, limit: int = PAGE) -> Links:
        """What a paper cites, a page of it."""
        return self._links(id, "references", "citedPaper", offset, limit)

    def citations(self, id: str, offset: int = 0, limit: int = PAGE) -> Links:
        """Who cites a paper, a page of it."""
        return self._links(id, "citations", "citingPaper", offset, limit)

    def recommend(self, liked: Sequence[str], disliked: Sequence[str], limit: int) -> tuple[list[Paper], str]:
        """Papers like some and unlike others."""
        question = {"positivePaperIds": list(liked), "negativePaperIds": list(disliked)}
        page = self._web.ask_json(
            f"{self._base}/recommendations/v1/papers/",
            question,
            {"fields": FIELDS.replace(",tldr", ""), "limit": limit},
            self._key,
            parse=an_object,
        )
        return papers_in(page.data.get("recommendedPapers")), page.note

    def snippets(self, query: str, limit: int, **filters: Any) -> tuple[list[Snippet], str]:
        """Passages that fit a query."""
        page = self._get("/graph/v1/snippet/search", {"query": query, "limit": limit, **filters})
        return [s for row in rows(page.data.get("data")) if (s := snippet_of(row))], page.note

    def name_papers(self, snippets: Sequence[Snippet]) -> None:
        """Give snippets the ids that other tools take best, where they have only a CorpusId: one request.

        Raises:
            WebError: It fails; they stay as they are.
        """
        bare = list(dict.fromkeys(s.paper for s in snippets if s.paper.startswith("CorpusId:")))[:MOST_IDS]
        if not bare:
            return
        found, _ = self.batch(bare, "externalIds")
        ids = {id: paper.id for id, row in zip(bare, found, strict=False) if (paper := paper_of(row))}
        for snippet in snippets:
            snippet.paper = ids.get(snippet.paper, snippet.paper)

    def _links(self, id: str, which: str, end: str, offset: int, limit: int) -> Links:
        page = self._get(
            f"/graph/v1/paper/{quote(id, safe=':')}/{which}",
            {"fields": f"{EDGE},{BRIEF}", "offset": offset, "limit": limit},
        )
        return links_of(page.data, end, page.note)

    def _get(self, path: str, params: Mapping[str, Any]) -> Page:
        return self._web.get_json(f"{self._base}{path}", params, credential=self._key, parse=an_object)


def links_of(data: Raw, end: str, note: str = "") -> Links:
    """A page of citations or references. `end` is ``citingPaper`` or ``citedPaper``."""
    given = list(rows(data.get("data")))
    found = [link for row in given if (link := link_of(row, paper_of(row.get(end))))]
    return Links(found, whole(data.get("next")), len(given) - len(found), note)


def paper_of(raw: Any) -> Paper | None:
    """A paper from what the API calls one; None where it has no id."""
    if not isinstance(raw, Mapping):
        return None
    outer = part(raw, "externalIds")
    ids = {_SCHEMES[k]: str(v) for k, v in outer.items() if k in _SCHEMES and isinstance(v, str | int)}
    ids["s2"] = text(raw.get("paperId"))
    if corpus := raw.get("corpusId"):
        ids["corpus"] = str(corpus)
    ids = {scheme: value for scheme, value in ids.items() if value}
    if not ids:
        return None
    published = day(raw.get("publicationDate"))
    return Paper(
        id=preferred(ids),
        title=text(raw.get("title")),
        authors=_names(raw.get("authors")),
        year=whole(raw.get("year")) or (published.year if published else None),
        published=published,
        abstract=text(raw.get("abstract")),
        tldr=text(part(raw, "tldr").get("text")),
        venue=text(raw.get("venue")),
        categories=texts(raw.get("fieldsOfStudy")),
        citations=whole(raw.get("citationCount")),
        influential=whole(raw.get("influentialCitationCount")),
        references=whole(raw.get("referenceCount")),
        ids=ids,
        url=text(raw.get("url")),
        pdf=text(part(raw, "openAccessPdf").get("url")),
    )


def papers_in(data: Any) -> list[Paper]:
    """The papers in a list."""
    return [paper for row in rows(data) if (paper := paper_of(row))]


def snippet_of(row: Raw) -> Snippet | None:
    """A passage; None where it has no text."""
    snippet, paper = part(row, "snippet"), part(row, "paper")
    if not text(snippet.get("text")):
        return None
    score = row.get("score")
    known = paper_of(paper)
    source = re.search(
        r"https?://arxiv\.org/abs/[\w./-]*\w", text(part(paper, "openAccessInfo").get("disclaimer"))
    )
    arxiv = try_id(source[0]) if source else None
    return Snippet(
        text=text(snippet.get("text")),
        kind=text(snippet.get("snippetKind")),
        section=text(snippet.get("section")),
        score=float(score) if isinstance(score, int | float) else None,
        paper=preferred({**({"arxiv": arxiv.value} if arxiv else {}), **(known.ids if known else {})}),
        title=text(paper.get("title")),
        authors=_names(paper.get("authors")),
    )


def link_of(row: Raw, paper: Paper | None) -> Link | None:
    """A citation of a row that tells how it is cited; None where the paper has no id."""
    if paper is None:
        return None
    contexts, intents = texts(row.get("contexts")), texts(row.get("intents"))
    return Link(paper, tuple(contexts), tuple(intents), row.get("isInfluential") is True)


def _names(authors: Any) -> list[str]:
    """Names of authors, who come as objects or as texts."""
    return list(_each_name(authors))[:MOST_AUTHORS]


def _each_name(authors: Any) -> Iterator[str]:
    for author in authors if isinstance(authors, list) else ():
        name = text(author.get("name")) if isinstance(author, Mapping) else text(author)
        if name:
            yield name


def _path(id: PaperId) -> str:
    return quote(id.semantic_scholar, safe=":/")
