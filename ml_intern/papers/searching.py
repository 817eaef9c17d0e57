"""Searches several services at once and makes one list of what they found."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date

from ml_intern.errors import ToolError
from ml_intern.papers.arxiv_api import Arxiv
from ml_intern.papers.graph import Graph
from ml_intern.papers.hugging_face import HuggingFace
from ml_intern.papers.ids import try_id
from ml_intern.papers.model import Paper, Papers
from ml_intern.papers.openalex import OpenAlex
from ml_intern.papers.semantic_scholar import MOST_IDS, SemanticScholar, paper_of
from ml_intern.web.errors import Throttled, Unreachable, WebError

FUSION = 60
"""Constant of reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009)."""

Found = tuple[list[Paper], str]


@dataclass(frozen=True)
class Wanted:
    """What is searched for. Dates are inclusive; `categories` are arXiv's."""

    query: str
    limit: int = 10
    since: date | None = None
    until: date | None = None
    categories: Sequence[str] = ()
    min_citations: int | None = None

    def fits(self, paper: Paper) -> bool:
        """Whether a paper may be shown, as far as it is known."""
        begin, end = _span(paper)
        too_old = self.since is not None and (end is None or end < self.since)
        too_new = self.until is not None and (begin is None or begin > self.until)
        cited = self.min_citations is None or (paper.citations or 0) >= self.min_citations
        return cited and not too_old and not too_new


@dataclass
class Services:
    """Who is asked."""

    semantic_scholar: SemanticScholar
    openalex: OpenAlex
    arxiv: Arxiv
    hugging_face: HuggingFace


@dataclass
class Search:
    """One search: the lists of the services, and what went wrong with some of them."""

    wanted: Wanted
    services: Services
    notes: list[str] = field(default_factory=list)
    total: int | None = None
    failed: set[str] = field(default_factory=set)

    def run(self) -> Papers:
        """The papers, best first.

        Raises:
            WebError: No service answered.
        """
        lists = self._lists()
        if not lists:
            raise WebError(" ".join(self.notes), "Try again later.")
        papers = [paper for paper in self._counted(fused(lists)) if self.wanted.fits(paper)]
        return Papers(papers=papers[: self.wanted.limit], total=self.total, notes=self.notes)

    def _lists(self) -> list[list[Paper]]:
        """Each service's own order. Categories are known to arXiv alone."""
        if self.wanted.categories:
            return self._asked([("arXiv", self._arxiv)])
        found = self._asked(
            [("Semantic Scholar", self._semantic_scholar), ("Hugging Face", self._hugging_face)]
        )
        if self.failed and not any(found):
            found += self._asked([("OpenAlex", self._openalex)])
        if sum(map(len, found)) < self.wanted.limit:
            found += self._asked([("arXiv", self._arxiv)])
        return found

    def _asked(self, services: Sequence[tuple[str, Callable[[], Found]]]) -> list[list[Paper]]:
        """The lists that came; one that did not is noted."""
        with ThreadPoolExecutor(len(services), thread_name_prefix="ml-intern-search") as pool:
            runs = [(name, pool.submit(ask)) for name, ask in services]
        found: list[list[Paper]] = []
        for name, run in runs:
            try:
                papers, note = run.result()
            except WebError as error:
                self.failed.add(name)
                self.notes.append(f"{name} gave no answer: {error.message}")
                continue
            found.append(papers)
            self.notes += [note] if note else []
        return found

    def _semantic_scholar(self) -> Found:
        wanted = self.wanted
        filters: dict[str, object] = {"minCitationCount": wanted.min_citations}
        if wanted.since or wanted.until:
            filters["publicationDateOrYear"] = f"{wanted.since or ''}:{wanted.until or ''}"
        papers, self.total, note = self.services.semantic_scholar.search(
            wanted.query, wanted.limit, **filters
        )
        return papers, note

    def _openalex(self) -> Found:
        wanted = self.wanted
        filters = [
            *([f"from_publication_date:{wanted.since}"] if wanted.since else []),
            *([f"to_publication_date:{wanted.until}"] if wanted.until else []),
            *([f"cited_by_count:>{wanted.min_citations - 1}"] if wanted.min_citations else []),
        ]
        papers, self.total, note = self.services.openalex.search(wanted.query, wanted.limit, filters)
        return papers, note

    def _hugging_face(self) -> Found:
        return self.services.hugging_face.search(self.wanted.query, self.wanted.limit)

    def _arxiv(self) -> Found:
        wanted = self.wanted
        # Citations are counted afterwards, so more are asked for where few will be left.
        limit = wanted.limit if not wanted.min_citations else min(100, wanted.limit * 5)
        return self.services.arxiv.search(wanted.query, limit, wanted.since, wanted.until, wanted.categories)

    def _counted(self, papers: list[Paper]) -> list[Paper]:
        """With citations from one batch, for those that came from elsewhere, where they are needed."""
        lacking = [p for p in papers if p.citations is None and p.ids.get("arxiv")][:MOST_IDS]
        if not lacking or "Semantic Scholar" in self.failed:
            return papers
        try:
            ids = [f"ARXIV:{paper.ids['arxiv']}" for paper in lacking]
            rows, _ = self.services.semantic_scholar.batch(ids)
        except WebError as error:
            self.notes.append(f"Citations are not known: {error.message}")
            return papers
        known = {p.id: more for p, row in zip(lacking, rows, strict=False) if (more := paper_of(row))}
        return [paper.filled(known[paper.id]) if paper.id in known else paper for paper in papers]


def fused(lists: Iterable[Sequence[Paper]]) -> list[Paper]:
    """One list of several: a paper that several rank high comes first, and comes once."""
    merged = Graph(root="", direction="both")
    scores: dict[str, float] = {}
    for papers in lists:
        for rank, paper in enumerate(papers):
            key = merged.add(paper, 0)
            scores[key] = scores.get(key, 0.0) + 1 / (FUSION + rank)
    return [merged.nodes[key].paper for key in sorted(scores, key=lambda key: -scores[key])]


def parse_day(text: str | None, end: bool = False) -> date | None:
    """``2024``, ``2024-05``, ``2024-05-17``; of a year or a month the first day, or the last one.

    Raises:
        ToolError: It is no date.
    """
    if not text:
        return None
    found = re.fullmatch(r"(\d{4})(?:-(\d{1,2}))?(?:-(\d{1,2}))?", text.strip())
    try:
        if not found:
            raise ValueError
        year, month, day = (int(part) if part else 0 for part in found.groups())
        if day:
            return date(year, month, day)
        if not end:
            return date(year, month or 1, 1)
        month = month or 12
        following = date(year + month // 12, month % 12 + 1, 1)
        return date.fromordinal(following.toordinal() - 1)
    except ValueError:
        raise ToolError(f"{text!r} is no date.", "Write 2024, 2024-05 or 2024-05-17.") from None


def named(query: str, services: Services) -> Paper | None:
    """The paper that a query names by its id; None where it is words."""
    id = try_id(query)
    if id is None:
        return None
    if id.scheme == "openalex":
        return services.openalex.paper(id)
    if id.scheme != "arxiv":
        return services.semantic_scholar.paper(id)
    try:
        return services.arxiv.paper(id)
    except (Throttled, Unreachable):
        return services.semantic_scholar.paper(id)


def _span(paper: Paper) -> tuple[date | None, date | None]:
    """From when to when a paper may have been published."""
    if paper.published:
        return paper.published, paper.published
    if paper.year:
        return date(paper.year, 1, 1), date(paper.year, 12, 31)
    return None, None
