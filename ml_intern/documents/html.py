"""A paper's HTML: what LaTeXML makes (arXiv, ar5iv), and any page with headings."""

from __future__ import annotations

import re
from typing import Any

from ml_intern.documents.model import (
    MOST_CHARS,
    Document,
    Equation,
    Figure,
    Reference,
    Section,
    Table,
    markdown_table,
)
from ml_intern.errors import ToolError

MOST_BYTES = 64 << 20
DEEPEST = 400

_LEVELS = {
    "part": 1, "chapter": 1, "section": 1, "appendix": 1, "subsection": 2, "subsubsection": 3, "paragraph": 4,
    "subparagraph": 5,
}  # fmt: skip
_SKIP = {
    "script",
    "style",
    "nav",
    "header",
    "footer",
    "button",
    "svg",
    "template",
    "noscript",
    "head",
    "annotation",
}
_BLOCKS = {
    "p",
    "div",
    "section",
    "article",
    "ul",
    "ol",
    "blockquote",
    "pre",
    "dl",
    "dd",
    "dt",
    "main",
    "body",
}
_NUMBERED = re.compile(r"^((?:\d+|[A-Z])(?:\.\d+)*)\.?\s+(?=\S)")
_CAPTION = re.compile(
    r"^(Table|Figure|Fig\.|Algorithm|Listing)\s*([A-Z]?\.?\d+(?:\.\d+)*)\s*[:.|–-]?\s*", re.I
)


def read(data: bytes | str) -> Document:
    """The document of a page.

    Raises:
        ToolError: It is no page that can be read.
    """
    from lxml import etree, html  # type: ignore[import-untyped]

    if len(data) > MOST_BYTES:
        raise ToolError(f"The page is larger than {MOST_BYTES >> 20} MB.")
    try:
        if isinstance(data, bytes):
            root = html.fromstring(data, parser=html.HTMLParser(encoding=_charset(data)))
        else:
            root = html.fromstring(re.sub(r"^\s*<\?xml[^>]*\?>", "", data))
    except (etree.ParserError, etree.XMLSyntaxError, ValueError, LookupError) as error:
        raise ToolError(f"The page cannot be read: {error}.") from None
    reader = _Reader(root)
    reader.document.notes += ["The document was longer; the rest is left out."] if reader.full else []
    return reader.document


def _charset(data: bytes) -> str:
    """UTF-8 where it is; else what the page says of itself."""
    try:
        data.decode("utf-8")
        return "utf-8"
    except UnicodeDecodeError:
        named = re.search(rb"charset=[\"']?([\w-]+)", data[:4096])
        return named[1].decode("ascii", "replace") if named else "latin-1"


class _Reader:
    """Walks a page once, in the order of reading."""

    def __init__(self, root: Any) -> None:
        self.document = Document("html")
        self.full = False
        self._parts: list[str] = []
        self._size = 0
        self._latexml = bool(root.xpath("//*[contains(@class,'ltx_document')]"))
        found = root.xpath("//*[contains(@class,'ltx_document')] | //article | //main")
        self._head(root)
        self._walk(found[0] if found else root, 0)
        self._close()

    def _head(self, root: Any) -> None:
        titles = root.xpath("//h1[contains(@class,'ltx_title_document')]") or root.xpath("//h1")
        self._title = titles[0] if titles else None
        named = self._title if self._title is not None else next(iter(root.xpath("//title")), None)
        self.document.title = _line(inline(named)) if named is not None else ""
        people = root.xpath("//*[contains(@class,'ltx_personname')]")
        self.document.authors = [name for person in people[:100] if (name := _line(inline(person)))]

    def _close(self) -> None:
        """The text up to here belongs to the section that is open."""
        text = re.sub(r"\n{3,}", "\n\n", "\n\n".join(p for p in self._parts if p.strip())).strip()
        self._parts = []
        if self.document.sections:
            self.document.sections[-1].text = text
        elif text and not self.document.abstract:
            self.document.abstract = text

    def _add(self, text: str) -> None:
        if self._size > MOST_CHARS:
            self.full = True
            return
        self._size += len(text)
        self._parts.append(text)

    @property
    def _here(self) -> int:
        return len(self.document.sections) - 1

    def _walk(self, node: Any, depth: int) -> None:
        if not isinstance(node.tag, str) or node.tag in _SKIP or node is self._title:
            return
        classes = set((node.get("class") or "").split())
        if depth > DEEPEST:
            self._add(_line(node.text_content()))
        elif "ltx_abstract" in classes or node.get("id") == "abstract":
            self.document.abstract = self._apart(node, depth)
        elif classes & {"ltx_bibliography", "ltx_biblist"}:
            self._bibliography(node)
        elif re.fullmatch(r"h[1-6]", node.tag):
            self._heading(node, " ".join(classes))
        elif classes & {"ltx_equation", "ltx_eqn_table", "ltx_equationgroup"}:
            self._equation(node)
        elif node.tag == "figure" or classes & {"ltx_table", "ltx_figure"}:
            self._float(node)
        elif node.tag == "table":
            self._table(node, "", "")
        elif not classes & {"ltx_authors", "ltx_page_footer", "ltx_dates"}:
            self._block(node, depth)

    def _block(self, node: Any, depth: int) -> None:
        if node.tag in ("p", "dt", "blockquote") or "ltx_p" in (node.get("class") or "").split():
            self._inline(node)
        elif node.tag == "pre":
            self._add(f"```\n{node.text_content().strip()}\n```")
        elif node.tag == "li":
            before = len(self._parts)
            self._loose(node, depth)
            if len(self._parts) > before:
                self._parts[before] = f"- {self._parts[before]}"
        else:
            self._loose(node, depth)

    def _inline(self, node: Any) -> None:
        """A paragraph; a display inside of it is taken out of it."""
        for part in node.xpath(".//table | .//figure"):
            self._walk(part, 1)
        self._add(_line(inline(node)))

    def _loose(self, node: Any, depth: int) -> None:
        """Blocks below, and text that stands between them."""
        run = [node.text or ""]
        for child in node:
            if _is_block(child):
                self._add(_line("".join(run)))
                run = []
                self._walk(child, depth + 1)
            else:
                run.append(inline(child))
            run.append(child.tail or "")
        self._add(_line("".join(run)))

    def _apart(self, node: Any, depth: int) -> str:
        """A part's text, its own heading left out."""
        kept, self._parts = self._parts, []
        for child in node:
            if not (isinstance(child.tag, str) and re.fullmatch(r"h[1-6]", child.tag)):
                self._walk(child, depth + 1)
        text = "\n\n".join(p for p in self._parts if p.strip()).strip()
        self._parts = kept
        return text or _line(node.text_content())

    def _heading(self, node: Any, classes: str) -> None:
        kind = re.search(r"ltx_title_(\w+)", classes)
        text = _line(inline(node))
        if not text or (kind and kind[1] not in _LEVELS):
            self._add(f"**{text}**" if text else "")
            return
        level = _LEVELS[kind[1]] if kind else max(int(node.tag[1]) - 1, 1)
        tags = node.xpath(".//*[contains(@class,'ltx_tag')]")
        number = _line(inline(tags[0])) if tags else ""
        title = text.removeprefix(number).strip() if tags else _NUMBERED.sub("", text)
        if not tags and (hit := _NUMBERED.match(text)):
            number = hit[1]
        if title.casefold() == "abstract" and not kind:
            self._close()
            self.document.sections.append(Section("", "Abstract", level))
            return
        self._close()
        number = re.sub(r"^(?:Appendix|Chapter|Part|Section|§)\s*", "", number).strip(" .")
        self.document.sections.append(Section(number, title, level))

    def _float(self, node: Any) -> None:
        classes = (node.get("class") or "").split()
        captions = node.xpath("./figcaption | ./caption | .//figcaption | .//caption")
        number, caption = _caption(_line(inline(captions[0]))) if captions else ("", "")
        tables = node.xpath(".//table[not(ancestor::table)]")
        kind = _CAPTION.match(_line(inline(captions[0]))) if captions else None
        if "ltx_table" in classes or (tables and not (kind and kind[1].lower().startswith("fig"))):
            rows = [row for table in tables for row in _rows(table)] or _span_rows(node)
            self._put_table(number, caption, rows)
        else:
            self.document.figures.append(Figure(number, caption, self._here))
            self._add(f"[Figure {number}: {caption}]" if caption else "")

    def _table(self, node: Any, number: str, caption: str) -> None:
        self._put_table(number, caption, _rows(node))

    def _put_table(self, number: str, caption: str, rows: list[list[str]]) -> None:
        if rows or caption:
            self.document.tables.append(Table(number, caption, rows, self._here))
            self._add(f"Table {number}: {caption}".replace(" :", ":") if caption or number else "")
            self._add(markdown_table(rows))

    def _equation(self, node: Any) -> None:
        for row in node.xpath(".//tr[.//math]") or [node]:
            tex = " ".join(m.get("alttext") or _line(m.text_content()) for m in row.xpath(".//math"))
            tags = row.xpath(".//*[contains(@class,'ltx_tag_equation')]")
            number = _line(inline(tags[0])).strip("()") if tags else ""
            if tex.strip():
                self.document.equations.append(Equation(number, tex, self._here))
                self._add(f"$${tex}$$" + (f" ({number})" if number else ""))

    def _bibliography(self, node: Any) -> None:
        for item in node.xpath(".//*[contains(@class,'ltx_bibitem')] | .//li"):
            tags = item.xpath("./*[contains(@class,'ltx_tag')]")
            key = _line(inline(tags[0])) if tags else ""
            text = _line(inline(item)).removeprefix(key).strip()
            known = [r.text for r in self.document.references[-1:]]
            if text and text not in known:
                self.document.references.append(Reference(key.strip("[]()"), text))


def _is_block(node: Any) -> bool:
    """Whether an element stands on lines of its own, itself or by what is in it."""
    if not isinstance(node.tag, str):
        return False
    if node.tag in _BLOCKS | _SKIP | {"table", "figure", "li"} or re.fullmatch(r"h[1-6]", node.tag):
        return True
    return bool(node.xpath("boolean(.//p|.//div|.//table|.//figure|.//h2|.//h3)"))


def inline(node: Any, depth: int = 0) -> str:
    """The text of an element on one line: mathematics as TeX, links as their text."""
    if not isinstance(node.tag, str) or node.tag in _SKIP:
        return ""
    if node.tag == "math":
        return f"${node.get('alttext') or _line(node.text_content())}$"
    if node.tag == "br":
        return " "
    if depth > DEEPEST:
        return str(node.text_content())
    if node.tag in ("table", "figure"):
        return ""
    if "ltx_note" in (node.get("class") or "") and node.tag == "span":
        notes = node.xpath(".//*[contains(@class,'ltx_note_content')]")
        return f" (note: {_line(notes[0].text_content())})" if notes else ""
    parts = [node.text or ""]
    for child in node:
        parts += [inline(child, depth + 1), child.tail or ""]
    return "".join(parts)


def _line(text: str) -> str:
    return " ".join(text.split())


def _caption(text: str) -> tuple[str, str]:
    found = _CAPTION.match(text)
    return (found[2], text[found.end() :].strip()) if found else ("", text)


def _rows(table: Any) -> list[list[str]]:
    """The cells of a table; one that reaches over several is repeated as empty cells."""
    rows: list[list[str]] = []
    for row in table.xpath("./tr | ./thead/tr | ./tbody/tr | ./tfoot/tr"):
        cells: list[str] = []
        for cell in row.xpath("./td | ./th"):
            wide = cell.get("colspan") or "1"
            inner = " ".join(" / ".join(r) for t in cell.xpath("./table | ./*/table") for r in _rows(t))
            cells.append(_line(f"{inline(cell)} {inner}"))
            cells += [""] * (min(int(wide), 100) - 1 if wide.isdigit() else 0)
        if any(cells):
            rows.append(cells)
    return rows


def _span_rows(node: Any) -> list[list[str]]:
    """LaTeXML writes some tables as spans."""
    found = []
    for row in node.xpath(".//*[contains(concat(' ',@class,' '),' ltx_tr ')]"):
        cells = [_line(inline(c)) for c in row.xpath("./*[contains(concat(' ',@class,' '),' ltx_td ')]")]
        found += [cells] if any(cells) else []
    return found
