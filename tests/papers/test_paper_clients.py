"""The clients of the paper services, on answers made up in the services' shapes; anything may be missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.loopback import Answer, Asked, Loopback, Reply
from support.paper_answers import atom, atom_error

from ml_intern.errors import ToolError
from ml_intern.papers.arxiv_api import Arxiv, query_of
from ml_intern.papers.hugging_face import HuggingFace
from ml_intern.papers.ids import parse_id
from ml_intern.papers.openalex import OpenAlex, abstract_of
from ml_intern.papers.searching import parse_day
from ml_intern.papers.semantic_scholar import SemanticScholar
from ml_intern.papers.sources import fetch_paper_sources
from ml_intern.web.client import Web
from ml_intern.web.errors import BadAnswer, Missing, WebError

Serve = Callable[[Answer], Loopback]
Make = Callable[..., Web]


def _web(make_web: Make, server: Loopback, **options: Any) -> Web:
    names = ("arxiv", "arxiv-site", "semantic-scholar", "openalex", "huggingface")
    return make_web(mirrors=dict.fromkeys(names, server.url), manners=(), **options)


# arXiv


def test_arxiv_finds_papers(serve: Serve, make_web: Make) -> None:
    server = serve(lambda asked: Reply(atom([{"id": "2401.00001v2", "title": "Deep\n  nets & co"}])))
    [paper], note = Arxiv(_web(make_web, server)).search("deep nets", 5, parse_day("2024"), None, ["cs.LG"])
    assert (paper.id, paper.title, paper.year, note) == ("2401.00001", "Deep nets & co", 2024, "")
    assert paper.authors == ["Ada Example"] and paper.pdf == "https://arxiv.org/pdf/2401.00001v2"
    asked = server.asked[0].query["search_query"]
    assert asked.startswith("(all:deep AND all:nets) AND (cat:cs.LG) AND submittedDate:[202401010000 TO ")


def test_arxiv_asks_for_any_word_where_no_paper_has_all(serve: Serve, make_web: Make) -> None:
    server = serve(
        lambda asked: Reply(atom([{"id": "2401.00001"}] if " OR " in asked.query["search_query"] else []))
    )
    papers, _ = Arxiv(_web(make_web, server)).search("one two", 5)
    assert len(papers) == 1 and len(server.asked) == 2


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("ti:lora AND au:hu", "(ti:lora AND au:hu)"),
        ('what is "LoRA" (low-rank)?', "(all:what AND all:LoRA AND all:low-rank)"),
        ("the of and", ""),
        ("a:b) OR cat:evil (", "(a:b) OR cat:evil ()"),
    ],
)
def test_words_become_a_query_of_arxiv(query: str, asked: str) -> None:
    assert query_of(query, " AND ", None, None, ()) == asked


def test_an_arxiv_paper_that_does_not_exist_is_told(serve: Serve, make_web: Make) -> None:
    server = serve(lambda asked: Reply(atom([])))
    with pytest.raises(Missing, match=r"arXiv has no paper 2401\.99999\. Check the id"):
        Arxiv(_web(make_web, server)).paper(parse_id("2401.99999"))


@pytest.mark.parametrize("status", [200, 400])
def test_an_error_in_a_feed_is_told_in_its_words(status: int, serve: Serve, make_web: Make) -> None:
    server = serve(lambda asked: Reply(atom_error("incorrect id format for abc"), status=status))
    with pytest.raises(WebError, match="arXiv refuses the request: incorrect id format for abc"):
        Arxiv(_web(make_web, server)).papers([parse_id("2401.00001")])
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "body", [b"", b"<feed", b"<html><body>Rate exceeded.</body></html>", atom([{"id": "1"}])[:-60].encode()],
    ids=["empty", "cut", "a page", "half"],
)  # fmt: skip
def test_a_damaged_feed_is_asked_again_and_explained(body: bytes, serve: Serve, make_web: Make) -> None:
    good = atom([{"id": "2401.00001"}])
    server = serve(lambda asked: Reply(body if len(server.asked) == 1 else good))
    assert Arxiv(_web(make_web, server)).paper(parse_id("2401.00001")).id == "2401.00001"
    always = serve(lambda asked: Reply(body))
    with pytest.raises(BadAnswer, match="cannot be read"):
        Arxiv(_web(make_web, always)).paper(parse_id("2401.00001"))
    assert len(always.asked) == 3


def test_external_entities_of_a_feed_are_not_read(serve: Serve, make_web: Make) -> None:
    evil = atom([{"id": "2401.00001", "title": "x"}]).replace(
        '?><feed', '?><!DOCTYPE f [<!ENTITY e SYSTEM "file:///etc/passwd">]><feed'
    ).replace("<title>x", "<title>&e;")  # fmt: skip
    server = serve(lambda asked: Reply(evil))
    try:
        found = Arxiv(_web(make_web, server)).paper(parse_id("2401.00001"))
    except WebError:
        return
    assert "root:" not in found.title


def test_arxiv_goes_from_page_to_page(serve: Serve, make_web: Make) -> None:
    def answer(asked: Asked) -> Reply:
        start, size = int(asked.query["start"]), int(asked.query["max_results"])
        return Reply(atom([{"id": f"2401.{n:05}"} for n in range(start, min(150, start + size))], total=150))

    server = serve(answer)
    papers, _ = Arxiv(_web(make_web, server)).search("x", 120)
    assert len({paper.id for paper in papers}) == 120 and len(server.asked) == 2


def test_a_page_that_comes_empty_leaves_what_was_found(serve: Serve, make_web: Make) -> None:
    first = atom([{"id": f"2401.{n:05}"} for n in range(100)], total=150)
    server = serve(lambda asked: Reply(first if asked.query["start"] == "0" else atom([], total=150)))
    papers, note = Arxiv(_web(make_web, server)).search("x", 150)
    assert len(papers) == 100 and "broke off after 100 papers" in note


# Semantic Scholar

EMPTY: list[Any] = [
    {},
    {"paperId": None},
    {"paperId": "abc", "title": None, "authors": None, "externalIds": None},
]
STRANGE = {
    "paperId": "abc",
    "title": ["a", "list"],
    "year": "2020",
    "authors": [None, "A Name", {"name": None}, {"name": "B"}],
    "externalIds": {"DOI": None, "ArXiv": 5, "Other": {}},
    "citationCount": "12",
    "tldr": "text",
    "openAccessPdf": [],
    "publicationDate": "yesterday",
    "fieldsOfStudy": "CS",
}


def test_missing_and_strange_fields_are_borne(serve: Serve, make_web: Make) -> None:
    server = serve(lambda asked: Reply({"total": "many", "data": [*EMPTY, None, "text", STRANGE]}))
    papers, total, _ = SemanticScholar(_web(make_web, server)).search("x", 10)
    assert total is None and len(papers) == 2
    assert (papers[1].title, papers[1].year, papers[1].citations) == ("", 2020, 12)
    assert papers[1].authors == ["A Name", "B"]


def test_a_batch_keeps_the_order_and_the_gaps(serve: Serve, make_web: Make) -> None:
    server = serve(lambda asked: Reply([None, {"paperId": "b"}]))
    rows, _ = SemanticScholar(_web(make_web, server)).batch(["a", "b", "c"])
    assert rows == [None, {"paperId": "b"}, None]
    assert server.asked[0].json == {"ids": ["a", "b", "c"]}


@pytest.mark.parametrize("body", [b"null", b"[]", b'"text"', b"5"])
def test_another_type_than_promised_is_explained(body: bytes, serve: Serve, make_web: Make) -> None:
    server = serve(lambda asked: Reply(body))
    service = SemanticScholar(_web(make_web, server))
    with pytest.raises(BadAnswer, match="it is no JSON object"):
        service.search("x", 1)


def test_the_key_goes_to_its_own_host_only(serve: Serve, make_web: Make) -> None:
    from ml_intern.secrets.credentials import Credential

    server = serve(lambda asked: Reply({"data": []}))
    web = _web(make_web, server)
    SemanticScholar(web, Credential("k" * 20, ("api.semanticscholar.org",), "x-api-key", "")).search("x", 1)
    SemanticScholar(web, Credential("k" * 20, (server.url,), "x-api-key", "")).search("y", 1)
    assert ["x-api-key" in asked.headers for asked in server.asked] == [False, True]


# OpenAlex

WORK = {
    "id": "https://openalex.org/W123456",
    "doi": "https://doi.org/10.48550/arxiv.2401.00007",
    "display_name": "A work",
    "publication_year": 2024,
    "cited_by_count": 7,
    "referenced_works": ["https://openalex.org/W2", None],
    "authorships": [{"author": {"display_name": "Ada"}}, {"author": None}, None],
    "abstract_inverted_index": {"words": [1], "Some": [0], "bad": "x"},
    "primary_location": None,
}


def test_openalex_works_are_read(serve: Serve, make_web: Make) -> None:
    server = serve(lambda asked: Reply({"meta": {"count": 1}, "results": [WORK, {}, {"id": None}]}))
    papers, total, _ = OpenAlex(_web(make_web, server)).search("x", 5, ["cited_by_count:>3"])
    assert total == 1 and [paper.id for paper in papers] == ["2401.00007"]
    assert (papers[0].abstract, papers[0].authors, papers[0].citations) == ("Some words", ["Ada"], 7)
    assert server.asked[0].query["filter"] == "cited_by_count:>3"
    assert abstract_of(None) == ""


# Hugging Face

DAILY = {
    "paper": {"id": "2401.00001", "title": "T", "upvotes": 3, "authors": [{"name": "Ada"}], "publishedAt": "2024-01-02T00:00:00Z"},
    "numComments": 2,
}  # fmt: skip


def test_the_days_papers_are_read(serve: Serve, make_web: Make) -> None:
    server = serve(lambda asked: Reply([DAILY, {"paper": None}, {}, None]))
    [paper], _ = HuggingFace(_web(make_web, server)).daily(None, 5)
    assert (paper.id, paper.upvotes, paper.year) == ("2401.00001", 3, 2024)


# Sources


def _forms(**bodies: bytes) -> Answer:
    def answer(asked: Asked) -> Reply:
        body = bodies.get(asked.path.split("/")[1])
        return Reply(status=404) if body is None else Reply(body)

    return answer


HTML, TAR, PDF = b"<!DOCTYPE html><html>text</html>", b"\x1f\x8b" + b"tar" * 10, b"%PDF-1.5 text"


def test_the_forms_of_a_paper_come_in_their_order(serve: Serve, make_web: Make) -> None:
    server = serve(_forms(html=HTML, src=TAR, pdf=PDF))
    sources = fetch_paper_sources(_web(make_web, server), "2401.00001v2")
    assert next(sources).kind == "html"
    assert server.paths() == ["/html/2401.00001v2"], "the others are fetched when they are asked for"
    assert [(source.kind, source.content) for source in sources] == [("latex", TAR), ("pdf", PDF)]


def test_without_html_there_is_latex_else_pdf(serve: Serve, make_web: Make) -> None:
    web = _web(make_web, serve(_forms(src=TAR, pdf=PDF)))
    first = next(fetch_paper_sources(web, "astro-ph/0601001"))
    assert first.kind == "latex" and first.tried[0].startswith("html: ")
    web = _web(make_web, serve(_forms(pdf=PDF)))
    assert next(fetch_paper_sources(web, "2401.00001")).kind == "pdf"


def test_a_pdf_in_the_place_of_the_source_is_told_as_one(serve: Serve, make_web: Make) -> None:
    web = _web(make_web, serve(_forms(src=PDF)))
    assert [source.kind for source in fetch_paper_sources(web, "2401.00001")] == ["pdf"]


def test_no_form_at_all_is_explained(serve: Serve, make_web: Make) -> None:
    web = _web(make_web, serve(_forms(html=b"", src=HTML)))
    with pytest.raises(
        Missing, match=r"No text of 2401\.00001 can be had \(html: .*; latex: .*; pdf: .*not exist"
    ):
        list(fetch_paper_sources(web, "2401.00001"))


def test_a_doi_leads_to_arxiv_or_an_open_pdf(serve: Serve, make_web: Make) -> None:
    known = {"paperId": "a", "externalIds": {"ArXiv": "2401.00001"}}

    def answer(asked: Asked) -> Any:
        return known if asked.path.startswith("/graph") else _forms(html=HTML)(asked)

    source = next(fetch_paper_sources(_web(make_web, serve(answer)), "10.1145/1.2"))
    assert (source.kind, source.id) == ("html", "10.1145/1.2")

    def other(asked: Asked) -> Any:
        open_pdf = {"paperId": "a", "openAccessPdf": {"url": f"{server.url}/open.pdf"}}
        return open_pdf if asked.path.startswith("/graph") else Reply(PDF)

    server = serve(other)
    assert next(fetch_paper_sources(_web(make_web, server), "10.1145/1.2")).url == f"{server.url}/open.pdf"


@pytest.mark.parametrize(
    ("text", "end", "day"),
    [("2024", False, "2024-01-01"), ("2024", True, "2024-12-31"), ("2024-02", True, "2024-02-29"),
     ("2024-2-3", False, "2024-02-03"), ("2023-12", True, "2023-12-31")],
)  # fmt: skip
def test_days_months_and_years_are_dates(text: str, end: bool, day: str) -> None:
    assert str(parse_day(text, end)) == day


@pytest.mark.parametrize("text", ["yesterday", "2024-13", "2024-02-30", "24", "2024/01/01"])
def test_what_is_no_date_is_told(text: str) -> None:
    with pytest.raises(ToolError, match="is no date"):
        parse_day(text)
