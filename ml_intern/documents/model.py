"""What a document is, whatever it was read from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["html", "latex", "pdf"]

MOST_CHARS = 6_000_000
"""Of a document's text; a longer one is cut there, and a note says so."""


@dataclass
class Section:
    """A heading with what stands below it, up to the next heading.

    Attributes:
        number: ``4.1``, ``A``; empty where it has none.
        level: 1 for a section, 2 for a subsection, and so on.
        text: Its own text; what stands in its subsections is theirs.
    """

    number: str
    title: str
    level: int
    text: str = ""

    @property
    def heading(self) -> str:
        """Number and title."""
        return f"{self.number} {self.title}".strip()


@dataclass
class Table:
    """A table. `rows` is empty where the source tells only its text, as a PDF does.

    Attributes:
        section: Index of the section that it stands in, -1 before the first.
    """

    number: str
    caption: str
    rows: list[list[str]]
    section: int


@dataclass
class Equation:
    """A displayed equation, in TeX."""

    number: str
    tex: str
    section: int


@dataclass
class Figure:
    """A figure's caption."""

    number: str
    caption: str
    section: int


@dataclass
class Reference:
    """An entry of the bibliography, as it is written there."""

    key: str
    text: str


@dataclass
class Document:
    """A paper. `sections` are in the order of reading; subsections follow theirs, with a higher level.

    Attributes:
        url: Where it was read.
    """

    kind: Kind
    title: str = ""
    authors: list[str] = field(default_factory=list)
    abstract: str = ""
    sections: list[Section] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    equations: list[Equation] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    url: str = ""

    def below(self, index: int) -> range:
        """A section and its subsections."""
        level = self.sections[index].level
        end = index + 1
        while end < len(self.sections) and self.sections[end].level > level:
            end += 1
        return range(index, end)

    def text_of(self, index: int) -> str:
        """A section with its subsections, in Markdown."""
        parts = []
        for place in self.below(index):
            section = self.sections[place]
            parts.append(f"{'#' * min(section.level + 1, 6)} {section.heading}\n\n{section.text}".strip())
        return "\n\n".join(parts)

    def heading_of(self, index: int) -> str:
        """The heading that something stands under."""
        return self.sections[index].heading if 0 <= index < len(self.sections) else "Abstract"


def markdown_table(rows: list[list[str]]) -> str:
    """Rows as a Markdown table; the first is the header."""
    width = max(map(len, rows), default=0)
    lines = [
        "| "
        + " | ".join(
            cell.replace("|", "\\|").replace("\n", " ") for cell in [*row, *[""] * (width - len(row))]
        )
        + " |"
        for row in rows
    ]
    return "\n".join([lines[0], "|" + " --- |" * width, *lines[1:]]) if lines else ""
