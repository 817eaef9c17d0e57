"""Papers: find them, follow their citations, find what was built on them."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

from ml_intern.context import ToolContext
from ml_intern.errors import ToolError
from ml_intern.papers.arxiv_api import Arxiv
from ml_intern.papers.graph import Direction, Graph
from ml_intern.papers.hugging_face import HuggingFace, resources_of
from ml_intern.papers.ids import PaperId, parse_id, try_id
from ml_intern.papers.model import DATA_NOTE, Paper, Papers, Resources, Snippets
from ml_intern.papers.neighbours import OpenAlexSource, SemanticScholarSource, Source
from ml_intern.papers.openalex import OpenAlex
from ml_intern.papers.ranking import Rank, Ranking
from ml_intern.papers.searching import Search, Services, Wanted, named, parse_day
from ml_intern.papers.semantic_scholar import SemanticScholar
from ml_intern.papers.traversal import Order, Plan, Traversal
from ml_intern.tooling import tool
from ml_intern.web.errors import Missing, WebError

KEYS = ("semantic-scholar", "OPENALEX_API_KEY@api.openalex.org")
SHOWN = 200
EDGES = 1000
Limit = Annotated[int, Field(ge=1, le=100)]
Ids = str | list[str]


class CitedPaper(BaseModel):
    """A paper of a citation graph. `context` is a sentence that cites, `intents` what for.

    Attributes:
        relation: ``reference``: `via` cites it; ``citation``: it cites `via`.
        via: The paper that it was reached from.
    """

    id: str
    title: str
    year: int | None
    citations: int | None
    depth: int
    relation: str
    via: str
    score: float
    intents: list[str] = Field(default_factory=list)
    context: str = ""


class CitationGraph(BaseModel):
    """A citation graph, best papers first.

    Attributes:
        root: The paper it began with.
        papers: At most 200; the file has all.
        edges: [citing, cited] ids among these papers, at most 1,000.
        size: Papers in the graph, and `citations` between them.
        left_out: Neighbours that max_papers had no room for.
        path: The whole graph as JSON, for read_file; a later call goes on from it.
        notes: What is missing, and why.
    """

    root: Paper
    papers: list[CitedPaper]
    edges: list[tuple[str, str]]
    size: int
    citations: int
    left_out: int
    source: str
    path: str
    notes: list[str]
    note: str = DATA_NOTE


@tool(effect="read", needs=KEYS)
def search_papers(
    ctx: ToolContext,
    query: Annotated[str, Field(min_length=1)],
    limit: Limit = 10,
    since: str | None = None,
    until: str | None = None,
    categories: list[str] | None = None,
    min_citations: Annotated[int | None, Field(ge=0)] = None,
) -> Papers:
    """Find papers by words (or one by its id): Semantic Scholar, Hugging Face, arXiv; OpenAlex as a stand-in.

    Each of `papers` has id, title, authors, year, abstract, tldr, citations, url, code, and more.

    Args:
        query: Words, or an id.
        limit: How many.
        since: 2024, 2024-05 or 2024-05-17.
        until: The same.
        categories: arXiv's, such as cs.CL.
        min_citations: Leave out what is cited less.
    """
    services = services_of(ctx)
    if paper := named(query, services):
        return Papers(papers=[paper], total=1)
    begin, end = parse_day(since), parse_day(until, end=True)
    wanted = Wanted(query, limit, begin, end, tuple(categories or ()), min_citations)
    return Search(wanted, services).run()


@tool(effect="read", needs=KEYS)
def citation_graph(
    ctx: ToolContext,
    id: str,
    direction: Direction = "both",
    depth: Annotated[int, Field(ge=1, le=10)] = 1,
    max_papers: Annotated[int, Field(ge=2, le=5000)] = 100,
    rank: Rank = "balanced",
    order: Order = "best",
    query: str = "",
) -> CitationGraph:
    """Follow a paper's citations: what it cites, who cites it, and theirs; ranked, in few requests.

    Each of `papers` has id, title, year, citations, depth, relation (reference: `via` cites it; citation: it
    cites `via`), via, score, intents, context; `edges` are pairs (citing, cited). Asked again, it goes on
    from the saved graph, also with more depth or papers.

    Args:
        id: arXiv id, DOI or URL.
        direction: references (what it builds on), citations (what came of it) or both.
        depth: Steps from the paper.
        max_papers: Budget of papers.
        rank: What counts.
        order: best first, or breadth (level by level).
        query: Words that papers shall be about, besides the paper's own.
    """
    root = parse_id(id).bare
    path = _graph_path(ctx, root, direction)
    waits: list[str] = []
    graph, source = _begun(services_of(ctx, waits), root, direction, path)
    graph.notes.clear()
    traversal = Traversal(
        graph,
        source,
        Ranking(rank, graph.nodes[graph.root].paper, query),
        Plan(depth, max_papers, order),
        path,
        ctx.progress,
        ctx.cancelled,
    )
    return _shown(traversal.run(), source.name, path, waits)


@tool(effect="read", needs=KEYS)
def recommend_papers(ctx: ToolContext, liked: Ids, disliked: Ids = "", limit: Limit = 10) -> Papers:
    """Papers like some, and unlike others.

    Args:
        liked: Ids.
        disliked: Ids.
        limit: How many.
    """
    wanted, unwanted = _forms(liked), _forms(disliked)
    if not wanted:
        raise ToolError("No paper to begin with.", "Give at least one id in `liked`.")
    most = min(limit + len(wanted) + len(unwanted), 500)
    papers, note = services_of(ctx).semantic_scholar.recommend(wanted, unwanted, most)
    given = {parse_id(id).key for id in (*wanted, *unwanted)}
    fresh = [paper for paper in papers if not given & paper.keys]
    return Papers(papers=fresh[:limit], notes=[note] if note else [])


@tool(effect="read", needs=KEYS)
def search_snippets(ctx: ToolContext, query: str, limit: Limit = 10, papers: Ids = "") -> Snippets:
    """Find passages in the full texts of papers. Each has text, section, title, paper.

    Args:
        query: What the passage says, in words.
        limit: How many.
        papers: Ids of papers to look in; nothing: all.
    """
    filters = {"paperIds": ",".join(_forms(papers)) or None}
    service = services_of(ctx).semantic_scholar
    found, note = service.snippets(query, limit, **filters)
    notes = [note] if note else []
    try:
        service.name_papers(found)
    except WebError as error:
        notes.append(f"Papers are shown by CorpusId, which the other tools take as well: {error.message}")
    return Snippets(snippets=found, notes=notes)


@tool(effect="read")
def trending_papers(ctx: ToolContext, day: str | None = None, limit: Limit = 20) -> Papers:
    """Papers that were talked about on a day, by upvotes on Hugging Face.

    Args:
        day: 2026-05-17; nothing: the newest.
        limit: How many.
    """
    papers, note = HuggingFace(ctx.web).daily(_one_day(day), limit)
    papers.sort(key=lambda paper: -(paper.upvotes or 0))
    return Papers(papers=papers[:limit], notes=[note] if note else [])


@tool(effect="read", needs=KEYS)
def find_paper_resources(ctx: ToolContext, id: str) -> Resources:
    """Models, datasets, Spaces and code that belong to a paper, each with kind, id, url, likes.

    Args:
        id: arXiv id, DOI or URL.
    """
    services = services_of(ctx)
    paper = parse_id(id).bare
    if paper.scheme != "arxiv":
        known = services.semantic_scholar.paper(paper, "externalIds,title,abstract")
        found = try_id(known.ids.get("arxiv", ""))
        if found is None:
            return _in_abstract(known, paper)
        paper = found
    try:
        return services.hugging_face.resources(paper)
    except Missing:
        return _in_abstract(services.arxiv.paper(paper), paper)


def services_of(ctx: ToolContext, waits: list[str] | None = None) -> Services:
    """Who is asked; `waits` takes what is said of waits and retries."""

    def tell(text: str) -> None:
        ctx.progress(text)
        if waits is not None:
            waits.append(text)

    web = ctx.web.for_call(ctx.cancelled, tell)
    return Services(
        SemanticScholar(web, ctx.credential("semantic-scholar")),
        OpenAlex(web, ctx.credential("OPENALEX_API_KEY")),
        Arxiv(web),
        HuggingFace(web),
    )


def _begun(services: Services, root: PaperId, direction: Direction, path: Path) -> tuple[Graph, Source]:
    """The saved graph, or a new one from the first service that knows the paper.

    Raises:
        WebError: Neither knows it, or none answers.
    """
    sources: list[Source] = [
        SemanticScholarSource(services.semantic_scholar),
        OpenAlexSource(services.openalex),
    ]
    saved = Graph.load(path)
    if saved is not None:
        known = saved.nodes[saved.root].paper.ids
        return saved, sources[0] if "s2" in known else sources[1]
    problems: list[WebError] = []
    for source in sources:
        try:
            graph = Graph.of(source.paper(root), direction)
        except WebError as error:
            problems.append(error)
            continue
        return graph, source
    if all(isinstance(problem, Missing) for problem in problems):
        raise Missing(
            f"Neither Semantic Scholar nor OpenAlex knows {root}.",
            "Check the id: search_papers finds papers by words. A paper of this week may not be known yet.",
        )
    raise next(problem for problem in problems if not isinstance(problem, Missing))


def _graph_path(ctx: ToolContext, root: PaperId, direction: Direction) -> Path:
    name = re.sub(r"[^A-Za-z0-9.]+", "-", root.key)[:80]
    return ctx.services.folder / "papers" / f"{name}-{direction}.json"


def _shown(graph: Graph, source: str, path: Path, waits: list[str]) -> CitationGraph:
    ranked = graph.ranked()[:SHOWN]
    names = {key: node.paper.id for key, node in ranked}
    names[graph.root] = graph.nodes[graph.root].paper.id
    among = [edge for edge in graph.edges if edge.citing in names and edge.cited in names]
    said: dict[str, str] = {}
    for edge in graph.edges:
        for end in (edge.citing, edge.cited):
            if edge.contexts:
                said.setdefault(end, edge.contexts[0])
    notes = list(graph.notes)
    if graph.unknown:
        notes.append(f"{graph.unknown} neighbours have no id that anybody could follow.")
    if waits:
        notes.append(f"It was slowed {len(waits)} times, at last: {waits[-1]}.")
    ways = _ways(graph)
    papers = [
        CitedPaper(
            id=names[key],
            title=node.paper.title,
            year=node.paper.year,
            citations=node.paper.citations,
            depth=node.depth,
            relation=ways[key][0],
            via=ways[key][1],
            score=node.score,
            intents=node.intents,
            context=said.get(key, ""),
        )
        for key, node in ranked
    ]
    return CitationGraph(
        root=graph.nodes[graph.root].paper,
        papers=papers,
        edges=[(names[edge.citing], names[edge.cited]) for edge in among[:EDGES]],
        size=len(graph.nodes),
        citations=len(graph.edges),
        left_out=graph.left_out,
        source=source,
        path=str(path),
        notes=notes,
    )


def _ways(graph: Graph) -> dict[str, tuple[str, str]]:
    """How each paper is related to the one nearer to the root that it was reached from, and its id."""
    best: dict[str, tuple[int, float, str, str]] = {}
    for edge in graph.edges:
        for here, there, relation in (
            (edge.cited, edge.citing, "reference"),
            (edge.citing, edge.cited, "citation"),
        ):
            via = graph.nodes[there]
            way = (via.depth, -via.score, relation, via.paper.id)
            best[here] = min(best.get(here, way), way)
    return {key: best[key][2:] if key in best else ("", "") for key in graph.nodes}


def _forms(ids: Ids) -> list[str]:
    """Ids as Semantic Scholar takes them."""
    given = [ids] if isinstance(ids, str) else ids
    parsed = [parse_id(id) for id in given if id.strip()]
    unknown = [str(id) for id in parsed if not id.semantic_scholar]
    if unknown:
        raise ToolError(
            f"Semantic Scholar does not know ids like {unknown[0]}.", "Give an arXiv id or a DOI."
        )
    return [id.semantic_scholar for id in parsed]


def _one_day(text: str | None) -> date | None:
    if text and not re.fullmatch(r"\d{4}-\d{1,2}-\d{1,2}", text.strip()):
        raise ToolError(f"{text!r} is no day.", "Write it like 2026-05-17.")
    return parse_day(text)


def _in_abstract(paper: Paper, id: PaperId) -> Resources:
    """What a paper's own abstract names, where Hugging Face does not know the paper."""
    code = re.search(r"https?://(?:www\.)?github\.com/[\w.-]+/[\w.-]*[\w-]", paper.abstract)
    found = resources_of({"title": paper.title, "githubRepo": code[0] if code else ""}, str(id))
    found.notes.append("Hugging Face does not know this paper: only its abstract was looked at.")
    return found
