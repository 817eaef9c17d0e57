"""Which section is meant: number, exact title, part of a title, in that order."""

from __future__ import annotations

import pytest

from ml_intern.documents.finding import find
from ml_intern.documents.model import Document, Section
from ml_intern.errors import ToolError

HEADINGS = [
    ("1", "Introduction", 1),
    ("4", "Method 4.1", 1),
    ("4.1", "Training", 2),
    ("4.1.1", "Training data", 3),
    ("4.10", "Data", 2),
    ("", "Stage 1", 1),
    ("11", "Data sources of 2024", 1),
    ("A", "Proofs", 1),
    ("A.2", "A longer proof", 2),
    ("", "Limitations", 1),
]


@pytest.fixture
def document() -> Document:
    return Document("html", sections=[Section(*heading) for heading in HEADINGS])


@pytest.mark.parametrize(
    ("asked", "heading"),
    [
        ("1", "1 Introduction"),
        ("4", "4 Method 4.1"),
        ("4.1", "4.1 Training"),
        ("Section 4.1", "4.1 Training"),
        ("sec. 4.1.1", "4.1.1 Training data"),
        ("4.10", "4.10 Data"),
        ("11", "11 Data sources of 2024"),
        ("Appendix A", "A Proofs"),
        ("a.2", "A.2 A longer proof"),
        ("data", "4.10 Data"),
        ("Training", "4.1 Training"),
        ("4.1 Training", "4.1 Training"),
        ("  limitations. ", "Limitations"),
        ("longer", "A.2 A longer proof"),
        ("sources", "11 Data sources of 2024"),
        ("stage 1", "Stage 1"),
    ],
)
def test_what_is_meant(document: Document, asked: str, heading: str) -> None:
    assert document.sections[find(document, asked)].heading == heading


@pytest.mark.parametrize("asked", ["2", "0", "4.2", "1.1", "2024", "B", "", "nothing like it"])
def test_what_is_nowhere(document: Document, asked: str) -> None:
    with pytest.raises(ToolError) as refused:
        find(document, asked)
    assert "4.1.1 Training data" in refused.value.hint


def test_a_section_brings_its_subsections(document: Document) -> None:
    assert [document.sections[i].number for i in document.below(1)] == ["4", "4.1", "4.1.1", "4.10"]
    assert "#### 4.1.1 Training data" in document.text_of(2)
