"""Papers and who cites whom, kept in a file: found once, whatever id it was met by."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, PrivateAttr, ValidationError

from ml_intern.papers.model import Paper

Direction = Literal["references", "citations", "both"]
MOST_CONTEXTS = 3
CONTEXT_CHARS = 400
SHORTEST_TITLE = 20
"""Letters and digits from which on an equal title, in years next to each other, is the same paper."""


class Node(BaseModel):
    """A paper in the graph.

    Attributes:
        depth: Steps from the root.
        score: How much it matters, by the ranking asked for.
        expanded: Its neighbours were fetched.
        quoted: The sentences in which it cites were asked for.
        links: How many papers of the graph it is linked with.
        intents: What it is cited for, or cites for.
        influential: One of its links is a meaningful one, by Semantic Scholar.
    """

    paper: Paper
    depth: int
    score: float = 0.0
    expanded: bool = False
    quoted: bool = False
    links: int = 0
    intents: list[str] = Field(default_factory=list)
    influential: bool = False


class Edge(BaseModel):
    """One citation. `contexts` are the sentences in which it happens, the first few."""

    citing: str
    cited: str
    contexts: list[str] = Field(default_factory=list)
    intents: list[str] = Field(default_factory=list)
    influential: bool = False


class Graph(BaseModel):
    """A citation graph.

    Attributes:
        root: Key of the paper that it began with.
        nodes: Papers by key.
        edges: Citations between them.
        unknown: Neighbours without any id, which nobody can follow.
        left_out: Neighbours that the budget had no room for.
        notes: What went wrong on the way.
    """

    root: str
    direction: Direction
    nodes: dict[str, Node] = Field(default_factory=dict)
    edges: list[Edge] = Field(default_factory=list)
    unknown: int = 0
    left_out: int = 0
    notes: list[str] = Field(default_factory=list)
    _known: dict[str, str] = PrivateAttr(default_factory=dict)
    _merged: dict[str, str] = PrivateAttr(default_factory=dict)
    _linked: dict[tuple[str, str], Edge] = PrivateAttr(default_factory=dict)

    @classmethod
    def of(cls, paper: Paper, direction: Direction) -> Graph:
        """A graph of one paper."""
        graph = cls(root="", direction=direction)
        graph.root = graph.add(paper, 0)
        return graph

    @classmethod
    def load(cls, path: Path) -> Graph | None:
        """The graph in a file; None where there is none that can be read."""
        try:
            graph = cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            return None
        if graph.root not in graph.nodes:
            return None
        for key, node in graph.nodes.items():
            graph._know(key, node.paper)
        graph._linked = {(edge.citing, edge.cited): edge for edge in graph.edges}
        return graph

    def save(self, path: Path) -> None:
        """Write it whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}.new")
        fresh.write_text(self.model_dump_json(exclude_defaults=True), encoding="utf-8")
        fresh.replace(path)

    def key_of(self, key: str) -> str:
        """A key as it is now, after papers were found to be one."""
        return self._merged.get(key, key)

    def find(self, paper: Paper) -> str | None:
        """The key under which a paper is here, by whatever id or title."""
        return next(iter(self._found(paper)), None)

    def add(self, paper: Paper, depth: int) -> str:
        """Take a paper in, or learn more of one that is here; its key."""
        key, *doubles = self._found(paper) or [""]
        for double in doubles:
            self._merge(key, double)
        if not key:
            key = paper.id
            self.nodes[key] = Node(paper=paper, depth=depth)
        else:
            node = self.nodes[key]
            node.paper, node.depth = node.paper.filled(paper), min(node.depth, depth)
        self._know(key, self.nodes[key].paper)
        return key

    def _found(self, paper: Paper) -> list[str]:
        """The keys under which a paper is here: two, where it was met by ids that nobody had connected."""
        known = self._known  # asking pydantic for a private attribute takes long, and this is done often
        keys = dict.fromkeys(known[name] for name in _names(paper) if name in known)
        return sorted(keys, key=lambda key: key != self.root)

    def _merge(self, key: str, double: str) -> None:
        """Two papers turn out to be one."""
        node, other = self.nodes[key], self.nodes.pop(double)
        self._merged = {old: key if new == double else new for old, new in self._merged.items()} | {
            double: key
        }
        node.paper, node.depth = node.paper.filled(other.paper), min(node.depth, other.depth)
        self._known = {name: key if known == double else known for name, known in self._known.items()}
        edges, self.edges, self._linked = self.edges, [], {}
        for kept in self.nodes.values():
            kept.links = 0
        for edge in edges:
            self.link(edge)

    def link(self, edge: Edge) -> None:
        """Note a citation; a second time adds what was not known of it."""
        edge.citing, edge.cited = self.key_of(edge.citing), self.key_of(edge.cited)
        if edge.citing == edge.cited:
            return
        known = self._linked.get((edge.citing, edge.cited))
        if known is None:
            self._linked[edge.citing, edge.cited] = edge
            self.edges.append(edge)
            self.nodes[edge.citing].links += 1
            self.nodes[edge.cited].links += 1
        elif edge.contexts or edge.intents or edge.influential:
            known.contexts, known.intents = edge.contexts or known.contexts, edge.intents or known.intents
            known.influential |= edge.influential
        for end in (edge.citing, edge.cited):
            node = self.nodes[end]
            node.intents = sorted({*node.intents, *edge.intents})
            node.influential |= edge.influential

    def ranked(self) -> list[tuple[str, Node]]:
        """Papers but the root, the best first."""
        others = [(key, node) for key, node in self.nodes.items() if key != self.root]
        return sorted(others, key=lambda found: (-found[1].score, found[1].depth, found[0]))

    def _know(self, key: str, paper: Paper) -> None:
        known = self._known
        for name in _names(paper):
            known.setdefault(name, key)


def shortened(contexts: tuple[str, ...]) -> list[str]:
    """The first few sentences, each of a bounded length."""
    return [context[:CONTEXT_CHARS] for context in contexts[:MOST_CONTEXTS]]


def _names(paper: Paper) -> list[str]:
    """All names of a paper: its ids, and its title with the years that may be meant."""
    names = sorted(paper.keys)
    return [*names, *_title_names(paper.title, paper.year)] if paper.year else names


@lru_cache(maxsize=50_000)  # a paper is met many times
def _title_names(title: str, year: int) -> tuple[str, ...]:
    plain = re.sub(r"[\W_]+", "", title.lower())
    if len(plain) < SHORTEST_TITLE:
        return ()
    # A preprint and its journal version are a year apart: pairs of years overlap by one.
    return f"title:{plain}:{year - 1}-{year}", f"title:{plain}:{year}-{year + 1}"
