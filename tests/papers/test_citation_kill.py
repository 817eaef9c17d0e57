"""A traversal that is killed in the middle of a request goes on from what was saved, and asks for nothing twice."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support.loopback import Answer, Asked, Loopback, Reply
from support.paper_answers import Literature

from ml_intern.papers.graph import Graph
from ml_intern.papers.ids import parse_id
from ml_intern.papers.neighbours import SemanticScholarSource
from ml_intern.papers.ranking import Ranking
from ml_intern.papers.semantic_scholar import SemanticScholar
from ml_intern.papers.traversal import Plan, Traversal
from ml_intern.web.client import Web

Serve = Callable[[Answer], Loopback]
CHILD = """
import sys
from pathlib import Path
from ml_intern.papers.graph import Graph
from ml_intern.papers.ids import parse_id
from ml_intern.papers.neighbours import SemanticScholarSource
from ml_intern.papers.ranking import Ranking
from ml_intern.papers.semantic_scholar import SemanticScholar
from ml_intern.papers.traversal import Plan, Traversal
from ml_intern.web.client import Engine, Web
url, path, cache = sys.argv[1:]
engine = Engine(Path(cache), mirrors={"semantic-scholar": url}, manners=())
source = SemanticScholarSource(SemanticScholar(Web(engine)))
graph = Graph.of(source.paper(parse_id("2401.00000")), "both")
Traversal(graph, source, Ranking("balanced", graph.nodes[graph.root].paper), Plan(9, 300), Path(path)).run()
"""


@pytest.mark.parametrize(
    "nth", [pytest.param(n, marks=() if n == 6 else pytest.mark.thorough) for n in (1, 3, 4, 6, 8)]
)
def test_a_killed_traversal_goes_on(
    nth: int, serve: Serve, make_web: Callable[..., Web], tmp_path: Path
) -> None:
    literature = Literature(120, details=True)
    reached, hold = threading.Event(), threading.Event()

    def answer(asked: Asked) -> Reply:
        if len(server.asked) == nth and not hold.is_set():
            reached.set()
            hold.wait(60)
        return literature.answer(asked)

    server = serve(answer)
    path, cache = tmp_path / "graph.json", tmp_path / "cache"
    child = subprocess.Popen([sys.executable, "-c", CHILD, server.url, str(path), str(cache)])
    try:
        assert reached.wait(60), "the traversal came that far"
    finally:
        child.kill()
        child.wait()
        hold.set()
    source = SemanticScholarSource(
        SemanticScholar(make_web(mirrors={"semantic-scholar": server.url}, manners=(), folder=cache))
    )
    saved = Graph.load(path)
    assert (saved is not None) == (nth > 3)
    graph = saved or Graph.of(source.paper(parse_id("2401.00000")), "both")
    whole = Traversal(
        graph, source, Ranking("balanced", graph.nodes[graph.root].paper), Plan(9, 300), path
    ).run()
    assert {int(node.paper.ids["s2"], 16) for node in whole.nodes.values()} == set(range(120))
    assert len(whole.edges) == sum(map(len, literature.cites.values())) and not whole.notes
    told = [(asked.path, str(asked.query), asked.body) for asked in server.asked]
    assert len(told) - len(set(told)) <= 2, "only what was under way is asked again"
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".new"] == []
