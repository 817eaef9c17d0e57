"""Follows citations to any depth within a budget of papers, and keeps what it found.

It goes in waves: the papers whose neighbours are wanted next are asked for together, the neighbours are
ranked, the best are taken in. After each wave the graph is saved, so a run that was stopped goes on where it
was, and one with a larger budget or depth begins with what is there.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ml_intern.papers.graph import Edge, Graph, shortened
from ml_intern.papers.neighbours import Neighbourhood, Source
from ml_intern.papers.ranking import Ranking
from ml_intern.papers.semantic_scholar import Link

Order = Literal["best", "breadth"]
WAVE = 500
"""Papers whose neighbours are asked for at one time."""
BEST_WAVE = 100
"""The same where the best are to come first: later ones are chosen by what the earlier brought."""
MOST_FAILURES = 3
"""Waves in which nothing came, after which it ends with what it has."""
PER_QUOTE = 50
"""Papers of the budget for each request that brings the sentences of one."""
MOST_QUOTED = 40
NAMED = 3
"""Papers that a note on failures names."""


@dataclass(frozen=True)
class Plan:
    """What a traversal is to bring.

    Attributes:
        depth: Steps from the root.
        budget: Papers in the graph, the root counted.
        order: ``breadth``: level by level; ``best``: those with the highest score first, room kept for depth.
    """

    depth: int
    budget: int
    order: Order = "best"


@dataclass(frozen=True)
class _Candidate:
    link: Link
    at: str
    cites: bool
    score: float


class Traversal:
    """One traversal.

    Args:
        graph: Where it begins; grows.
        source: Who is asked.
        ranking: What matters.
        plan: How far.
        path: Where the graph is saved.
        tell: Hears how far it is, with a fraction.
        stop: True ends it after the wave at hand.
    """

    def __init__(
        self,
        graph: Graph,
        source: Source,
        ranking: Ranking,
        plan: Plan,
        path: Path | None = None,
        tell: Callable[[str, float], None] = lambda text, fraction: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.graph = graph
        self._source, self._ranking, self._plan, self._path = source, ranking, plan, path
        self._tell, self._stop = tell, stop
        self._failed: dict[str, list[str]] = {}
        self._unquoted: dict[str, list[str]] = {}
        self._waiting: list[_Candidate] = []

    def run(self) -> Graph:
        """Go on until the budget is spent, the depth is reached, or nothing is left."""
        self._reopen()
        failures = 0
        while self._room() and failures < MOST_FAILURES and not self._stop():
            wave = self._next()
            if wave:
                failures = 0 if self._expand(wave) else failures + 1
            elif self._waiting:
                self._wait(self._take(self._waiting, self._room()))
            else:
                break
            self._ranking.apply(self.graph)
            self._save()
            self._report()
        # Of those that were left out some have come in by another way: their citations count.
        self._wait(self._take(self._waiting, 0))
        self._save()
        if failures < MOST_FAILURES and not self._stop():
            self._quote()
        self._ranking.apply(self.graph)
        self._tell_failures("neighbours of", self._failed)
        self._tell_failures("sentences that cite in", self._unquoted)
        self._save()
        return self.graph

    def _reopen(self) -> None:
        """A larger budget has room for what was left out: it is asked for again, mostly from the cache."""
        if self._room() and self.graph.left_out:
            for node in self.graph.nodes.values():
                node.expanded = False
            self.graph.left_out = self.graph.unknown = 0

    def _room(self) -> int:
        return max(0, self._plan.budget - len(self.graph.nodes))

    def _next(self) -> list[str]:
        """The papers to ask next: of the nearest level, or the best anywhere."""
        failed = {key for keys in self._failed.values() for key in keys}
        open_ = [
            (key, node)
            for key, node in self.graph.nodes.items()
            if not node.expanded and node.depth < self._plan.depth and key not in failed
        ]
        if self._plan.order == "best":
            open_.sort(key=lambda found: -found[1].score)
            return [key for key, _ in open_[:BEST_WAVE]]
        nearest = min((node.depth for _, node in open_), default=0)
        level = [(key, node) for key, node in open_ if node.depth == nearest]
        level.sort(key=lambda found: -found[1].score)
        return [key for key, _ in level[:WAVE]]

    def _expand(self, keys: list[str]) -> bool:
        """Fetch the neighbours of some papers and take the best in; whether anything came."""
        candidates: list[_Candidate] = []
        came = False
        for key, found in zip(keys, self._fetch(keys), strict=False):
            if key not in self.graph.nodes:
                continue  # it turned out to be another one
            node = self.graph.nodes[key]
            whole = not found.failed
            came |= whole or bool(found.references or found.citations)
            node.expanded = whole
            self.graph.unknown += found.unknown if whole else 0
            self._note(key, found)
            candidates += self._candidates(key, found)
        depths = [self.graph.nodes[key].depth for key in keys if key in self.graph.nodes]
        self._wait([*self._waiting, *self._take(candidates, self._quota(min(depths, default=0)))])
        return came

    def _fetch(self, keys: list[str]) -> list[Neighbourhood]:
        """Neighbourhoods in the order of the keys; the root alone is asked closely, for the contexts."""
        papers = [self.graph.nodes[key].paper for key in keys]
        if len(papers) == 1:
            return [self._source.closely(papers[0], self.graph.direction)]
        by_id = {found.id: found for found in self._source.widely(papers, self.graph.direction)}
        nothing = f"{self._source.name} knows none of its ids"
        asked = [self._source.id_of(paper) for paper in papers]
        return [by_id.get(id) or Neighbourhood(id, failed=nothing) for id in asked]

    def _note(self, key: str, found: Neighbourhood) -> None:
        if found.failed:
            self._failed.setdefault(found.failed, []).append(key)
        elif found.note and found.note not in self.graph.notes:
            self.graph.notes.append(found.note)

    def _quote(self) -> None:
        """Sentences and intents of the papers that cite most here, where their batch brought none."""
        bare = Counter(edge.citing for edge in self.graph.edges if not (edge.contexts or edge.intents))
        open_ = [(count, key) for key, count in bare.items() if not self.graph.nodes[key].quoted]
        done = sum(node.quoted for node in self.graph.nodes.values())
        most = max(0, min(MOST_QUOTED, self._plan.budget // PER_QUOTE) - done)
        keys = [key for _, key in sorted(open_, key=lambda found: (-found[0], found[1]))[:most]]
        papers = [self.graph.nodes[key].paper for key in keys]
        known = [(key, paper) for key, paper in zip(keys, papers, strict=True) if self._source.id_of(paper)]
        for key, found in zip(
            [k for k, _ in known], self._source.quoting([p for _, p in known]), strict=False
        ):
            self.graph.nodes[key].quoted = not found.failed
            if found.failed:
                self._unquoted.setdefault(found.failed, []).append(key)
            for link in found.references:
                other = self.graph.find(link.paper)
                if other is not None:
                    self._link(key, other, link, cites=True)

    def _tell_failures(self, what: str, failed: dict[str, list[str]]) -> None:
        """One line for each reason, however many papers it met."""
        for reason, keys in failed.items():
            more = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
            told = f"The {what} {', '.join(keys[:NAMED])}{more} are missing: {reason}"
            self.graph.notes.append(told)

    def _candidates(self, key: str, found: Neighbourhood) -> list[_Candidate]:
        """Neighbours that are not here yet; the citations between papers that are here are noted at once."""
        fresh: list[_Candidate] = []
        for links, cites in ((found.references, True), (found.citations, False)):
            for link in links:
                known = self.graph.find(link.paper)
                if known is not None:
                    known = self.graph.add(link.paper, self.graph.nodes[key].depth + 1)
                    self._link(key, known, link, cites)
                else:
                    fresh.append(_Candidate(link, key, cites, self._score(link)))
        return fresh

    def _score(self, link: Link) -> float:
        return self._ranking.score(link.paper, link)

    def _take(self, candidates: list[_Candidate], room: int) -> list[_Candidate]:
        """Take the best in, each paper once; those that are left."""
        left: list[_Candidate] = []
        for found in sorted(candidates, key=lambda found: (-found.score, found.link.paper.id)):
            known = self.graph.find(found.link.paper)
            if known is None and room <= 0:
                left.append(found)
                continue
            room -= known is None
            at = self.graph.key_of(found.at)
            key = self.graph.add(found.link.paper, self.graph.nodes[at].depth + 1)
            self._link(self.graph.key_of(at), key, found.link, found.cites)
        return left

    def _wait(self, candidates: list[_Candidate]) -> None:
        """They come in if room is left once all levels were seen."""
        self._waiting = candidates
        self.graph.left_out = len({found.link.paper.id for found in candidates})

    def _quota(self, depth: int) -> int:
        """Papers to take in now: all that fit, or a share that leaves room for the levels below."""
        room, levels = self._room(), max(1, self._plan.depth - depth)
        return room if self._plan.order == "breadth" else math.ceil(room / levels)

    def _link(self, here: str, there: str, link: Link, cites: bool) -> None:
        citing, cited = (here, there) if cites else (there, here)
        self.graph.link(
            Edge(
                citing=citing,
                cited=cited,
                contexts=shortened(link.contexts),
                intents=list(link.intents),
                influential=link.influential,
            )
        )

    def _save(self) -> None:
        if self._path is not None:
            self.graph.save(self._path)

    def _report(self) -> None:
        count = len(self.graph.nodes)
        deepest = max(node.depth for node in self.graph.nodes.values())
        self._tell(
            f"{count} papers, {len(self.graph.edges)} citations, depth {deepest}", count / self._plan.budget
        )
