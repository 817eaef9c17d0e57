"""How much a paper of a citation graph matters: a weighted sum of five plain measures, each in 0 to 1."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from datetime import date
from functools import lru_cache
from typing import Literal

from ml_intern.papers.graph import Graph, Node
from ml_intern.papers.model import Paper
from ml_intern.papers.semantic_scholar import Link

Rank = Literal["balanced", "influence", "recency", "similarity", "intent"]

WEIGHTS: dict[Rank, dict[str, float]] = {
    "balanced": {"influence": 0.30, "recency": 0.15, "similarity": 0.30, "intent": 0.15, "links": 0.10},
    "influence": {"influence": 0.80, "recency": 0.00, "similarity": 0.10, "intent": 0.05, "links": 0.05},
    "recency": {"influence": 0.05, "recency": 0.80, "similarity": 0.10, "intent": 0.00, "links": 0.05},
    "similarity": {"influence": 0.05, "recency": 0.05, "similarity": 0.80, "intent": 0.05, "links": 0.05},
    "intent": {"influence": 0.10, "recency": 0.05, "similarity": 0.10, "intent": 0.65, "links": 0.10},
}
"""Ours: chosen by reason, not by measurement."""
INTENTS = {"methodology": 1.0, "result": 0.8, "background": 0.2}
MANY = 10_000
"""Citations that count as all there can be; the scale is logarithmic."""
YEARS = 4.0
"""After so many years a paper's recency has fallen to 1/e."""
_STOP = frozenset({
    "a", "an", "and", "are", "as", "at", "by", "can", "do", "for", "from", "in", "is", "of", "on",
    "or", "the", "to", "towards", "via", "with", "using",
})  # fmt: skip


class Ranking:
    """Scores papers against a graph's root.

    Args:
        rank: Which weights.
        root: What papers are compared with.
        words: What they are compared with besides.
        today: For recency.
    """

    def __init__(self, rank: Rank, root: Paper, words: str = "", today: date | None = None) -> None:
        self._weights = WEIGHTS[rank]
        self._wanted = _tokens(" ".join((words, words, root.title, root.abstract, root.tldr)))
        self._length = _length(self._wanted.values())
        self._year = (today or date.today()).year

    def score(self, paper: Paper, cited: Node | Link | None = None, links: int = 0) -> float:
        """From 0 to 1. `cited` tells what for, `links` how many papers of the graph it is linked with."""
        measures = {
            "influence": _influence(paper),
            "recency": math.exp(-max(0, self._year - paper.year) / YEARS) if paper.year else 0.0,
            "similarity": self._similarity(paper),
            "intent": _intent(cited) if cited else 0.0,
            "links": min(1.0, math.log1p(links) / math.log1p(20)),
        }
        return round(sum(self._weights[name] * value for name, value in measures.items()), 5)

    def apply(self, graph: Graph) -> None:
        """Score all papers of a graph."""
        for node in graph.nodes.values():
            node.score = self.score(node.paper, node, node.links)

    def _similarity(self, paper: Paper) -> float:
        """Cosine of the words of its title and abstract with what is wanted."""
        found = _tokens(f"{paper.title} {paper.abstract or paper.tldr}")
        shared = sum(found[word] * self._wanted[word] for word in found.keys() & self._wanted.keys())
        size = _length(found.values()) * self._length
        return min(1.0, shared / size) if size else 0.0


def _influence(paper: Paper) -> float:
    cited = math.log1p(max(0, paper.citations or 0)) / math.log1p(MANY)
    meant = math.log1p(max(0, paper.influential or 0)) / math.log1p(MANY / 10)
    return min(1.0, 0.6 * cited + 0.4 * meant)


def _intent(cited: Node | Link) -> float:
    best = max((INTENTS.get(intent, 0.0) for intent in cited.intents), default=0.0)
    return min(1.0, 0.6 * best + 0.4 * cited.influential)


@lru_cache(maxsize=20_000)  # papers are scored again after each wave
def _tokens(text: str) -> Counter[str]:
    words = re.findall(r"[a-z0-9][a-z0-9-]+", text.lower())
    return Counter(word for word in words if word not in _STOP)


def _length(counts: Iterable[int]) -> float:
    return math.sqrt(sum(count * count for count in counts))
