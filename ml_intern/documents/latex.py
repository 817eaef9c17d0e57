"""A paper's LaTeX: sections with the numbers that LaTeX would give them, tables, equations, captions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from ml_intern.documents import archive
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
from ml_intern.documents.tex_source import assembled
from ml_intern.documents.tex_text import braced, expanded, macros, optional, plain
from ml_intern.errors import ToolError

LEVELS = {"chapter": 0, "section": 1, "subsection": 2, "subsubsection": 3, "paragraph": 4, "subparagraph": 5}
EQUATIONS = ("equation", "align", "gather", "multline", "eqnarray", "displaymath", "flalign", "alignat")
DEEPEST_NUMBER = 3

_EVENT = re.compile(
    r"\\(?P<head>chapter|section|subsection|subsubsection|paragraph|subparagraph)(?P<star>\*?)(?![a-zA-Z])"
    r"|\\(?P<appendix>appendix)(?![a-zA-Z])|\\begin\{(?P<appendices>appendices)\}"
    r"|\\begin\{(?P<env>(?:table|sidewaystable|wraptable|longtable|figure|wrapfigure|tabular|tabularx|tabulary|"
    rf"abstract|thebibliography|tikzpicture|{'|'.join(EQUATIONS)})\*?)\}}|(?P<display>\\\[|\$\$)"
    r"|\\label\s*\{(?P<label>[^{}]*)\}"
)


def read(data: bytes | Mapping[str, str]) -> Document:
    """The document of a paper's source: an archive as arXiv sends it, or its texts by their paths.

    Raises:
        ToolError: It is no source, or there is nothing of a paper in it.
    """
    files = archive.files(data) if isinstance(data, bytes) else dict(data)
    if not files:
        raise ToolError("The source has no TeX in it.", "Read the PDF.")
    text, missing = assembled(files)
    known, text = macros(text)
    reader = _Reader(expanded(text[:MOST_CHARS], known))
    if missing:
        reader.document.notes.append(f"Not in the source: {', '.join(dict.fromkeys(missing))[:500]}.")
    if len(text) > MOST_CHARS:
        reader.document.notes.append("The document was longer; the rest is left out.")
    return reader.document


class _Reader:
    """Walks the text twice: numbers and labels first, then the text with its references."""

    def __init__(self, text: str) -> None:
        self.document = Document("latex")
        self.labels: dict[str, str] = {}
        self._counts = [0] * 6
        self._floats = {"table": 0, "figure": 0, "equation": 0}
        self._appendix = False
        self._chapters = "\\chapter" in text
        head, _, body = text.partition("\\begin{document}")
        body = (body or head).partition("\\end{document}")[0]
        self._raw: list[str] = [""]
        self._held: list[str] = []
        self._walk(body)
        self._head(head if "\\begin{document}" in text else "", body)
        self._write()

    def _head(self, head: str, body: str) -> None:
        for part in (body, head):
            hit = re.search(r"\\(?:icml|ijcai)?title(?:running)?\s*(?=[\[{])", part)
            if hit and not self.document.title:
                group = braced(part, option[1] if (option := optional(part, hit.end())) else hit.end())
                self.document.title = " ".join(plain(group[0]).split()) if group else ""
            if (hit := re.search(r"\\author\s*(?=[\[{])", part)) and not self.document.authors:
                group = braced(part, option[1] if (option := optional(part, hit.end())) else hit.end())
                names = re.split(r"\\and\b|\\And\b|\\AND\b|\\\\|,(?![^{]*\})", group[0]) if group else []
                self.document.authors = [n for name in names[:100] if (n := " ".join(plain(name).split()))]

    def _walk(self, body: str) -> None:
        at = 0
        while hit := _EVENT.search(body, at):
            self._raw[-1] += body[at : hit.start()]
            if hit["head"]:
                at = self._heading(body, hit)
            elif hit["appendix"] or hit["appendices"]:
                self._appendix, self._counts, at = True, [0] * 6, hit.end()
            elif hit["label"] is not None:
                self.labels[hit["label"]] = self._number()
                at = hit.end()
            elif hit["display"]:
                close = body.find("\\]" if hit["display"] == "\\[" else "$$", hit.end())
                close = len(body) if close < 0 else close
                self._put_equation(body[hit.end() : close], numbered=False)
                at = close + 2
            else:
                at = self._environment(body, hit)
        self._raw[-1] += body[at:]

    def _heading(self, body: str, hit: re.Match[str]) -> int:
        at = hit.end()
        if option := optional(body, at):
            at = option[1]
        group = braced(body, at)
        if group is None:
            return at
        level = LEVELS[hit["head"]] + self._chapters
        number = ""
        if not hit["star"] and LEVELS[hit["head"]] <= DEEPEST_NUMBER:
            self._counts[level] += 1
            self._counts[level + 1 :] = [0] * (5 - level)
            number = self._number(level)
        title = re.sub(r"\\label\s*\{[^{}]*\}", "", group[0])
        for label in re.findall(r"\\label\s*\{([^{}]*)\}", group[0]):
            self.labels[label] = number
        self.document.sections.append(
            Section(number, " ".join(plain(title).split()).strip(" ."), max(level, 1))
        )
        self._raw.append("")
        return group[1]

    def _number(self, level: int | None = None) -> str:
        """The number of the section that is open, as LaTeX counts."""
        used = self._counts[: None if level is None else level + 1]
        while used and used[-1] == 0:
            used.pop()
        first = next((place for place, count in enumerate(used) if count), 0)
        shown = [str(count) for count in used[first:]]
        if self._appendix and shown:
            shown[0] = chr(64 + min(used[first], 26))
        return ".".join(shown)

    def _environment(self, body: str, hit: re.Match[str]) -> int:
        name = hit["env"]
        inner, end = _inside(body, name, hit.end())
        kind = name.rstrip("*")
        if kind in EQUATIONS:
            self._put_equation(inner, numbered=not name.endswith("*") and kind != "displaymath")
        elif kind in ("figure", "wrapfigure"):
            self._figure(inner)
        elif kind in ("table", "sidewaystable", "wraptable", "longtable"):
            self._table(inner, kind == "longtable")
        elif kind in ("tabular", "tabularx", "tabulary"):
            self._raw[-1] += self._hold(markdown_table(tabular(f"\\begin{{{name}}}{inner}\\end{{{name}}}")))
        elif kind == "abstract":
            self.document.abstract = plain(inner)
        elif kind == "thebibliography":
            self._bibliography(inner)
        return end

    def _hold(self, text: str) -> str:
        """A place in the raw text for what is finished already."""
        self._held.append(text)
        return f"\n\n\x00{len(self._held) - 1}\x00\n\n"

    @property
    def _here(self) -> int:
        return len(self.document.sections) - 1

    def _next(self, kind: str, text: str) -> str:
        self._floats[kind] += 1
        number = str(self._floats[kind])
        for label in re.findall(r"\\label\s*\{([^{}]*)\}", text):
            self.labels[label] = number
        return number

    def _put_equation(self, inner: str, numbered: bool) -> None:
        tex = " ".join(re.sub(r"\\label\s*\{[^{}]*\}|\\(?:nonumber|notag)\b", "", inner).split())
        number = self._next("equation", inner) if numbered else ""
        if tex:
            self.document.equations.append(Equation(number, tex, self._here))
            self._raw[-1] += self._hold(f"$${tex}$$" + (f" ({number})" if number else ""))

    def _caption(self, inner: str) -> str:
        hit = re.search(r"\\caption(?:of\s*\{\w+\})?\*?\s*(?=[\[{])", inner)
        if not hit:
            return ""
        group = braced(inner, option[1] if (option := optional(inner, hit.end())) else hit.end())
        return group[0] if group else ""

    def _figure(self, inner: str) -> None:
        caption = self._caption(inner)
        if "\\begin{tabular" in inner and not re.search(r"\\includegraphics|tikzpicture", inner):
            self._table(inner, False)
        elif caption:
            number = self._next("figure", inner)
            self.document.figures.append(Figure(number, caption, self._here))
            self._raw[-1] += f"\n\n[Figure {number}: {caption}]\n\n"

    def _table(self, inner: str, long: bool) -> None:
        caption = self._caption(inner)
        number = self._next("table", inner) if caption else ""
        rows = tabular(f"\\begin{{longtable}}{inner}\\end{{longtable}}" if long else inner)
        self.document.tables.append(Table(number, caption, rows, self._here))
        self._raw[-1] += f"\n\nTable {number}: {caption}\n\n" if caption else ""
        self._raw[-1] += self._hold(markdown_table(rows))

    def _bibliography(self, inner: str) -> None:
        for part in re.split(r"\\bibitem(?![a-zA-Z])", inner)[1:]:
            option = optional(part, 0)
            group = braced(part, option[1] if option else 0)
            if group:
                text = " ".join(plain(part[group[1] :]).split())
                self.document.references.append(Reference(group[0].strip(), text))

    def _write(self) -> None:
        """The second walk: plain text, now that every label has its number."""
        document = self.document
        texts = [self._finished(raw) for raw in self._raw]
        for section, text in zip(document.sections, texts[1:], strict=True):
            section.text = text
        front = re.sub(r"\s+", " ", texts[0]) if not document.sections else ""
        document.abstract = self._finished(document.abstract) or front
        for table in document.tables:
            table.caption = " ".join(self._finished(table.caption).split())
        for figure in document.figures:
            figure.caption = " ".join(self._finished(figure.caption).split())
        document.tables = [table for table in document.tables if table.rows or table.caption]
        if not document.sections and texts[0]:
            document.sections.append(Section("", document.title or "Text", 1, texts[0]))

    def _finished(self, raw: str) -> str:
        text = plain(raw, lambda label: self.labels.get(label) or label)
        return re.sub(r"\x00(\d+)\x00", lambda hit: self._held[int(hit[1])], text).strip()


def _inside(body: str, name: str, at: int) -> tuple[str, int]:
    """What an environment holds, others of its name inside of it counted; and where it ends."""
    deep = 1
    for hit in _ends_of(name).finditer(body, at):
        deep += 1 if hit[1] == "begin" else -1
        if deep == 0:
            return body[at : hit.start()], hit.end()
    return body[at:], len(body)


@lru_cache(maxsize=64)
def _ends_of(name: str) -> re.Pattern[str]:
    return re.compile(rf"\\(begin|end)\{{{re.escape(name)}\}}")


_TABULAR = re.compile(r"\\begin\{(tabular\*?|tabularx|tabulary|longtable|array)\}")
_RULES = re.compile(
    r"\\(?:toprule|midrule|bottomrule|hline|endhead|endfirsthead|endfoot|endlastfoot|addlinespace|specialrule)"
    r"(?:\[[^\]]*\])?|\\(?:cmidrule|cline)(?:\([^)]*\))?(?:\[[^\]]*\])?\{[^{}]*\}"
)


def tabular(text: str) -> list[list[str]]:
    """The cells of the tables in a text."""
    rows: list[list[str]] = []
    at = 0
    while hit := _TABULAR.search(text, at):
        inner, at = _inside(text, hit[1], hit.end())
        start = 0
        if hit[1] in ("tabular*", "tabularx", "tabulary") and (width := braced(inner, 0)):
            start = width[1]
        while option := optional(inner, start):
            start = option[1]
        if columns := braced(inner, start):
            start = columns[1]
        body = re.sub(
            r"\\caption\*?(?:\[[^\]]*\])?\s*\{(?:[^{}]|\{[^{}]*\})*\}|\\label\s*\{[^{}]*\}", "", inner[start:]
        )
        rows += [cells for line in _split(_RULES.sub("", body), "\\\\") if any(cells := _cells(line))]
    return rows


def _cells(line: str) -> list[str]:
    cells: list[str] = []
    for cell in _split(re.sub(r"^\s*(?:\*?\[[^\]]*\])", "", line), "&"):
        wide = re.match(r"\s*\\multicolumn\s*\{\s*(\d+)\s*\}", cell)
        cells.append(" ".join(plain(cell).split()))
        cells += [""] * (min(int(wide[1]), 100) - 1 if wide else 0)
    return cells


def _split(text: str, mark: str) -> list[str]:
    """Apart at a mark that stands in no braces and is not escaped."""
    parts, deep, start, at = [], 0, 0, 0
    while at < len(text):
        if deep == 0 and text.startswith(mark, at):
            parts.append(text[start:at])
            at += len(mark)
            start = at
            continue
        char = text[at]
        if char == "\\":
            at += 2
            continue
        deep += (char == "{") - (char == "}")
        at += 1
    return [*parts, text[start:]]
