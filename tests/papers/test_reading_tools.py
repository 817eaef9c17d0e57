"""`read_paper` and `extract_recipe` over made papers that a server gives in three forms, as arXiv does."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from support.loopback import Answer, Asked, Loopback, Reply
from support.made_papers import Paper, Part, archive_of, as_html, as_latex, as_pdf, made

from ml_intern.context import ToolContext
from ml_intern.documents.reading import NOTE
from ml_intern.errors import ToolError
from ml_intern.tools.reading import NO_READER, extract_recipe, read_paper

Serve = Callable[[Answer], Loopback]
Context = Callable[..., ToolContext]
PAPER = made(3)
FORMS = {
    "html": ("html", as_html(PAPER)),
    "src": ("latex", archive_of(as_latex(PAPER))),
    "pdf": ("pdf", as_pdf(PAPER)),
}
every_form = pytest.mark.parametrize("form", FORMS)


def _arxiv(*forms: str, paper: str = "", **others: Reply) -> Answer:
    """A server that has some forms of every paper, or of one."""

    def answer(asked: Asked) -> Reply:
        form, _, id = asked.path.strip("/").partition("/")
        if form in others:
            return others[form]
        if form not in forms or (paper and id != paper):
            return Reply(b"<html><body>404: not found</body></html>", 404, {"content-type": "text/html"})
        return Reply(FORMS[form][1])

    return answer


@every_form
def test_every_section_of_every_form_is_read(form: str, serve: Serve, make_context: Context) -> None:
    server = serve(_arxiv(form))
    ctx = make_context(server.url)
    page = read_paper(ctx, "2401.00001")
    assert page.source == FORMS[form][0] and page.title == PAPER.title
    assert page.url == f"{server.url}/{form}/2401.00001"
    assert [(h.number, h.title, h.level) for h in page.contents] == [
        (part.number, part.title, part.level) for part in PAPER.parts
    ]
    assert page.text.startswith(PAPER.abstract) and NOTE in page.notes
    for part in PAPER.parts:
        found = read_paper(ctx, "2401.00001", part.number or part.title)
        assert found.section == f"{part.number} {part.title}".strip()
        assert part.text in " ".join(found.text.split())
    assert "[0] " not in read_paper(ctx, "2401.00001", "references").text
    asked = server.paths()
    assert asked == list(dict.fromkeys(asked)), "each form is asked for once in a session"


def test_the_better_form_is_taken_and_what_is_not_there_is_told(serve: Serve, make_context: Context) -> None:
    for there, kind in ((("html", "src", "pdf"), "html"), (("src", "pdf"), "latex"), (("pdf",), "pdf")):
        ctx = replace_folder(make_context(serve(_arxiv(*there)).url), kind)
        page = read_paper(ctx, "2401.00001")
        assert page.source == kind
        assert (kind == "html") == (not any(note.startswith("Read from") for note in page.notes))


def replace_folder(ctx: ToolContext, name: str) -> ToolContext:
    """The same in a session of its own."""
    return replace(ctx, services=replace(ctx.services, folder=ctx.services.folder / name))


@pytest.mark.parametrize(
    "html",
    [
        b"<!DOCTYPE html><html><body><h1>No HTML for this paper</h1><p>Conversion failed.</p></body></html>",
        b"<!DOCTYPE html><html><body></body></html>",
        b"",
        b"%PDF-1.5 broken",
    ],
    ids=["a page that says no", "an empty page", "nothing", "a broken PDF"],
)
def test_a_form_that_is_no_paper_makes_way_for_the_next(
    html: bytes, serve: Serve, make_context: Context
) -> None:
    page = read_paper(make_context(serve(_arxiv("src", html=Reply(html))).url), "2401.00001")
    assert page.source == "latex" and page.title == PAPER.title
    assert any(note.startswith("Read from latex. ") for note in page.notes)


def test_a_pdf_in_the_place_of_the_source_is_read(serve: Serve, make_context: Context) -> None:
    page = read_paper(make_context(serve(_arxiv(src=Reply(FORMS["pdf"][1]))).url), "2401.00001")
    assert page.source == "pdf" and page.contents


def _sections() -> Paper:
    paper = Paper("On Numbers", "We number things.")
    for number, title, level in [
        ("4", "Reward", 1), ("4.1", "Data", 2), ("4.1.1", "Data of 1", 3), ("2", "Reward Modelling", 1),
        ("14", "Data and Reward", 1),
    ]:  # fmt: skip
        paper.parts.append(Part(number, title, level, f"Text of {number}."))
    return paper


@pytest.mark.parametrize(
    ("asked", "section"),
    [
        ("4.1", "4.1 Data"),
        ("4.1.1", "4.1.1 Data of 1"),
        ("Section 2", "2 Reward Modelling"),
        ("data", "4.1 Data"),
        ("reward", "4 Reward"),
        ("MODEL", "2 Reward Modelling"),
        ("data and", "14 Data and Reward"),
        ("4.1 Data", "4.1 Data"),
    ],
)
def test_a_number_an_exact_title_and_a_part_of_one_in_that_order(
    asked: str, section: str, serve: Serve, make_context: Context
) -> None:
    server = serve(lambda _: Reply(as_html(_sections())))
    assert read_paper(make_context(server.url), "2401.00001", asked).section == section


@pytest.mark.parametrize("asked", ["1", "4.2", "4.1.2", "nothing like it"])
def test_a_section_that_is_not_there_is_told_with_those_that_are(
    asked: str, serve: Serve, make_context: Context
) -> None:
    ctx = make_context(serve(lambda _: Reply(as_html(_sections()))).url)
    with pytest.raises(ToolError, match="There is no section") as told:
        read_paper(ctx, "2401.00001", asked)
    assert "4.1 Data; 4.1.1 Data of 1" in told.value.hint


def test_a_long_section_comes_in_pages(serve: Serve, make_context: Context) -> None:
    paper = _sections()
    paper.parts[0].text = " ".join(f"Sentence number {n} of a long section." for n in range(1500))
    ctx = make_context(serve(lambda _: Reply(as_html(paper))).url)
    page = read_paper(ctx, "2401.00001", "4")
    text, pages = page.text, 1
    while page.next_offset is not None:
        page = read_paper(ctx, "2401.00001", "4", page.next_offset)
        text, pages = text + page.text, pages + 1
    assert pages > 4 and all(f"number {n} of" in text for n in range(1500)) and "Text of 4.1.1." in text
    with pytest.raises(ToolError, match="there is nothing at"):
        read_paper(ctx, "2401.00001", "4", len(text) + 1)


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("astro-ph/0601001", "astro-ph/0601001"),
        ("math.GT/0309136v2", "math/0309136v2"),
        ("2401.00001v3", "2401.00001v3"),
        ("arXiv:2401.00001", "2401.00001"),
        ("https://arxiv.org/pdf/2401.00001v2.pdf", "2401.00001v2"),
        ("https://huggingface.co/papers/2401.00001", "2401.00001"),
        ("10.48550/arXiv.2401.00001", "2401.00001"),
        ("https://doi.org/10.48550/arxiv.astro-ph/0601001", "astro-ph/0601001"),
    ],
)
def test_a_paper_is_named_in_any_way(given: str, asked: str, serve: Serve, make_context: Context) -> None:
    server = serve(_arxiv("html", paper=asked))
    assert read_paper(make_context(server.url), given).title == PAPER.title
    assert server.paths() == [f"/html/{asked}"]


def test_a_missing_id_is_an_error_with_a_hint(serve: Serve, make_context: Context) -> None:
    server = serve(_arxiv())
    with pytest.raises(ToolError, match=r"No text of 2401\.99999 can be had \(html: .*404|not exist") as told:
        read_paper(make_context(server.url), "2401.99999")
    assert "Check the id" in told.value.hint and server.paths() == [
        f"/{form}/2401.99999" for form in ("html", "src", "pdf")
    ]
    with pytest.raises(ToolError, match="is no id of a paper") as told:
        read_paper(make_context(server.url), "attention is all you need")
    assert "search_papers" in told.value.hint and len(server.asked) == 3


def test_a_server_that_is_down_is_no_missing_paper(serve: Serve, make_context: Context) -> None:
    ctx = make_context(serve(lambda _: Reply(status=503)).url, tries=0)
    with pytest.raises(ToolError, match="status 503") as told:
        read_paper(ctx, "2401.00001")
    assert "Try again later" in told.value.hint


def _by_doi(known: Any, works: Any = None) -> Answer:
    def answer(asked: Asked) -> Any:
        if asked.path.startswith("/graph"):
            return known
        if asked.path.startswith("/works"):
            return works or Reply({"error": "no"}, 404)
        return Reply(FORMS["pdf"][1]) if asked.path == "/open.pdf" else _arxiv("html")(asked)

    return answer


def test_a_doi_leads_to_arxiv_or_to_an_open_pdf(serve: Serve, make_context: Context) -> None:
    on_arxiv = {"paperId": "a", "externalIds": {"ArXiv": "2401.00001"}}
    assert read_paper(make_context(serve(_by_doi(on_arxiv)).url), "10.1145/1.2").source == "html"
    server = serve(
        lambda asked: _by_doi({"paperId": "a", "openAccessPdf": {"url": f"{server.url}/open.pdf"}})(asked)
    )
    assert read_paper(make_context(server.url), "10.1145/1.3").source == "pdf"
    assert read_paper(make_context(serve(_by_doi(on_arxiv)).url), "CorpusId:5").source == "html"
    with pytest.raises(ToolError) as told:
        read_paper(make_context(serve(_by_doi(Reply({}, 404))).url), "CorpusId:6")
    assert "search_papers(query)" in told.value.hint
    bare = serve(_by_doi({"paperId": "a"}))
    with pytest.raises(ToolError, match=r"no open copy is known|does not exist"):
        read_paper(make_context(bare.url), "10.1145/1.4")


@pytest.mark.parametrize(
    "known", [Reply(status=429), {"paperId": "a"}], ids=["a rate limit", "no copy known"]
)
def test_the_second_source_knows_an_open_copy(known: Any, serve: Serve, make_context: Context) -> None:
    def answer(asked: Asked) -> Any:
        work = {
            "id": "https://openalex.org/W77777", "display_name": "T",
            "best_oa_location": {"pdf_url": f"{server.url}/open.pdf"},
        }  # fmt: skip
        return _by_doi(known, work)(asked)

    server = serve(answer)
    assert read_paper(make_context(server.url, tries=0), "10.1145/1.2").source == "pdf"


def _with_recipe() -> Paper:
    paper = Paper("On Recipes", "We train small models.")
    training = "We use AdamW with a learning rate of 3e-4 and a batch size of 64. We train for 2 epochs."
    results = "Our model reaches an accuracy of 81.5 on GSM8K."
    paper.parts = [Part("1", "Training details", 1, training), Part("2", "Results", 1, results)]
    paper.rows = [["Setting", "SFT", "GRPO"], ["Learning rate", "2e-5", "1e-6"]]
    return paper


RECIPES = {
    "html": as_html(_with_recipe()),
    "src": archive_of(as_latex(_with_recipe())),
    "pdf": as_pdf(_with_recipe()),
}


@every_form
def test_a_recipe_without_a_reader(form: str, serve: Serve, make_context: Context) -> None:
    server = serve(
        lambda asked: Reply(RECIPES[form]) if asked.path.startswith(f"/{form}/") else Reply(status=404)
    )
    found = extract_recipe(make_context(server.url), "2401.00001")
    settings = {f.name: f for f in found.hyperparameters}
    assert (settings["learning rate"].value, settings["batch size"].value) == ("3e-4", "64")
    assert settings["learning rate"].section == "1 Training details"
    assert "learning rate of 3e-4" in settings["learning rate"].quote
    assert ("Learning rate / SFT" in settings) == (form != "pdf")
    assert found.results[0].value == "81.5" and found.url.startswith(server.url)
    assert found.reader == "patterns" and NO_READER in found.notes and found.note == NOTE


def test_a_recipe_with_a_reader(serve: Serve, make_context: Context) -> None:
    asked: list[str] = []
    rows = [
        {
            "part": "data",
            "name": "GSM8K",
            "value": "the test of GSM8K",
            "quote": "an accuracy of 81.5 on GSM8K",
        },
        {"part": "results", "name": "accuracy", "value": "99%", "quote": "reaches an accuracy of 99%"},
    ]

    def consult(ctx: ToolContext, messages: Sequence[dict[str, str]], number: int) -> Any:
        asked.append(messages[-1]["content"])
        return SimpleNamespace(text="\n".join(map(json.dumps, rows)))

    ctx = make_context(serve(lambda _: Reply(RECIPES["html"])).url)
    ctx.services.consult = consult  # type: ignore[assignment]
    found = extract_recipe(ctx, "2401.00001")
    assert found.reader == "the session's model" and found.dropped == 1 and len(asked) == 1
    assert [(f.name, f.section, f.found_by) for f in found.data] == [("GSM8K", "2 Results", "reader")]
    assert "81.5" in {f.value for f in found.results} and "99%" not in {f.value for f in found.results}
    assert NO_READER not in found.notes and "<paper>" in asked[0]


def test_a_session_whose_playbook_answers_has_no_reader(serve: Serve, make_context: Context) -> None:
    def nobody(*_: Any) -> Any:
        raise ToolError("There is no language model here.")

    ctx = make_context(serve(lambda _: Reply(RECIPES["html"])).url)
    ctx.services.consult = nobody
    found = extract_recipe(ctx, "2401.00001")
    assert found.reader == "patterns" and NO_READER in found.notes and found.hyperparameters


def test_offline_a_paper_that_was_read_is_read_from_the_cache(serve: Serve, make_context: Context) -> None:
    server = serve(_arxiv("html"))
    read_paper(make_context(server.url), "2401.00001")
    count = len(server.asked)
    offline = replace_folder(make_context(server.url, offline=True), "another session")
    page = read_paper(offline, "2401.00001", "abstract")
    assert page.text == PAPER.abstract and len(server.asked) == count
    assert any("Offline: this is a copy from the cache" in note for note in page.notes)
    with pytest.raises(ToolError, match="the cache does not hold"):
        read_paper(offline, "2401.00002")
