"""Fetches the neighbours of many papers in few requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from ml_intern.papers import semantic_scholar as s2
from ml_intern.papers.graph import Direction
from ml_intern.papers.ids import PaperId
from ml_intern.papers.model import Paper
from ml_intern.papers.openalex import MOST_IDS as OPENALEX_IDS
from ml_intern.papers.openalex import OpenAlex
from ml_intern.papers.semantic_scholar import Link, Links, SemanticScholar
from ml_intern.papers.values import rows
from ml_intern.web.errors import TooLarge, WebError

MOST_PAGES = 3
"""Pages of a thousand that are read of one paper's citations."""
MOST_LINKS = 9_000
"""Links that one batch is asked for: Semantic Scholar gives 9,999 citations and 10 MB at the most."""
LISTED = 1_000
"""Neighbours of one paper that a batch tells."""
AT_ONCE = 4


@dataclass
class Neighbourhood:
    """The neighbours of one paper, as far as they came. `failed` says why they did not."""

    id: str
    references: list[Link] = field(default_factory=list)
    citations: list[Link] = field(default_factory=list)
    unknown: int = 0
    failed: str = ""
    note: str = ""


class Source(Protocol):
    """A service that knows citations."""

    name: str

    def id_of(self, paper: Paper) -> str:
        """The id by which the service is asked for a paper; empty where it has none."""
        ...

    def paper(self, id: PaperId) -> Paper:
        """The paper that a graph begins with."""
        ...

    def closely(self, paper: Paper, direction: Direction) -> Neighbourhood:
        """The neighbours of one paper, with contexts and intents where the service has them."""
        ...

    def widely(self, papers: Sequence[Paper], direction: Direction) -> Iterator[Neighbourhood]:
        """The neighbours of many."""
        ...

    def quoting(self, papers: Sequence[Paper]) -> Iterator[Neighbourhood]:
        """What papers cite, with the sentences that do: a request a paper; nothing where none are known."""
        ...


class SemanticScholarSource:
    """Semantic Scholar: pages with contexts for one paper, batches for many."""

    name = "Semantic Scholar"

    def __init__(self, service: SemanticScholar) -> None:
        self._service = service
        self._details = True

    def id_of(self, paper: Paper) -> str:
        """Its own id, else one that it understands."""
        return _s2_id(paper)

    def paper(self, id: PaperId) -> Paper:
        """The paper that a graph begins with."""
        return self._service.paper(id)

    def closely(self, paper: Paper, direction: Direction) -> Neighbourhood:
        """Pages of references and citations; one that fails leaves the others."""
        found = Neighbourhood(_s2_id(paper))
        ways = [
            *([(found.references, self._service.references)] if direction != "citations" else []),
            *([(found.citations, self._service.citations)] if direction != "references" else []),
        ]
        with ThreadPoolExecutor(len(ways), thread_name_prefix="ml-intern-links") as pool:
            for run in [pool.submit(self._pages, found.id, *way) for way in ways]:
                part = run.result()
                found.unknown += part.unknown
                found.failed, found.note = part.failed or found.failed, part.note or found.note
        return found

    def widely(self, papers: Sequence[Paper], direction: Direction) -> Iterator[Neighbourhood]:
        """Batches of up to 500, several at a time."""
        known = [paper for paper in papers if _s2_id(paper)]
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="ml-intern-batch") as pool:
            for found in pool.map(
                lambda group: list(self._batch(group, direction)), packed(known, direction)
            ):
                yield from found

    def quoting(self, papers: Sequence[Paper]) -> Iterator[Neighbourhood]:
        """The first page of each paper's references, several at a time."""

        def first(paper: Paper) -> Neighbourhood:
            found = Neighbourhood(_s2_id(paper))
            try:
                found.references = self._service.references(found.id).links
            except WebError as error:
                found.failed = error.message
            return found

        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="ml-intern-quotes") as pool:
            yield from pool.map(first, papers)

    def _pages(self, id: str, into: list[Link], ask: Callable[[str, int], Links]) -> Neighbourhood:
        """Pages of one way into a list; what else is to be said of them."""
        found = Neighbourhood(id)
        offset: int | None = 0
        for _ in range(MOST_PAGES):
            if offset is None:
                break
            try:
                page = ask(id, offset)
            except WebError as error:
                found.failed = error.message
                break
            into += page.links
            found.unknown += page.unknown
            found.note = page.note or found.note
            offset = page.next if page.next is None or page.next > offset else None
        return found

    def _batch(self, papers: Sequence[Paper], direction: Direction) -> Iterator[Neighbourhood]:
        """One request; a batch whose answer is too long is asked in halves.

        Contexts and intents are asked for as well. Where the service does not give them with a batch, which
        its documentation leaves open, it refuses the first one, and the others are asked without.
        """
        ids = [_s2_id(paper) for paper in papers]
        details = self._details
        try:
            found, note = self._service.batch(ids, _fields(direction, details))
        except WebError as error:
            if details and error.status == 400 and not _is_size(error):
                self._details = False
                yield from self._batch(papers, direction)
            elif len(papers) > 1 and _is_size(error):
                middle = len(papers) // 2
                yield from self._batch(papers[:middle], direction)
                yield from self._batch(papers[middle:], direction)
            elif _is_size(error):
                yield self.closely(papers[0], direction)
            else:
                yield from (Neighbourhood(id, failed=error.message) for id in ids)
            return
        yield from (_neighbourhood(id, row, note) for id, row in zip(ids, found, strict=False))


class OpenAlexSource:
    """OpenAlex: a hundred papers a request; it knows no contexts."""

    name = "OpenAlex"

    def __init__(self, service: OpenAlex) -> None:
        self._service = service

    def id_of(self, paper: Paper) -> str:
        """Its own id."""
        return paper.ids.get("openalex", "")

    def paper(self, id: PaperId) -> Paper:
        """The paper that a graph begins with."""
        return self._service.paper(id)

    def closely(self, paper: Paper, direction: Direction) -> Neighbourhood:
        """The same as of many."""
        found = list(self.widely([paper], direction))
        return found[0] if found else Neighbourhood(paper.ids.get("openalex", ""))

    def widely(self, papers: Sequence[Paper], direction: Direction) -> Iterator[Neighbourhood]:
        """A request for what the papers cite, some for the cited, one for the most cited that cite them."""
        ids = [id for paper in papers if (id := self.id_of(paper))]
        for group in _groups(ids, OPENALEX_IDS):
            found = {id: Neighbourhood(id) for id in group}
            try:
                if direction != "citations":
                    self._cited(found)
                if direction != "references":
                    self._citing(found)
            except WebError as error:
                for neighbourhood in found.values():
                    neighbourhood.failed = error.message
            yield from found.values()

    def quoting(self, papers: Sequence[Paper]) -> Iterator[Neighbourhood]:
        """Nothing: it has no sentences."""
        yield from ()

    def _cited(self, found: dict[str, Neighbourhood]) -> None:
        cites = {paper.ids.get("openalex", ""): cited for paper, cited in self._service.works(list(found))}
        wanted = list(dict.fromkeys(id for cited in cites.values() for id in cited))
        papers: dict[str, Paper] = {}
        for group in _groups(wanted, OPENALEX_IDS):
            papers.update((paper.ids.get("openalex", ""), paper) for paper, _ in self._service.works(group))
        for id, cited in cites.items():
            if id in found:
                found[id].references = [Link(papers[other]) for other in cited if other in papers]
                found[id].unknown += sum(other not in papers for other in cited)

    def _citing(self, found: dict[str, Neighbourhood]) -> None:
        for paper, cited in self._service.citing(list(found)):
            for id in set(cited) & set(found):
                found[id].citations.append(Link(paper))


def packed(papers: Iterable[Paper], direction: Direction) -> Iterator[list[Paper]]:
    """Groups whose answers keep the service's limits, by what is known of their size."""
    group: list[Paper] = []
    links = 0
    for paper in papers:
        expected = _expected(paper, direction)
        if group and (len(group) == s2.MOST_IDS or links + expected > MOST_LINKS):
            yield group
            group, links = [], 0
        group.append(paper)
        links += expected
    if group:
        yield group


def _expected(paper: Paper, direction: Direction) -> int:
    cites = (
        0 if direction == "citations" else min(LISTED, 40 if paper.references is None else paper.references)
    )
    cited = (
        0 if direction == "references" else min(LISTED, 20 if paper.citations is None else paper.citations)
    )
    return max(1, cites + cited)


def _fields(direction: Direction, details: bool) -> str:
    ways = ("references", "citations") if direction == "both" else (direction,)
    names = (*s2.LINKED, *s2.EDGE.split(",")) if details else s2.LINKED
    return ",".join([s2.BRIEF, *(f"{way}.{name}" for way in ways for name in names)])


def _neighbourhood(id: str, row: dict[str, Any] | None, note: str) -> Neighbourhood:
    if row is None:
        return Neighbourhood(id, failed="Semantic Scholar does not know this paper any more")
    found = Neighbourhood(id, note=note)
    for way, into in (("references", found.references), ("citations", found.citations)):
        given = list(rows(row.get(way)))
        into += [link for link in (s2.link_of(row, s2.paper_of(row)) for row in given) if link]
        found.unknown += len(given) - len(into)
    return found


def _is_size(error: WebError) -> bool:
    """Whether less at a time would have been answered."""
    said = error.message.lower()
    return isinstance(error, TooLarge) or (
        error.status in (400, 413)
        and any(word in said for word in ("exceed", "too large", "maximum", "limit"))
    )


def _s2_id(paper: Paper) -> str:
    """The id by which Semantic Scholar is asked; empty where there is none."""
    if paper.ids.get("s2"):
        return paper.ids["s2"]
    for scheme in ("arxiv", "doi", "corpus", "acl", "pmid"):
        if value := paper.ids.get(scheme):
            return PaperId(scheme, value).semantic_scholar
    return ""


def _groups(ids: Sequence[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(ids), size):
        yield list(ids[start : start + size])
