"""A session that has read papers: its report links them and draws their citations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.loopback import Asked, Loopback, Reply
from support.made_papers import as_html, made
from support.paper_answers import Literature
from support.scripted_runs import Played, cell, play

from ml_intern.papers.graph import Graph
from ml_intern.papers.ids import parse_id
from ml_intern.papers.model import Paper
from ml_intern.reports import read_story, report_html, report_markdown, write_report

PAPER = made(5)
CODE = """
read_paper("arXiv:2401.00001v2")
page = read_paper("2401.00001", "1")
for id in ("2401.99999", "no paper"):
    try:
        read_paper(id)
    except Exception as error:
        print(error)
graph = citation_graph("2401.00000", depth=2, max_papers=20)
final_answer(page.section)
"""


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Played:
    literature = Literature(40)

    def answer(asked: Asked) -> Any:
        if asked.path.startswith("/graph"):
            return literature.answer(asked)
        return Reply(as_html(PAPER)) if "2401.00001" in asked.path else Reply(b"", 404)

    monkeypatch.chdir(tmp_path)
    with Loopback(answer) as server:
        names = ("arxiv-site", "semantic-scholar", "openalex")
        mirrors = dict.fromkeys(names, server.url)
        return play([cell(CODE)], tmp_path / "state", web_mirrors=mirrors, web_cache=tmp_path / "web")


def test_papers_are_linked_once_and_citations_are_drawn(played: Played) -> None:
    assert played.result.answer.startswith("1 ")
    story = read_story(played.session.folder)
    assert story.record.papers == {
        "2401.00001v2": PAPER.title,
        "2401.00000": "Paper number 0 about attention attention attention",
    }
    text = report_markdown(story)
    assert f"- {PAPER.title} <https://arxiv.org/abs/2401.00001v2>" in text
    assert "20 papers, " in text and "2401.99999" not in text.partition("## Papers")[2].partition("\n## ")[0]
    page = report_html(story)
    assert '<a href="https://arxiv.org/abs/2401.00001v2">' in page
    assert page.count("<circle") == 20 and "Citations of Paper number 0" in page
    assert write_report(played.session.folder).is_file()


def test_words_of_others_draw_nothing_of_their_own(tmp_path: Path) -> None:
    evil = "</svg><script>alert(1)</script> [x](javascript:y)\x00\x1b"
    graph = Graph.of(Paper(id="2401.00001", title=evil, ids={"arxiv": "2401.00001"}), "both")
    graph.add(Paper(id='10.1/"><script>', title=evil, year=2020, ids={"doi": '10.1/"><script>'}), 1)
    graph.save(tmp_path / "papers" / "g.json")
    (tmp_path / "papers" / "broken.json").write_text("{")
    (tmp_path / "papers" / "other.txt").write_text("no graph")
    story = read_story(tmp_path)
    assert len(story.graphs) == 1
    page = report_html(story)
    assert "<script" not in page and "\x1b" not in page and 'href="javascript' not in page


@pytest.mark.parametrize(
    ("id", "url"),
    [
        ("2401.00001v2", "https://arxiv.org/abs/2401.00001v2"),
        ("math.GT/0309136", "https://arxiv.org/abs/math/0309136"),
        ("10.1000/a(b)<c>d", "https://doi.org/10.1000/a%28b%29%3Cc%3Ed"),
        ("W2741809807", "https://openalex.org/W2741809807"),
        ("CorpusId:5", "https://api.semanticscholar.org/CorpusID:5"),
    ],
)
def test_every_id_has_a_page(id: str, url: str) -> None:
    assert parse_id(id).url == url
