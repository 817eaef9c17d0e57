"""The picture of a citation graph: well formed whatever the titles say, and bounded."""

from __future__ import annotations

from xml.etree import ElementTree

from ml_intern.papers.drawing import graph_svg
from ml_intern.papers.graph import Edge, Graph
from ml_intern.papers.model import Paper

SVG = "{http://www.w3.org/2000/svg}"


def _graph(count: int) -> Graph:
    evil = 'A <script>alert("1")</script> & </svg> title that is rather long'
    graph = Graph.of(Paper(id="root", title=evil, year=2020, citations=50), "both")
    for number in range(count):
        year = None if number % 5 == 0 else 2010 + number % 15
        key = graph.add(Paper(id=str(number), title=f"{evil} {number}", year=year, citations=number), 1)
        graph.nodes[key].score = number / count
        graph.link(Edge(citing=key, cited="root"))
    return graph


def test_papers_and_citations_are_drawn() -> None:
    root = ElementTree.fromstring(graph_svg(_graph(10)))
    assert len(root.findall(f"{SVG}circle")) == 11 and len(root.findall(f"{SVG}line")) == 10
    assert root.find(f"{SVG}script") is None
    for circle in root.findall(f"{SVG}circle"):
        assert 0 <= float(circle.get("cx", "-1")) <= 720 and 0 <= float(circle.get("cy", "-1")) <= 420
    assert "<script" not in graph_svg(_graph(10))


def test_of_many_papers_the_best_are_drawn() -> None:
    root = ElementTree.fromstring(graph_svg(_graph(500), most=40))
    assert len(root.findall(f"{SVG}circle")) == 40
    assert "title that is rather long 499 " in "".join(root.itertext())


def test_a_paper_alone_without_a_year_is_drawn() -> None:
    graph = Graph.of(Paper(id="x"), "both")
    assert len(ElementTree.fromstring(graph_svg(graph)).findall(f"{SVG}circle")) == 1
