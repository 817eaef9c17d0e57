"""Pages that are no paper of LaTeXML's, and pages that are made to be trouble."""

from __future__ import annotations

import time

import pytest

from ml_intern.documents import html
from ml_intern.errors import ToolError

PLAIN = """<html><head><title>T</title></head><body><main><h1>A post</h1><p>First.</p>
<h2>1. Setup</h2><p>Text &amp; <i>more</i>.</p><h3>1.1 Data</h3><ul><li>one</li><li>two <b>bold</b></li></ul>
<h2>Results</h2><table><tr><th>A</th><th colspan="2">B</th></tr><tr><td>1</td><td>2</td><td>3</td></tr></table>
<figure><img src="x"><figcaption>Figure 2: A curve.</figcaption></figure><pre>code
 here</pre></main></body></html>"""


def test_a_page_with_headings() -> None:
    document = html.read(PLAIN)
    assert document.title == "A post" and document.abstract == "First."
    assert [(s.number, s.title, s.level) for s in document.sections] == [
        ("1", "Setup", 1),
        ("1.1", "Data", 2),
        ("", "Results", 1),
    ]
    assert document.sections[0].text == "Text & more."
    assert document.sections[1].text == "- one\n\n- two bold"
    assert document.tables[0].rows == [["A", "B", ""], ["1", "2", "3"]]
    assert [(f.number, f.caption) for f in document.figures] == [("2", "A curve.")]
    assert "```\ncode\n here\n```" in document.sections[2].text


def test_charsets() -> None:
    assert html.read("<p>é — ü</p>".encode()).abstract == "é — ü"
    page = '<meta charset="iso-8859-1"><p>é ü</p>'.encode("latin-1")
    assert html.read(page).abstract == "é ü"
    assert (
        html.read('<?xml version="1.0" encoding="utf-8"?><html><body><p>x</p></body></html>').abstract == "x"
    )


@pytest.mark.parametrize(
    "piece", ["<div>", "<span>", "<p>", "<table><tr><td>", "<h2>x", "<li>", "<math>", "<figure>"]
)
def test_what_is_nested_without_end_is_read_in_bounded_time(piece: str) -> None:
    began = time.process_time()
    try:
        html.read("<html><body>" + piece * 20_000 + "end")
    except ToolError:
        pass
    assert time.process_time() - began < 20


@pytest.mark.parametrize("page", ["", "   ", "<!-- only -->"])
def test_what_is_no_page_is_refused_or_empty(page: str) -> None:
    try:
        assert html.read(page).sections == []
    except ToolError as error:
        assert "cannot be read" in error.message
