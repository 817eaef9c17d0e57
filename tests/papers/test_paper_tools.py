"""The paper tools, as a cell calls them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.loopback import Answer, Asked, Loopback, Reply
from support.paper_answers import Literature, atom

from ml_intern.context import ToolContext
from ml_intern.errors import ToolError
from ml_intern.papers.model import DATA_NOTE, Paper
from ml_intern.papers.searching import fused
from ml_intern.tooling import specs_in
from ml_intern.tools import papers as tools

Serve = Callable[[Answer], Loopback]
Context = Callable[..., ToolContext]

S2 = {"total": 2, "data": [
    {"paperId": "a", "externalIds": {"ArXiv": "2401.00001"}, "title": "First", "year": 2024, "citationCount": 9},
    {"paperId": "b", "externalIds": {"DOI": "10.1000/b"}, "title": "Second", "year": 2020, "citationCount": 2},
]}  # fmt: skip
HF = [{"paper": {"id": "2401.00001", "title": "First", "upvotes": 4, "publishedAt": "2024-01-05"}},
      {"paper": {"id": "2402.00002", "title": "Third", "publishedAt": "2024-02-05"}}]  # fmt: skip
ARXIV = atom([{"id": "2403.00003", "title": "Fourth", "published": "2024-03-01"}])


def _services(**changed: Any) -> Answer:
    answers = {"graph": S2, "api": HF, "works": {"results": []}, **changed}

    def answer(asked: Asked) -> Any:
        if asked.path == "/api/query":
            return changed.get("arxiv", Reply(ARXIV))
        if asked.path == "/graph/v1/paper/batch":
            return changed["batch"](asked) if "batch" in changed else [None] * len(asked.json["ids"])
        return answers[asked.path.split("/")[1]]

    return answer


def test_services_are_searched_together_and_a_paper_comes_once(serve: Serve, make_context: Context) -> None:
    server = serve(_services())
    found = tools.search_papers(make_context(server.url), "words")
    assert found.papers[0].title == "First"
    assert sorted(paper.title for paper in found.papers) == ["First", "Fourth", "Second", "Third"]
    first = found.papers[0]
    assert (first.citations, first.upvotes, first.ids["s2"]) == (9, 4, "a")
    assert found.note == DATA_NOTE and found.notes == []


def test_dates_and_citations_hold_for_every_service(serve: Serve, make_context: Context) -> None:
    def counted(asked: Asked) -> Any:
        known = {
            "ARXIV:2402.00002": {"paperId": "z", "externalIds": {"ArXiv": "2402.00002"}, "citationCount": 50}
        }
        return [known.get(id) for id in asked.json["ids"]]

    server = serve(_services(batch=counted))
    found = tools.search_papers(
        make_context(server.url), "words", since="2024-01", until="2024-02", min_citations=5
    )
    assert [paper.title for paper in found.papers] == ["First", "Third"]
    asked = next(a for a in server.asked if a.path == "/graph/v1/paper/search")
    assert asked.query["publicationDateOrYear"] == "2024-01-01:2024-02-29"
    assert asked.query["minCitationCount"] == "5"


def test_categories_are_asked_of_arxiv(serve: Serve, make_context: Context) -> None:
    server = serve(_services())
    found = tools.search_papers(make_context(server.url), "words", categories=["cs.CL"])
    assert [paper.title for paper in found.papers] == ["Fourth"]
    assert "cat:cs.CL" in server.asked[0].query["search_query"]


def test_a_service_that_fails_is_noted_and_another_stands_in(serve: Serve, make_context: Context) -> None:
    work = {"id": "https://openalex.org/W77777", "display_name": "From OpenAlex", "publication_year": 2024}
    server = serve(_services(graph=Reply(status=429), api=Reply(status=500), works={"results": [work]}))
    found = tools.search_papers(make_context(server.url, tries=0), "words")
    assert {paper.title for paper in found.papers} == {"From OpenAlex", "Fourth"}
    assert [note.partition(" gave")[0] for note in found.notes] == ["Semantic Scholar", "Hugging Face"]


def test_what_some_services_found_stays_where_the_last_one_fails(serve: Serve, make_context: Context) -> None:
    server = serve(_services(arxiv=Reply(status=500)))
    found = tools.search_papers(make_context(server.url, tries=0), "words")
    assert {paper.title for paper in found.papers} == {"First", "Second", "Third"}
    assert [note.partition(" gave")[0] for note in found.notes] == ["arXiv"]


def test_where_all_fail_it_is_told(serve: Serve, make_context: Context) -> None:
    server = serve(lambda asked: Reply(status=500))
    with pytest.raises(ToolError, match=r"Semantic Scholar gave no answer: .*arXiv gave no answer"):
        tools.search_papers(make_context(server.url, tries=0), "words")


def test_an_id_is_looked_up(serve: Serve, make_context: Context) -> None:
    server = serve(_services())
    found = tools.search_papers(make_context(server.url), "https://arxiv.org/abs/2403.00003v1")
    assert [paper.id for paper in found.papers] == ["2403.00003"]
    assert server.asked[0].query["id_list"] == "2403.00003v1"


def test_a_citation_graph_comes_ranked_and_goes_on(serve: Serve, make_context: Context) -> None:
    server = serve(Literature(90).answer)
    ctx = make_context(server.url)
    found = tools.citation_graph(ctx, Literature.arxiv(0), depth=2, max_papers=20)
    assert found.size == 20 and len(found.papers) == 19
    scores = [paper.score for paper in found.papers]
    assert scores == sorted(scores, reverse=True)
    assert found.root.id == Literature.arxiv(0) and found.source == "Semantic Scholar"
    ids = {found.root.id, *(paper.id for paper in found.papers)}
    assert found.edges and all({*edge} <= ids for edge in found.edges)
    assert any(paper.context for paper in found.papers)
    for paper in found.papers:
        pair = (paper.via, paper.id) if paper.relation == "reference" else (paper.id, paper.via)
        assert pair in found.edges and paper.via in ids
        assert paper.depth > 1 or paper.via == found.root.id
    more = tools.citation_graph(ctx, f"arXiv:{Literature.arxiv(0)}v3", depth=30, max_papers=500)
    assert more.size == 90 and more.path == found.path


@pytest.mark.thorough
def test_a_rate_limit_is_told_with_the_graph(serve: Serve, make_context: Context) -> None:
    literature = Literature(60)
    literature.faults["/batch"] = [Reply(status=429, headers={"Retry-After": "0.1"})] * 2
    server = serve(literature.answer)
    found = tools.citation_graph(make_context(server.url), Literature.arxiv(0), depth=9, max_papers=500)
    assert found.size == 60
    assert any(note.startswith("It was slowed 2 times, at last: ") for note in found.notes)


def test_a_citation_graph_of_nothing_is_told(serve: Serve, make_context: Context) -> None:
    server = serve(Literature(10).answer)
    with pytest.raises(ToolError, match=r"Neither Semantic Scholar nor OpenAlex knows 2401\.99999"):
        tools.citation_graph(make_context(server.url), "2401.99999")
    with pytest.raises(ToolError, match="is no id of a paper"):
        tools.citation_graph(make_context(server.url), "lora")


def test_recommendations(serve: Serve, make_context: Context) -> None:
    server = serve(lambda asked: {"recommendedPapers": S2["data"]})
    ctx = make_context(server.url)
    found = tools.recommend_papers(ctx, "2401.00009", ["10.1000/x"])
    assert [paper.id for paper in found.papers] == ["2401.00001", "10.1000/b"]
    assert server.asked[0].json == {
        "positivePaperIds": ["ARXIV:2401.00009"],
        "negativePaperIds": ["DOI:10.1000/x"],
    }
    assert [paper.id for paper in tools.recommend_papers(ctx, "2401.00001v2").papers] == ["10.1000/b"]
    with pytest.raises(ToolError, match="at least one id"):
        tools.recommend_papers(ctx, [])
    with pytest.raises(ToolError, match="does not know ids like W1234567"):
        tools.recommend_papers(ctx, "W1234567")


def test_snippets(serve: Serve, make_context: Context) -> None:
    row = {"snippet": {"text": "We use a rank of 8.", "snippetKind": "body", "section": "Setup"}, "score": 0.5,
           "paper": {"corpusId": 5, "title": "T", "authors": ["Ada"]}}  # fmt: skip
    server = serve(lambda asked: {"data": [row, {"snippet": None}, {}]})
    found = tools.search_snippets(make_context(server.url), "rank", papers="2401.00001")
    [snippet] = found.snippets
    assert (snippet.text, snippet.section, snippet.paper) == ("We use a rank of 8.", "Setup", "CorpusId:5")
    assert server.asked[0].query["paperIds"] == "ARXIV:2401.00001"


def test_a_snippet_names_its_paper_as_other_tools_take_it(serve: Serve, make_context: Context) -> None:
    arxiv = {"disclaimer": "Extracted from the paper available at https://arxiv.org/abs/1805.02262, which"}
    papers = [
        {"corpusId": "5"},
        {"corpusId": "6", "openAccessInfo": arxiv},
        {"corpusId": "7", "externalIds": {"ArXiv": "2401.00007"}},
        {"corpusId": "8"},
        {"corpusId": "5"},
    ]
    rows = [{"snippet": {"text": "Words."}, "paper": paper} for paper in papers]
    known = {"paperId": "a", "externalIds": {"ArXiv": "2401.00005", "CorpusId": 5}}
    server = serve(lambda asked: [known, None] if asked.path.endswith("/batch") else {"data": rows})
    found = tools.search_snippets(make_context(server.url), "words")
    wanted = ["2401.00005", "1805.02262", "2401.00007", "CorpusId:8", "2401.00005"]
    assert [snippet.paper for snippet in found.snippets] == wanted and found.notes == []
    assert server.asked[-1].json == {"ids": ["CorpusId:5", "CorpusId:8"]} and len(server.asked) == 2


def test_trending_papers_come_by_upvotes(serve: Serve, make_context: Context) -> None:
    server = serve(lambda asked: list(reversed(HF)))
    found = tools.trending_papers(make_context(server.url), "2024-02-05")
    assert [paper.title for paper in found.papers] == ["First", "Third"]
    assert server.asked[0].query["date"] == "2024-02-05"
    with pytest.raises(ToolError, match="is no day"):
        tools.trending_papers(make_context(server.url), "2024")


PAGE = {
    "id": "2401.00001",
    "title": "First",
    "githubRepo": "https://github.com/ada/first",
    "githubStars": 5,
    "projectPage": "https://first.example",
    "linkedModels": [{"id": "ada/first-7b", "likes": 3, "downloads": 10}, {"id": None}],
    "numTotalModels": 40,
    "linkedDatasets": [{"id": "ada/data"}],
    "linkedSpaces": None,
}


def test_resources_of_a_paper(serve: Serve, make_context: Context) -> None:
    server = serve(lambda asked: PAGE)
    found = tools.find_paper_resources(make_context(server.url), "2401.00001v2")
    assert [(r.kind, r.id) for r in found.resources] == [
        ("model", "ada/first-7b"), ("dataset", "ada/data"), ("code", "ada/first"),
    ]  # fmt: skip
    assert found.totals == {"model": 40, "dataset": 1} and found.project_page == "https://first.example"
    assert server.paths() == ["/api/papers/2401.00001"]


def test_a_paper_unknown_to_hugging_face_may_name_its_code_itself(
    serve: Serve, make_context: Context
) -> None:
    feed = atom([{"id": "2401.00001", "summary": "Code: https://github.com/ada/first. Data soon."}])
    server = serve(lambda asked: Reply(feed) if asked.path == "/api/query" else Reply({}, status=404))
    found = tools.find_paper_resources(make_context(server.url), "2401.00001")
    assert [r.id for r in found.resources] == ["ada/first"] and "only its abstract" in found.notes[0]


def test_offline_the_tools_answer_from_the_cache_and_say_so(serve: Serve, make_context: Context) -> None:
    server = serve(_services())
    tools.search_papers(make_context(server.url), "words")
    count = len(server.asked)
    found = tools.search_papers(make_context(server.url, offline=True), "words")
    assert len(found.papers) == 4 and len(server.asked) == count
    assert any("offline: this is a copy from the cache" in note for note in found.notes)
    with pytest.raises(ToolError, match="the cache does not hold"):
        tools.search_papers(make_context(server.url, offline=True), "other words")


def test_the_names_that_outsiders_rely_on_are_there() -> None:
    found = {spec.name: [p.name for p in spec.parameters] for spec in specs_in(tools)}
    for name, parameters in {
        "search_papers": ["query", "limit", "since", "until", "categories", "min_citations"],
        "citation_graph": ["id", "direction", "depth", "max_papers"],
        "recommend_papers": ["liked", "disliked"],
        "search_snippets": ["query"],
        "trending_papers": ["day"],
        "find_paper_resources": ["id"],
    }.items():
        assert found[name][: len(parameters)] == parameters
    assert all(spec.effect == "read" for spec in specs_in(tools))


def test_what_several_services_rank_high_comes_first() -> None:
    a, b, c = (Paper(id=id, ids={"arxiv": id}) for id in "abc")
    assert [paper.id for paper in fused([[a, b], [b, c]])] == ["b", "a", "c"]
