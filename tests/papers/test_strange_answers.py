"""Whatever JSON the services send, reading it ends in papers or in nothing, never in an error of ours."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from ml_intern.papers import hugging_face, openalex
from ml_intern.papers import semantic_scholar as s2
from ml_intern.papers.graph import Graph
from ml_intern.papers.ids import try_id

NAMES = [
    "paperId", "externalIds", "ArXiv", "DOI", "title", "authors", "name", "year", "citationCount", "tldr", "text",
    "openAccessPdf", "url", "data", "citingPaper", "contexts", "intents", "next", "snippet", "paper", "corpusId",
    "id", "ids", "doi", "results", "referenced_works", "authorships", "author", "abstract_inverted_index",
    "primary_location", "publication_date", "summary", "upvotes", "linkedModels", "numTotalModels", "githubRepo",
    "publicationDate", "publishedAt", "score",
]  # fmt: skip
PLAIN = some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=12) | some.sampled_from(
    ["2401.00001", "10.1000/x", "https://openalex.org/W12345", "2024-01-01"]
)  # fmt: skip
ANY = some.recursive(
    PLAIN,
    lambda inner: (
        some.lists(inner, max_size=4) | some.dictionaries(some.sampled_from(NAMES), inner, max_size=6)
    ),
)


RAW = some.dictionaries(some.sampled_from(NAMES), ANY, max_size=10)
TEXT = some.text(max_size=60) | some.from_regex(
    r"(https?://)?[a-z.]{0,12}/?[a-z]{0,5}/?[0-9.v/]{0,14}", fullmatch=True
)


@pytest.mark.parametrize("examples", [25, pytest.param(300, marks=pytest.mark.thorough)])
def test_any_object_is_read(examples: int) -> None:
    @settings(max_examples=examples, deadline=None)
    @given(RAW)
    def is_read(raw: dict[str, Any]) -> None:
        papers = [s2.paper_of(raw), hugging_face.paper_of(raw), *openalex.papers_in({"results": [raw]})]
        s2.snippet_of(raw)
        s2.links_of({"data": [raw], **raw}, "citingPaper")
        hugging_face.resources_of(raw, "x")
        graph = Graph.of(next((p for p in papers if p), s2.papers_in([{"paperId": "a"}])[0]), "both")
        for paper in filter(None, papers):
            assert graph.add(paper, 1) in graph.nodes

    is_read()


@pytest.mark.parametrize("examples", [60, pytest.param(600, marks=pytest.mark.thorough)])
def test_any_text_is_an_id_or_none(examples: int) -> None:
    @settings(max_examples=examples, deadline=None)
    @given(TEXT)
    def is_id_or_none(text: str) -> None:
        found = try_id(text)
        assert found is None or try_id(str(found)) == found

    is_id_or_none()


@pytest.mark.parametrize("text", ["math/0000000v0", "A/0000000V0", "2106.09685v0", "math/٠٠٠٠٠٠٠"])
def test_what_arxiv_never_numbered_is_no_id(text: str) -> None:
    """Versions count from 1."""
    assert try_id(text) is None
