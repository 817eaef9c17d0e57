"""arXiv's API: the ``arxiv`` package asks and reads, the pages are fetched by our own layer.

The package takes no session, but it keeps one and calls nothing but its ``get``: ours stands there. So cache,
turns and retries hold for it as well, and its own waiting is off.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from ml_intern.papers.ids import PaperId, try_id
from ml_intern.papers.model import MOST_AUTHORS, Paper
from ml_intern.papers.values import text
from ml_intern.web.client import Web
from ml_intern.web.errors import BadAnswer, Missing, WebError
from ml_intern.web.page import Page

OFFICIAL = "https://export.arxiv.org"
PAGE = 100
MOST_WORDS = 10
_OWN_SYNTAX = re.compile(r"\b(ti|au|abs|co|jr|cat|rn|id|all|submittedDate):")
_STOP = frozenset({
    "a", "an", "and", "are", "as", "at", "by", "for", "from", "in", "into", "is", "it", "of",
    "on", "or", "the", "to", "via", "with",
})  # fmt: skip
_ERRORS = "/api/errors"


class Arxiv:
    """The service.

    Args:
        web: Fetches.
    """

    def __init__(self, web: Web) -> None:
        self._web = web
        self._base = web.base("arxiv", OFFICIAL)

    def search(
        self,
        query: str,
        limit: int,
        since: date | None = None,
        until: date | None = None,
        categories: Sequence[str] = (),
    ) -> tuple[list[Paper], str]:
        """Papers by relevance, and a note. Words that all appear are wanted first, then any of them."""
        for joiner in (" AND ", " OR "):
            asked = query_of(query, joiner, since, until, categories)
            found = self._results(limit, query=asked)
            if found[0] or asked == query_of(query, " OR ", since, until, categories):
                return found
        return [], ""

    def papers(self, ids: Sequence[PaperId]) -> tuple[list[Paper], str]:
        """Papers by their ids, those that exist, and a note."""
        return self._results(len(ids), id_list=[str(id) for id in ids])

    def paper(self, id: PaperId) -> Paper:
        """One paper.

        Raises:
            Missing: There is none with this id.
        """
        found, _ = self.papers([id])
        if not found:
            raise Missing(f"arXiv has no paper {id}.", "Check the id; search_papers finds papers by words.")
        return found[0]

    def _results(self, limit: int, **search: Any) -> tuple[list[Paper], str]:
        import arxiv

        session = _Session(self._web)
        client = arxiv.Client(page_size=min(PAGE, limit), delay_seconds=0, num_retries=0)
        client._session = session
        client.query_url_format = f"{self._base}/api/query?{{}}"
        papers: list[Paper] = []
        try:
            for result in client.results(arxiv.Search(max_results=limit, **search)):
                papers.append(_paper(result))
        except arxiv.UnexpectedEmptyPageError:
            session.notes.append(f"arXiv broke off after {len(papers)} papers.")
        except WebError as error:
            raise _told(error) from error
        except ValueError as error:
            raise BadAnswer(f"arXiv's answer cannot be read: {error}.", "Try again later.") from None
        return papers, " ".join(dict.fromkeys(filter(None, session.notes)))


@dataclass
class _Session:
    """What stands where the package expects a session of requests."""

    web: Web
    notes: list[str] = field(default_factory=list)

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> _Answer:
        page = self.web.get(url, accept="application/atom+xml", parse=check_feed)
        self.notes.append(page.note)
        return _Answer(page.status, page.content)


@dataclass(frozen=True)
class _Answer:
    status_code: int
    content: bytes


def check_feed(page: Page) -> None:
    """Whether a page is a whole feed: the package itself reads what it can of a damaged one.

    Raises:
        ValueError: It is none.
    """
    from lxml import etree  # type: ignore[import-untyped]

    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    try:
        root = etree.fromstring(page.content, parser)
    except etree.XMLSyntaxError as error:
        raise ValueError(f"it is no whole feed ({error})") from None
    if etree.QName(root).localname != "feed":
        raise ValueError("it is no feed")
    if said := _error_in(root):
        raise Refused(said)


class Refused(BadAnswer):
    """arXiv tells an error in a feed."""


def query_of(
    query: str, joiner: str, since: date | None, until: date | None, categories: Sequence[str]
) -> str:
    """A query in arXiv's syntax; one that is in it already stays."""
    parts = [f"({query})" if _OWN_SYNTAX.search(query) else _words(query, joiner)]
    if categories:
        parts.append("(" + " OR ".join(f"cat:{_plain(c)}" for c in categories) + ")")
    if since or until:
        begin, end = since or date(1991, 8, 1), until or date.today()
        parts.append(f"submittedDate:[{begin:%Y%m%d}0000 TO {end:%Y%m%d}2359]")
    return " AND ".join(filter(None, parts))


def _words(query: str, joiner: str) -> str:
    words = [w for w in _plain(query).split() if w.lower() not in _STOP and w.upper() != "NOT"][:MOST_WORDS]
    return f"({joiner.join(f'all:{word}' for word in words)})" if words else ""


def _plain(words: str) -> str:
    """Without what means something in arXiv's syntax."""
    return " ".join(re.sub(r"[^\w.*+-]+", " ", words).split())


def _paper(result: Any) -> Paper:
    id = try_id(result.entry_id) or try_id(result.get_short_id())
    doi = try_id(result.doi) if result.doi else None
    ids = {"arxiv": id.value} if id else {}
    if doi and doi.scheme == "doi":
        ids["doi"] = doi.value
    return Paper(
        id=ids.get("arxiv") or text(result.get_short_id()),
        title=text(result.title),
        authors=[text(a.name) for a in result.authors if text(a.name)][:MOST_AUTHORS],
        year=result.published.year,
        published=result.published.date(),
        abstract=text(result.summary),
        venue=text(result.journal_ref),
        categories=list(result.categories),
        ids=ids,
        url=result.entry_id,
        pdf=result.pdf_url or "",
    )


def _error_in(root: Any) -> str:
    """What arXiv says where a feed holds an error instead of papers."""
    space = {"a": "http://www.w3.org/2005/Atom"}
    for entry in root.iterfind("a:entry", space):
        if _ERRORS in (entry.findtext("a:id", "", space) or ""):
            return text(entry.findtext("a:summary", "", space)) or "an error"
    return ""


def _told(error: WebError) -> WebError:
    """An error with what arXiv's own feed says of it."""
    if isinstance(error, Refused):
        return _refusal(error.message)
    if error.status != 400 or not error.body:
        return error
    try:
        check_feed(Page("", 400, {}, error.body))
    except Refused as refused:
        return _refusal(refused.message)
    except ValueError:
        pass
    return error


def _refusal(said: str) -> WebError:
    return BadAnswer(f"arXiv refuses the request: {said}.", "Ids look like 2106.09685 or astro-ph/0601001.")
