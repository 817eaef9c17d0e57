"""The same paper from LaTeX, HTML and PDF: every section is found, at its level, with its text."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from support.made_papers import Paper, archive_of, as_html, as_latex, as_pdf, made

from ml_intern.documents.model import Document
from ml_intern.documents.reading import document_of, read_section
from ml_intern.errors import ToolError

SEEDS = range(4)


MAKERS: dict[str, Callable[[Paper], bytes]] = {
    "latex": lambda paper: archive_of(as_latex(paper)),
    "html": as_html,
    "pdf": as_pdf,
}


@pytest.fixture(scope="module")
def documents() -> dict[tuple[int, str], tuple[Paper, Document]]:
    """Each made paper, read from each version."""
    found = {}
    for seed in SEEDS:
        paper = made(seed)
        for kind, make in MAKERS.items():
            found[seed, kind] = (paper, document_of(make(paper)))
    return found


versions = pytest.mark.parametrize(("seed", "kind"), [(s, k) for s in SEEDS for k in MAKERS])


@versions
def test_every_section_is_found_with_its_text(documents: Any, seed: int, kind: str) -> None:
    paper, document = documents[seed, kind]
    assert document.kind == kind and document.title == paper.title
    assert [(s.number, s.title, s.level) for s in document.sections] == [
        (part.number, part.title, part.level) for part in paper.parts
    ]
    for part, section in zip(paper.parts, document.sections, strict=True):
        assert " ".join(section.text.split()).startswith(part.text)


@versions
def test_abstract_references_and_table(documents: Any, seed: int, kind: str) -> None:
    paper, document = documents[seed, kind]
    assert document.abstract == paper.abstract
    assert [r.text for r in document.references] == paper.references
    assert [t.caption for t in document.tables] == ["Settings."]
    assert document.tables[0].rows == ([] if kind == "pdf" else paper.rows)
    assert "Learning rate" in document.sections[-1].text or kind == "html"


@versions
def test_each_number_leads_to_its_section_and_to_no_other(documents: Any, seed: int, kind: str) -> None:
    paper, document = documents[seed, kind]
    for part in paper.parts:
        if part.number:
            for asked in (part.number, f"Section {part.number}", f"§{part.number}."):
                page = read_section(document, asked)
                assert page.section == f"{part.number} {part.title}"
        assert read_section(document, part.title).section.endswith(part.title)
    with pytest.raises(ToolError) as refused:
        read_section(document, "9.9")
    assert paper.parts[0].title in refused.value.hint


def test_reading_pages_by_offset_gives_the_whole_section(documents: Any) -> None:
    paper, document = documents[0, "latex"]
    chance = random.Random(0)
    for part in document.sections[:1]:
        part.text = "\n\n".join("".join(chance.choices("abcdef ", k=300)) + "." for _ in range(100))
    whole = document.text_of(0)
    text, offset = "", 0
    while True:
        page = read_section(document, paper.parts[0].number, offset)
        assert len(page.text) <= 8_000
        text += page.text
        if page.next_offset is None:
            break
        offset = page.next_offset
    assert text == whole


def test_without_a_section_the_contents_come(documents: Any) -> None:
    paper, document = documents[1, "html"]
    page = read_section(document)
    assert [h.title for h in page.contents] == [part.title for part in paper.parts]
    assert page.text.startswith(paper.abstract) and "References (4)" in page.text
    assert read_section(document, "references").text.count("A. Author.") == 4
    assert read_section(document, "Abstract").text == paper.abstract


@pytest.mark.parametrize("cut", [0, 1, 100, 1500])
@pytest.mark.parametrize("kind", MAKERS)
def test_what_is_cut_off_is_read_as_far_as_it_goes_or_refused(kind: str, cut: int) -> None:
    data = MAKERS[kind](made(0))[:cut]
    try:
        assert document_of(data, kind).kind == kind  # type: ignore[arg-type]
    except ToolError as error:
        assert error.message


def test_bytes_that_are_nothing_are_refused_in_words() -> None:
    for data in (b"", b"\x00" * 2000, b"%PDF-1.5\n" + b"x" * 500, b"\x1f\x8b" + b"junk" * 50):
        with pytest.raises(ToolError):
            read_section(document_of(data), "1")
