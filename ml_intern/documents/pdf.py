"""A paper's PDF: its headings are told from the body by their size, their weight and their numbers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_intern.documents.model import Document, Figure, Reference, Section, Table
from ml_intern.errors import ToolError

MOST_BYTES = 128 << 20
TIMEOUT_S = 180.0
READER = Path(__file__).with_name("pdf_lines.py")

_NUMBERED = re.compile(
    r"^(?:Appendix\s+)?((?:\d{1,2}|[A-Z])(?:\.\d{1,2})*|[IVX]{1,5})[.:]?\s+(?=[A-Z0-9“(])(.{2,})$"
)
_KNOWN = {
    "abstract", "introduction", "related work", "background", "method", "methods", "methodology",
    "experiments", "results", "discussion", "conclusion", "conclusions", "limitations", "references",
    "bibliography", "appendix", "acknowledgments", "acknowledgements", "acknowledgment", "ethics statement",
    "reproducibility statement", "broader impact", "impact statement", "conclusion and future work",
}  # fmt: skip
_CAPTION = re.compile(r"^(Table|Figure|Fig\.)\s*([A-Z]?\.?\d+(?:\.\d+)*)\s*[:.|]\s*(.*)$")
_ENTRY = re.compile(r"^\[(\w{1,12})\]\s+(.*)$")


@dataclass
class _Line:
    text: str
    size: float
    bold: bool
    page: int
    x: float
    y: float


def read(data: bytes) -> Document:
    """The document of a PDF.

    Raises:
        ToolError: It is none, it is locked, or it has no text.
    """
    if len(data) > MOST_BYTES:
        raise ToolError(f"The PDF is larger than {MOST_BYTES >> 20} MB.")
    told = _told(data)
    lines = [_Line(*row) for row in told["lines"]]
    if not lines:
        raise ToolError("The PDF has no text; it may be a scan.")
    document = _document(_without_margins(lines))
    document.title = document.title or str(told["title"])
    if told["read"] < told["pages"]:
        document.notes.append(f"The first {told['read']} of {told['pages']} pages were read.")
    document.notes.append("Read from a PDF: tables are lines of text, equations are not told apart.")
    return document


def _told(data: bytes) -> dict[str, Any]:
    try:
        done = subprocess.run(
            [sys.executable, "-I", str(READER)],
            input=data,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        if done.returncode == 0:
            told: dict[str, Any] = json.loads(done.stdout)
            return told
    except subprocess.TimeoutExpired:
        raise ToolError(f"Reading the PDF took longer than {TIMEOUT_S:.0f} s.") from None
    except ValueError:
        raise ToolError("The PDF cannot be read.") from None
    last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["its reader ended"]
    raise ToolError(f"The PDF cannot be read: {last[0][:200]}.")


def _without_margins(lines: list[_Line]) -> list[_Line]:
    """Without page numbers, and what stands at the same place on most pages."""
    pages = len({line.page for line in lines})
    seen = Counter((re.sub(r"\d+", "#", line.text.strip()), round(line.y / 4)) for line in lines)
    kept = []
    for line in lines:
        shape = re.sub(r"\d+", "#", line.text.strip())
        repeated = pages > 2 and seen[shape, round(line.y / 4)] > pages / 2
        stamp = line.text.startswith("arXiv:") and line.page == 0
        if not (repeated or shape == "#" or stamp):
            kept.append(line)
    return kept


def _document(lines: list[_Line]) -> Document:
    document = Document("pdf")
    sizes: Counter[float] = Counter()
    for line in lines:
        sizes[line.size] += len(line.text)
    body = sizes.most_common(1)[0][0]
    start = _title(document, lines, body)
    parts: dict[int, list[_Line]] = {-1: []}
    open_at = -1
    for line in lines[start:]:
        heading = _heading(line, body, document)
        if heading and not _continues(document, parts[open_at], heading, line):
            document.sections.append(heading)
            open_at = len(document.sections) - 1
            parts[open_at] = []
        elif not heading:
            parts[open_at].append(line)
    _fill(document, parts)
    return document


def _title(document: Document, lines: list[_Line], body: float) -> int:
    """The largest lines of the first page; where the text goes on behind them."""
    first = [line for line in lines if line.page == 0][:40]
    largest = max((line.size for line in first), default=0.0)
    if largest <= body + 1:
        return 0
    places = [place for place, line in enumerate(first) if line.size >= largest - 0.3]
    run = [p for p in places if p - places[0] < len(places) + 2]
    document.title = " ".join(" ".join(first[p].text for p in run).split())
    return run[-1] + 1


def _heading(line: _Line, body: float, document: Document) -> Section | None:
    """The heading that a line is, if it is one: set apart by size or weight, and numbered or well known."""
    text = " ".join(line.text.split())
    larger, strong = line.size >= body + 0.8, line.bold or line.size >= body + 0.8
    if not strong or len(text) > 150 or _CAPTION.match(text) or text.endswith((",", ";")):
        return None
    if hit := _NUMBERED.match(text):
        number, title = hit[1], hit[2].strip()
        if re.search(r"[A-Za-z]{2}", title) and _follows(number, document):
            return Section(number, title, number.count(".") + 1)
    name = text.casefold().strip(" .:")
    if name in _KNOWN or (larger and line.bold and re.match(r"[A-Z]", text) and document.sections):
        return Section("", text.strip(" .:"), 1)
    return None


def _follows(number: str, document: Document) -> bool:
    """Whether a number can come next: 4.1 comes after 4 or 4.0, and no section 17 comes after 2."""
    seen = [s.number for s in document.sections if s.number]
    parent, _, last = number.rpartition(".")
    if parent:
        return any(n in (parent, number) or n.startswith(f"{parent}.") for n in seen)
    if not number.isdigit():  # an appendix, or Roman numbers; not the initials of an author
        return bool(seen) or number == "I"
    tops = [int(n) for n in (s.partition(".")[0] for s in seen) if n.isdigit()]
    return int(last) <= max(tops, default=0) + 2


def _continues(document: Document, below: list[_Line], heading: Section, line: _Line) -> bool:
    """Whether it is the second line of a long heading."""
    if below or heading.number or not document.sections or heading.title.casefold() in _KNOWN:
        return False
    document.sections[-1].title += f" {heading.title}"
    return True


def _fill(document: Document, parts: dict[int, list[_Line]]) -> None:
    """Each section's lines as text; the abstract and the references are taken out."""
    kept: list[Section] = []
    front = _paragraphs(parts.get(-1, []))
    for place, section in enumerate(document.sections):
        lines = parts[place]
        name = section.title.casefold()
        _captions(document, lines, len(kept))
        if name == "abstract" and not document.abstract:
            document.abstract = _paragraphs(lines)
        elif name in ("references", "bibliography") and not document.references:
            document.references = _references(lines)
        else:
            section.text = _paragraphs(lines)
            kept.append(section)
    document.sections = kept
    if not document.abstract:
        document.abstract = front.partition("Abstract")[2].strip() if "Abstract" in front else front
    if not kept:
        document.sections = [Section("", document.title or "Text", 1, front)]


def _paragraphs(lines: list[_Line]) -> str:
    """Lines joined; a new paragraph where there is a gap, words that were divided made whole."""
    text = ""
    above: _Line | None = None
    for line in lines:
        part = " ".join(line.text.split())
        gap = above is not None and (above.y - line.y) > 1.9 * max(line.size, 1) and above.page == line.page
        if _CAPTION.match(part) or gap:
            text = f"{text.rstrip()}\n\n{part}"
        elif re.search(r"[a-z]-$", text) and part[:1].islower():
            text = text[:-1] + part
        else:
            text = f"{text}\n{part}" if above is not None and _table_like(above, line) else f"{text} {part}"
        above = line
    return text.strip()


def _table_like(above: _Line, line: _Line) -> bool:
    """Rows of a table stay lines: mostly numbers, both of them."""
    return all(
        sum(c.isdigit() for c in one.text) > 0.25 * len(one.text.replace(" ", "")) for one in (above, line)
    )


def _captions(document: Document, lines: list[_Line], section: int) -> None:
    for place, line in enumerate(lines):
        if hit := _CAPTION.match(" ".join(line.text.split())):
            more = [one.text for one in lines[place + 1 : place + 4] if abs(one.size - line.size) < 0.2]
            caption = hit[3] if hit[3].endswith(".") or not more else _sentence(f"{hit[3]} {' '.join(more)}")
            if hit[1] == "Table":
                document.tables.append(Table(hit[2], caption, [], section))
            else:
                document.figures.append(Figure(hit[2], caption, section))


def _sentence(text: str) -> str:
    return " ".join(text.split()).partition(". ")[0].rstrip(".") + "."


def _references(lines: list[_Line]) -> list[Reference]:
    """Entries with a key in brackets; else those that hang: their first lines begin further left."""
    found: list[Reference] = []
    left = min((line.x for line in lines), default=0)
    for line in lines:
        text = " ".join(line.text.split())
        if hit := _ENTRY.match(text):
            found.append(Reference(hit[1], hit[2]))
        elif found and (found[-1].key or line.x > left + 3):
            joined = (
                found[-1].text.removesuffix("-")
                if re.search(r"[a-z]-$", found[-1].text)
                else found[-1].text + " "
            )
            found[-1].text = joined + text
        else:
            found.append(Reference("", text))
    return found
