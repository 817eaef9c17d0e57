"""Answers of the paper services, made up in their shapes: a citation graph of any size, and single pages."""

from __future__ import annotations

import random
from collections.abc import Iterable
from functools import cached_property
from typing import Any
from xml.sax.saxutils import escape

from support.loopback import Asked, Reply

WORDS = [
    "attention",
    "sparse",
    "graph",
    "reward",
    "policy",
    "language",
    "vision",
    "retrieval",
    "pruning",
    "data",
]


def atom(entries: Iterable[dict[str, str]], total: int | None = None) -> str:
    """A feed as arXiv writes it."""
    made = [_entry(entry) for entry in entries]
    return (
        '<?xml version="1.0" encoding="UTF-8"?><feed xmlns="http://www.w3.org/2005/Atom"'
        ' xmlns:opensearch="http://a9.com/-/spec/opensearch/1.1/" xmlns:arxiv="http://arxiv.org/schemas/atom">'
        f"<opensearch:totalResults>{len(made) if total is None else total}</opensearch:totalResults>"
        f"<opensearch:startIndex>0</opensearch:startIndex>{''.join(made)}</feed>"
    )


def _entry(entry: dict[str, str]) -> str:
    id = entry["id"]
    return (
        f"<entry><id>http://arxiv.org/abs/{id}</id><title>{escape(entry.get('title', 'A title'))}</title>"
        f"<updated>2024-02-03T00:00:00Z</updated><published>{entry.get('published', '2024-01-02')}T00:00:00Z</published>"
        f"<summary>{escape(entry.get('summary', 'An abstract.'))}</summary><author><name>Ada Example</name></author>"
        f'<category term="cs.LG"/><arxiv:primary_category term="cs.LG"/>'
        f'<link href="https://arxiv.org/pdf/{id}" rel="related" type="application/pdf" title="pdf"/></entry>'
    )


def atom_error(said: str) -> str:
    """What arXiv answers where it does not understand."""
    return atom([]).replace(
        "</feed>",
        "<entry><id>https://arxiv.org/api/errors#x</id><title>Error</title><updated>2024-01-01T00:00:00Z</updated>"
        f"<summary>{said}</summary></entry></feed>",
    )


class Literature:
    """Papers that cite each other, as Semantic Scholar tells them.

    Args:
        size: Papers; number 0 is in the middle of the literature.
        cites: References of each.
        seed: For who cites whom.
        delay_s: Of each answer.
        details: A batch tells contexts and intents too; else one that asks for them is refused.
    """

    def __init__(
        self, size: int = 60, cites: int = 6, seed: int = 0, delay_s: float = 0.0, details: bool = False
    ) -> None:
        self.size, self.delay_s, self.details = size, delay_s, details
        self.faults: dict[str, list[Reply]] = {}
        """Answers that come first, by the end of the path."""
        draw = random.Random(seed)
        # Number 0 cites the first ones and is cited by the later ones; each cites some that are older than it.
        order = [*range(1, size // 2), 0, *range(size // 2, size)]
        self.cites: dict[int, list[int]] = {}
        for place, number in enumerate(order):
            older = order[max(0, place - size // 2) : place]
            self.cites[number] = sorted(draw.sample(older, min(cites, len(older))))
        for number in order[size // 2 :][1 : cites * 4]:
            if 0 not in self.cites[number]:
                self.cites[number].append(0)

    @cached_property
    def cited_by(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {number: [] for number in range(self.size)}
        for number, cited in self.cites.items():
            for other in cited:
                found[other].append(number)
        return found

    @staticmethod
    def sha(number: int) -> str:
        return f"{number:040x}"

    @staticmethod
    def arxiv(number: int) -> str:
        return f"2401.{number:05}"

    def paper(self, number: int) -> dict[str, Any]:
        words = " ".join(WORDS[(number * step) % len(WORDS)] for step in (1, 5, 7))
        return {
            "paperId": self.sha(number),
            "externalIds": {"ArXiv": self.arxiv(number), "CorpusId": number},
            "title": f"Paper number {number} about {words}",
            "year": 2015 + number % 10,
            "authors": [{"name": f"Author {number}"}],
            "citationCount": len(self.cited_by[number]),
            "influentialCitationCount": number % 3,
            "referenceCount": len(self.cites[number]),
        }

    def answer(self, asked: Asked) -> Reply:
        for end, left in self.faults.items():
            if asked.path.endswith(end) and left:
                return left.pop(0)
        if asked.path.endswith("/batch") and not self.details and ".contexts" in asked.query["fields"]:
            said = "Unrecognized or unsupported fields: [references.contexts]"
            return Reply({"error": said}, 400, delay_s=self.delay_s)
        found = self._found(asked)
        status = 404 if found is None else 200
        return Reply({"error": "Paper not found"} if found is None else found, status, delay_s=self.delay_s)

    def _found(self, asked: Asked) -> Any:
        parts = asked.path.removeprefix("/graph/v1/paper/").split("/")
        if parts == ["batch"]:
            return [self._with_links(id, asked.query["fields"]) for id in asked.json["ids"]]
        number = self.number(parts[0])
        if number is None:
            return None
        if len(parts) == 1:
            return self.paper(number)
        end, others = (
            ("citedPaper", self.cites) if parts[1] == "references" else ("citingPaper", self.cited_by)
        )
        offset, limit = int(asked.query["offset"]), int(asked.query["limit"])
        shown = others[number][offset : offset + limit]
        rows = [{end: self.paper(n), **self._detail(n)} for n in shown]
        more = {"next": offset + limit} if offset + limit < len(others[number]) else {}
        return {"offset": offset, "data": rows, **more}

    def _with_links(self, id: str, fields: str) -> dict[str, Any] | None:
        number = self.number(id)
        if number is None:
            return None
        found = self.paper(number)
        for way, others in (("references", self.cites), ("citations", self.cited_by)):
            if f"{way}." in fields:
                detailed = f"{way}.contexts" in fields
                found[way] = [
                    {**self.paper(n), **(self._detail(n) if detailed else {})} for n in others[number]
                ]
        return found

    @staticmethod
    def _detail(number: int) -> dict[str, Any]:
        """How a paper is cited."""
        said = [f"As in {number} [{number}]."]
        return {"contexts": said, "intents": ["methodology"], "isInfluential": number % 2 == 0}

    def number(self, id: str) -> int | None:
        scheme, _, value = id.rpartition(":")
        try:
            number = int(value.rpartition(".")[2]) if scheme == "ARXIV" else int(value, 10 if scheme else 16)
        except ValueError:
            return None
        return number if 0 <= number < self.size else None
