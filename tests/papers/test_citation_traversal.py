"""Citations to any depth within a budget: few requests, nothing twice, nothing lost."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.loopback import Answer, Asked, Loopback, Reply
from support.paper_answers import Literature

from ml_intern.papers.graph import Edge, Graph
from ml_intern.papers.ids import parse_id
from ml_intern.papers.model import Paper
from ml_intern.papers.neighbours import MOST_LINKS, OpenAlexSource, SemanticScholarSource, packed
from ml_intern.papers.openalex import OpenAlex
from ml_intern.papers.ranking import Ranking
from ml_intern.papers.semantic_scholar import SemanticScholar
from ml_intern.papers.traversal import PER_QUOTE, Plan, Traversal
from ml_intern.web.client import Web

Serve = Callable[[Answer], Loopback]
Make = Callable[..., Web]
ROOT = parse_id(Literature.arxiv(0))


def _source(make_web: Make, server: Loopback, **options: Any) -> SemanticScholarSource:
    return SemanticScholarSource(
        SemanticScholar(make_web(mirrors={"semantic-scholar": server.url}, manners=(), **options))
    )


def _grow(source: Any, plan: Plan, path: Path | None = None, direction: Any = "both") -> Graph:
    graph = (path and Graph.load(path)) or Graph.of(source.paper(ROOT), direction)
    return Traversal(graph, source, Ranking("balanced", graph.nodes[graph.root].paper), plan, path).run()


def _numbers(graph: Graph) -> set[int]:
    return {int(node.paper.ids["s2"], 16) for node in graph.nodes.values()}


def test_the_whole_literature_is_found_and_every_citation_once(serve: Serve, make_web: Make) -> None:
    literature = Literature(80)
    server = serve(literature.answer)
    graph = _grow(_source(make_web, server), Plan(depth=20, budget=500))
    assert _numbers(graph) == set(range(80))
    expected = {
        (Literature.arxiv(a), Literature.arxiv(b)) for a, cited in literature.cites.items() for b in cited
    }
    assert sorted((edge.citing, edge.cited) for edge in graph.edges) == sorted(expected)
    assert len(server.asked) < 15 + 500 // PER_QUOTE + 1
    assert max(len(asked.json["ids"]) for asked in server.asked if asked.body) > 10


@pytest.mark.parametrize("order", ["best", "breadth"])
@pytest.mark.parametrize("budget", [2, 10, pytest.param(37, marks=pytest.mark.thorough)])
def test_the_budget_is_kept_and_spent(budget: int, order: Any, serve: Serve, make_web: Make) -> None:
    server = serve(Literature(100).answer)
    graph = _grow(_source(make_web, server), Plan(depth=9, budget=budget, order=order))
    assert len(graph.nodes) == budget and graph.left_out > 0


def test_the_depth_is_kept(serve: Serve, make_web: Make) -> None:
    literature = Literature(100)
    server = serve(literature.answer)
    for depth in (1, 2):
        graph = _grow(_source(make_web, server), Plan(depth, budget=1000))
        near = {0}
        for _ in range(depth):
            near |= {n for m in near for n in (*literature.cites[m], *literature.cited_by[m])}
        assert _numbers(graph) == near
        assert max(node.depth for node in graph.nodes.values()) == depth


def test_best_first_keeps_room_for_depth_and_breadth_does_not(serve: Serve, make_web: Make) -> None:
    source = _source(make_web, serve(Literature(200, cites=10).answer))
    depths = {
        order: max(n.depth for n in _grow(source, Plan(3, budget=12, order=order)).nodes.values())
        for order in ("best", "breadth")
    }
    assert depths["best"] > depths["breadth"] == 1


@pytest.mark.parametrize("direction", ["references", "citations"])
def test_one_direction_is_followed_alone(direction: Any, serve: Serve, make_web: Make) -> None:
    literature = Literature(100)
    graph = _grow(_source(make_web, serve(literature.answer)), Plan(30, budget=1000), direction=direction)
    ways = literature.cites if direction == "references" else literature.cited_by
    reached, edge = {0}, {0}
    while edge:
        edge = {n for m in edge for n in ways[m]} - reached
        reached |= edge
    assert _numbers(graph) == reached


def test_contexts_and_intents_of_the_root_are_there(serve: Serve, make_web: Make) -> None:
    graph = _grow(_source(make_web, serve(Literature(60).answer)), Plan(1, budget=100))
    for edge in graph.edges:
        if graph.root in (edge.citing, edge.cited):
            assert edge.contexts and edge.intents == ["methodology"]
    assert any(node.influential for node in graph.nodes.values())


def _bare(graph: Graph) -> list[Edge]:
    return [edge for edge in graph.edges if not edge.contexts]


def test_batches_that_tell_contexts_bring_them_at_every_level(serve: Serve, make_web: Make) -> None:
    server = serve(Literature(60, details=True).answer)
    graph = _grow(_source(make_web, server), Plan(9, budget=100))
    assert len(graph.nodes) == 60 and not _bare(graph)
    assert all(edge.intents == ["methodology"] for edge in graph.edges)
    assert len(server.asked) < 10


def test_where_batches_tell_none_the_best_connected_are_asked(serve: Serve, make_web: Make) -> None:
    server = serve(Literature(60).answer)
    small = _grow(_source(make_web, server), Plan(9, budget=61))
    assert _bare(small) and sum(node.quoted for node in small.nodes.values()) == 61 // PER_QUOTE
    refused = [asked for asked in server.asked if ".contexts" in asked.query["fields"]]
    assert len(refused) == 1, "the refusal is met once, not with each batch"
    whole = _grow(_source(make_web, server), Plan(9, budget=1000))
    assert len(_bare(whole)) < len(_bare(small)) and whole.notes == small.notes == []
    for edge in whole.edges:
        if whole.nodes[edge.citing].quoted:
            assert edge.contexts and edge.intents


def test_sentences_that_fail_leave_the_graph(serve: Serve, make_web: Make, tmp_path: Path) -> None:
    literature = Literature(60)

    def answer(asked: Asked) -> Reply:
        is_quote = asked.path.endswith("/references") and Literature.sha(0) not in asked.path
        return Reply(status=500) if broken and is_quote else literature.answer(asked)

    broken = True
    source, path = _source(make_web, serve(answer), tries=0), tmp_path / "graph.json"
    graph = _grow(source, Plan(9, budget=200), path)
    assert _numbers(graph) == set(range(60)) and _bare(graph)
    *_, note = graph.notes
    assert note.startswith("The sentences that cite in ") and "status 500" in note
    broken = False
    again = _grow(source, Plan(9, budget=200), path)
    assert len(_bare(again)) < len(_bare(graph)), "what failed is asked again the next time"


def test_a_paper_that_is_known_by_several_ids_comes_once() -> None:
    graph = Graph.of(Paper(id="2401.1", ids={"s2": "a"}), "both")
    preprint = Paper(id="2401.00002", title="Scaling Laws for Small Language Models", year=2023,
                     ids={"s2": "b", "arxiv": "2401.00002"})  # fmt: skip
    journal = Paper(id="10.1/x", title="Scaling laws for small language-models.", year=2024,
                    citations=5, ids={"s2": "c", "doi": "10.1/x"})  # fmt: skip
    again = Paper(id="10.1/X", title="Another title", ids={"doi": "10.1/X"})
    keys = {graph.add(paper, 1) for paper in (preprint, journal, again)}
    assert len(keys) == 1 and len(graph.nodes) == 2
    merged = graph.nodes[keys.pop()].paper
    assert merged.citations == 5 and merged.ids["doi"] == "10.1/x" and merged.ids["arxiv"] == "2401.00002"
    other = Paper(id="x", title="Scaling laws for small language models", year=2010, ids={"s2": "d"})
    assert graph.add(other, 1) == "x", "the same title ten years before is another paper"


def test_papers_that_turn_out_to_be_one_are_merged() -> None:
    graph = Graph.of(Paper(id="root", ids={"s2": "r"}), "both")
    by_s2 = graph.add(Paper(id="s", ids={"s2": "s"}, citations=4), 2)
    by_doi = graph.add(Paper(id="10.1000/d", ids={"doi": "10.1000/d"}, title="T"), 1)
    graph.link(Edge(citing="root", cited=by_s2))
    graph.link(Edge(citing="root", cited=by_doi, contexts=["As in [1]."]))
    graph.link(Edge(citing=by_s2, cited=by_doi))
    graph.add(Paper(id="10.1000/D", ids={"s2": "s", "doi": "10.1000/D"}), 3)
    assert len(graph.nodes) == 2
    [edge] = graph.edges
    assert edge.citing == "root" and edge.contexts == ["As in [1]."]
    other = graph.nodes[edge.cited]
    assert (other.paper.citations, other.paper.title, other.depth, other.links) == (4, "T", 1, 1)
    graph.link(Edge(citing=by_doi, cited="root"))
    assert len(graph.edges) == 2 and graph.key_of(by_doi) == graph.key_of(by_s2)


def test_a_batch_that_fails_leaves_what_was_found(serve: Serve, make_web: Make) -> None:
    literature = Literature(80)
    literature.faults["/batch"] = [Reply(status=500)] * 2
    server = serve(literature.answer)
    graph = _grow(_source(make_web, server, tries=1), Plan(2, budget=200))
    assert len(graph.nodes) > 5
    [note] = graph.notes
    assert "The neighbours of " in note and " more are missing: " in note and "status 500" in note


@pytest.mark.parametrize("way", ["references", "citations"])
def test_a_page_that_fails_leaves_the_other(way: str, serve: Serve, make_web: Make) -> None:
    literature = Literature(80)
    literature.faults[f"/{way}"] = [Reply(b"{broken")] * 9
    graph = _grow(_source(make_web, serve(literature.answer), tries=3), Plan(1, budget=200))
    ways = literature.cited_by if way == "references" else literature.cites
    assert _numbers(graph) == {0, *ways[0]}
    assert "cannot be read" in graph.notes[0] and not graph.nodes[graph.root].expanded


@pytest.mark.thorough
def test_a_rate_limit_slows_and_is_told(serve: Serve, make_web: Make) -> None:
    literature = Literature(80)
    literature.faults["/batch"] = [Reply(status=429, headers={"Retry-After": "1"})] * 2
    told: list[str] = []
    graph = _grow(_source(make_web, serve(literature.answer), tell=told.append), Plan(20, budget=500))
    assert _numbers(graph) == set(range(80)) and graph.notes == []
    assert any("status 429; trying again in 1.0 s" in line for line in told)


@pytest.mark.thorough
def test_an_answer_that_is_too_long_is_asked_for_in_halves(serve: Serve, make_web: Make) -> None:
    literature = Literature(120, cites=8)

    def answer(asked: Asked) -> Reply:
        if asked.path.endswith("/batch") and len(asked.json["ids"]) > 7:
            return Reply({"error": "Response would exceed maximum size."}, status=400)
        return literature.answer(asked)

    graph = _grow(_source(make_web, serve(answer)), Plan(20, budget=500))
    assert _numbers(graph) == set(range(120)) and graph.notes == []


def test_pages_of_many_citations_are_followed(serve: Serve, make_web: Make) -> None:
    literature = Literature(2600, cites=1)
    literature.cites = {n: [0] for n in range(1, 2600)} | {0: []}
    server = serve(literature.answer)
    graph = _grow(_source(make_web, server), Plan(1, budget=5000))
    assert len(graph.nodes) == 2600
    assert server.paths().count(f"/graph/v1/paper/{Literature.sha(0)}/citations") == 3


def test_a_stopped_traversal_goes_on_from_its_file(serve: Serve, make_web: Make, tmp_path: Path) -> None:
    literature = Literature(90)
    server = serve(literature.answer)
    path = tmp_path / "graph.json"
    source = _source(make_web, server)
    graph = Graph.of(source.paper(ROOT), "both")
    ranking = Ranking("balanced", graph.nodes[graph.root].paper)
    waves = itertools.count()
    Traversal(graph, source, ranking, Plan(20, 500), path, stop=lambda: next(waves) >= 1).run()
    saved = Graph.load(path)
    assert saved is not None and 1 < len(saved.nodes) < 90
    assert sum(node.expanded for node in saved.nodes.values()) == 1
    whole = _grow(source, Plan(20, 500), path)
    assert _numbers(whole) == set(range(90))
    count = len(server.asked)
    assert _numbers(_grow(source, Plan(20, 500), path)) == set(range(90))
    assert len(server.asked) == count, "a finished graph asks for nothing"


@pytest.mark.thorough
def test_what_failed_is_asked_again_the_next_time(serve: Serve, make_web: Make, tmp_path: Path) -> None:
    literature = Literature(80)
    literature.faults["/batch"] = [Reply(status=500)] * 9
    source, path = _source(make_web, serve(literature.answer), tries=0), tmp_path / "graph.json"
    assert len(_grow(source, Plan(20, 500), path).nodes) < 80
    literature.faults.clear()
    assert _numbers(_grow(source, Plan(20, 500), path)) == set(range(80))


@pytest.mark.thorough
def test_a_larger_budget_takes_in_what_was_left_out(serve: Serve, make_web: Make, tmp_path: Path) -> None:
    source, path = _source(make_web, serve(Literature(80).answer)), tmp_path / "graph.json"
    assert len(_grow(source, Plan(20, 10), path).nodes) == 10
    assert _numbers(_grow(source, Plan(20, 500), path)) == set(range(80))


@pytest.mark.parametrize("written", ["", "{", "[]", '{"root": "x", "direction": "both"}'])
def test_a_file_that_is_no_graph_is_none(written: str, tmp_path: Path) -> None:
    (tmp_path / "graph.json").write_text(written)
    assert Graph.load(tmp_path / "graph.json") is None


def test_references_without_an_id_are_counted(serve: Serve, make_web: Make) -> None:
    literature = Literature(30)

    def answer(asked: Asked) -> Reply:
        if asked.path.endswith("/references"):
            return Reply({"data": [{"citedPaper": {"paperId": None, "title": "An old book"}}, {}, None]})
        return literature.answer(asked)

    assert _grow(_source(make_web, serve(answer)), Plan(1, 100)).unknown == 2


def test_groups_keep_the_limits_of_a_batch() -> None:
    small = [Paper(id=str(n), citations=1, references=1) for n in range(1200)]
    assert [len(group) for group in packed(small, "both")] == [500, 500, 200]
    large = [Paper(id=str(n), citations=5000, references=100) for n in range(40)]
    groups = list(packed(large, "both"))
    assert sum(map(len, groups)) == 40 and max(map(len, groups)) * 1100 <= MOST_LINKS
    assert [len(group) for group in packed(large, "references")] == [40]


def test_ranks_put_first_what_they_are_named_for() -> None:
    root = Paper(id="root", title="Low-rank adaptation of language models", year=2021)
    graph = Graph.of(root, "both")
    papers = {
        "influence": Paper(
            id="influence", title="Something else", year=2010, citations=9000, influential=900
        ),
        "recency": Paper(id="recency", title="Something else again", year=2026),
        "similarity": Paper(id="similarity", title="Low-rank adaptation for language models", year=2012),
        "intent": Paper(id="intent", title="Another thing", year=2012),
    }
    for key, paper in papers.items():
        graph.add(paper, 1)
        intents = ["methodology"] if key == "intent" else ["background"]
        graph.link(Edge(citing="root", cited=key, intents=intents, influential=key == "intent"))
    for rank in ("influence", "recency", "similarity", "intent"):
        Ranking(rank, root).apply(graph)  # type: ignore[arg-type]
        assert graph.ranked()[0][0] == rank
        assert all(0 <= node.score <= 1 for node in graph.nodes.values())


def test_openalex_stands_in(serve: Serve, make_web: Make) -> None:
    literature = Literature(60)

    def work(n: int) -> dict[str, Any]:
        return {
            "id": f"https://openalex.org/W{n + 1000}",
            "display_name": f"Paper number {n} of the second source",
            "publication_year": 2020,
            "doi": f"https://doi.org/10.48550/arxiv.{Literature.arxiv(n)}",
            "referenced_works": [f"https://openalex.org/W{m + 1000}" for m in literature.cites[n]],
        }

    def answer(asked: Asked) -> Any:
        if asked.path != "/works":
            return work(0)
        kind, _, ids = asked.query["filter"].partition(":")
        wanted = [int(id[1:]) - 1000 for id in ids.split("|")]
        assert len(wanted) <= 100
        if kind == "openalex":
            return {"results": [work(n) for n in wanted]}
        return {"results": [work(n) for n in {m for w in wanted for m in literature.cited_by[w]}]}

    server = serve(answer)
    source = OpenAlexSource(OpenAlex(make_web(mirrors={"openalex": server.url}, manners=())))
    graph = _grow(source, Plan(20, 500))
    assert {node.paper.ids["arxiv"] for node in graph.nodes.values()} == {
        Literature.arxiv(n) for n in range(60)
    }
    assert len(graph.edges) == sum(map(len, literature.cites.values()))


def test_the_file_is_plain_json(serve: Serve, make_web: Make, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "graph.json"
    _grow(_source(make_web, serve(Literature(30).answer)), Plan(1, 100), path)
    found = json.loads(path.read_text())
    assert set(found) >= {"root", "direction", "nodes", "edges"}
    assert [p.name for p in path.parent.iterdir()] == ["graph.json"]
