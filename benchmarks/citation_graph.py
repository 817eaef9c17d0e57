"""A citation graph of 500 papers: requests and seconds, against one request a paper in sequence.

A server on loopback answers as Semantic Scholar does, each answer 100 ms late. Both sides go level by level
and fetch through the same layer with an empty cache, and pauses between requests are off on both: what is
compared is how many requests are made, and whether they wait for each other. Ours is measured level by level
and best first (the tool's own order); both fetch the sentences of the best connected papers as well.

    python benchmarks/citation_graph.py [--papers 500] [--delay-ms 100]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.loopback import Loopback
from support.paper_answers import Literature

from ml_intern.papers.graph import Graph
from ml_intern.papers.ids import parse_id
from ml_intern.papers.neighbours import SemanticScholarSource
from ml_intern.papers.ranking import Ranking
from ml_intern.papers.semantic_scholar import SemanticScholar
from ml_intern.papers.traversal import Order, Plan, Traversal
from ml_intern.web.client import Engine, Web


def ours(web: Web, papers: int, order: Order) -> int:
    """Papers that a traversal brings."""
    source = SemanticScholarSource(SemanticScholar(web))
    graph = Graph.of(source.paper(parse_id(Literature.arxiv(0))), "both")
    ranking = Ranking("balanced", graph.nodes[graph.root].paper)
    return len(Traversal(graph, source, ranking, Plan(depth=10, budget=papers, order=order)).run().nodes)


def breadth(web: Web, papers: int) -> int:
    """Level by level."""
    return ours(web, papers, "breadth")


def best(web: Web, papers: int) -> int:
    """Best first."""
    return ours(web, papers, "best")


def one_by_one(web: Web, papers: int) -> int:
    """Papers that a plain breadth-first search brings, one request a paper."""
    service = SemanticScholar(web)
    seen, queue = {Literature.sha(0)}, [Literature.sha(0)]
    fields = "title,year,citationCount,references.paperId,citations.paperId"
    done = 0
    while queue and done < papers:
        [row], _ = service.batch([queue.pop(0)], fields)
        done += 1
        for linked in (*(row or {}).get("references", ()), *(row or {}).get("citations", ())):
            if linked["paperId"] not in seen:
                seen.add(linked["paperId"])
                queue.append(linked["paperId"])
    return done


def measure(papers: int, delay_ms: float) -> dict[str, object]:
    """Each way on a server and a cache of its own; the ratios are those of the slower order."""
    found: dict[str, tuple[int, int, float]] = {}
    for way in (breadth, best, one_by_one):
        literature = Literature(papers * 2, cites=8, delay_s=delay_ms / 1000)
        with Loopback(literature.answer) as server, tempfile.TemporaryDirectory() as folder:
            engine = Engine(Path(folder), mirrors={"semantic-scholar": server.url}, manners=())
            begun = time.monotonic()
            count = way(Web(engine), papers)
            found[way.__name__] = (count, len(server.asked), time.monotonic() - begun)
            engine.close()
    _, more, slower = found["one_by_one"]
    told: dict[str, object] = {}
    for name, (count, requests, seconds) in found.items():
        told |= {f"papers_{name}": count, f"requests_{name}": requests, f"seconds_{name}": round(seconds, 2)}
    told["times_fewer_requests"] = round(more / max(found[name][1] for name in ("breadth", "best")), 1)
    told["times_faster"] = round(slower / max(found[name][2] for name in ("breadth", "best")), 1)
    return told


def main() -> int:
    """Print the figures; 1 where one of the two ratios is below ten."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--papers", type=int, default=500)
    parser.add_argument("--delay-ms", type=float, default=100.0)
    given = parser.parse_args()
    found = measure(given.papers, given.delay_ms)
    print(json.dumps(found, indent=1))
    return int(min(float(str(found["times_fewer_requests"])), float(str(found["times_faster"]))) < 10)


if __name__ == "__main__":
    sys.exit(main())
