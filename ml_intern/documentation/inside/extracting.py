"""What a search over a package is to find: its symbols with their texts, and the documents that it brings."""

from __future__ import annotations

import ast
import re
from importlib import metadata
from pathlib import Path
from typing import Any

from ml_intern.documentation.inside import describing, texts
from ml_intern.documentation.inside.names import attribute
from ml_intern.documentation.inside.sources import (
    DEFINITIONS,
    Module,
    files_below,
    module,
    package_path,
    parsed,
)

LARGE = 12 << 20
"""Bytes of source from which on a package's deeper folders are only looked over: parsing takes a minute."""

NEAR = 2
"""Folders below a large package that are read in full."""

MOST_TEXT = 4000
"""Characters of one symbol's text."""

MOST_DOCUMENT = 200_000
DOCUMENTS = (".md", ".rst")

Row = tuple[str, str, int, str, str, str, str, int]
"""Name, kind, whether it is public, signature, summary, text, file, line."""

_TOP = re.compile(
    r'^(class|def) ([A-Za-z]\w*)[^\n]*(?:\n[ \t)][^\n]*){0,40}?:[ \t]*\n[ \t]+r?"""(.*?)"""', re.M | re.S
)


def extract(library: str, start: int, most_bytes: int) -> dict[str, Any]:
    """The rows of a package's files from the one numbered `start` on, until they are `most_bytes` long.

    Returns:
        The rows, and the file to go on with; None at the end.
    """
    files = files_below(library)
    offered = _offered(library)
    large = sum(file.stat().st_size for _, file in files) > LARGE
    rows: list[Row] = [] if start else _documents(library)
    size = 0
    for place in range(start, len(files)):
        dotted, file = files[place]
        deep = large and dotted.count(".") > NEAR
        found = _looked_over(dotted, file, offered) if deep else _read(dotted, file, offered)
        size += sum(len(row[4]) + len(row[5]) + 100 for row in found)
        rows += found
        if size > most_bytes and place + 1 < len(files):
            return {"rows": rows, "next": place + 1}
    return {"rows": rows, "next": None}


def _offered(library: str) -> dict[str, str]:
    """Where each name that the package itself offers is defined: definition → name in front."""
    top = module(library)
    if top is None:
        return {}
    found = {}
    for name in top.public():
        hit = attribute(top, name)
        if hit and hit.node is not None:
            found[hit.name] = f"{library}.{name}"
    return found


def _read(dotted: str, file: Path, offered: dict[str, str]) -> list[Row]:
    source = parsed(dotted, file)
    if source is None:
        return []
    rows: list[Row] = []
    listed = set(source.listed or ())
    for node in source.tree.body:
        if isinstance(node, DEFINITIONS):
            name = f"{dotted}.{node.name}"
            public = _public(name, node.name in listed, offered)
            rows += _symbol(source, node, offered.get(name, name), public)
    if source.doc:
        rows.append(_row(dotted, "module", 0, dotted, source.doc, file, 1))
    return rows


def _public(name: str, listed: bool, offered: dict[str, str]) -> int:
    """2: offered by the package itself; 1: a plain name somewhere below; 0: private or experimental."""
    if name in offered:
        return 2
    hidden = any(part.startswith("_") for part in name.split(".")) or "experimental" in name
    return 0 if hidden else 2 if listed else 1


def _symbol(source: Module, node: ast.stmt, name: str, public: int) -> list[Row]:
    if not isinstance(node, ast.ClassDef):
        assert isinstance(node, describing.Function)
        return [_function(source, node, name, public, "function")]
    doc = texts.clean(ast.get_docstring(node))
    bases = ", ".join(map(texts.shown, node.bases))
    told = texts.parameters(doc)
    head = f"class {node.name}({bases})"
    rows = [_row(name, "class", public, head, doc, source.path, node.lineno, " ".join(told))]
    fields: set[str] = set()
    for part in node.body:
        if isinstance(part, describing.Function):
            if part.name == "__init__":
                told |= texts.parameters(texts.clean(ast.get_docstring(part)))
            elif not part.name.startswith("_"):
                rows.append(_function(source, part, f"{name}.{part.name}", public, "method"))
        elif isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            field = describing.field(part, told.get(part.target.id, ""), node.name)
            if not part.target.id.startswith("_"):
                fields.add(field["name"])
                shown = describing.written(field)
                rows.append(
                    _row(
                        f"{name}.{field['name']}",
                        "field",
                        public,
                        shown,
                        field["help"],
                        source.path,
                        part.lineno,
                    )
                )
    for field_name, text in told.items():
        if field_name not in fields and text:
            rows.append(
                _row(f"{name}.{field_name}", "parameter", public, field_name, text, source.path, node.lineno)
            )
    return rows


def _function(source: Module, node: describing.Function, name: str, public: int, kind: str) -> Row:
    doc = texts.clean(ast.get_docstring(node))
    given = [r["name"] for r in describing.arguments(node, {}, bound=kind == "method")]
    head = f"{node.name}({', '.join(given)})"
    hidden = public if not node.name.startswith("_") else 0
    return _row(name, kind, hidden, head, doc, source.path, node.lineno)


def _row(
    name: str, kind: str, public: int, signature: str, doc: str, file: Path, line: int, more: str = ""
) -> Row:
    text = (doc[:MOST_TEXT] + "\n" + more)[: MOST_TEXT + 2000]
    return (name, kind, public, signature[:500], texts.summary(doc)[:400], text, str(file), line)


def _looked_over(dotted: str, file: Path, offered: dict[str, str]) -> list[Row]:
    """Classes and functions at the top that have a docstring, found without parsing."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    listed = set(re.findall(r'"(\w+)"', text.rpartition("__all__")[2])) if "__all__" in text else set()
    rows = []
    for hit in _TOP.finditer(text):
        name = f"{dotted}.{hit[2]}"
        kind = "class" if hit[1] == "class" else "function"
        public = _public(name, hit[2] in listed, offered)
        line = text.count("\n", 0, hit.start()) + 1
        rows.append(
            _row(offered.get(name, name), kind, public, f"{hit[1]} {hit[2]}", texts.clean(hit[3]), file, line)
        )
    return rows


def _documents(library: str) -> list[Row]:
    """Pages that came with the package: Markdown and reStructuredText in it, and its description."""
    place = package_path(library)
    rows = []
    if place and place.is_dir():
        for file in sorted(f for f in place.rglob("*") if f.suffix in DOCUMENTS and f.is_file())[:500]:
            text = file.read_text(encoding="utf-8", errors="replace")[:MOST_DOCUMENT]
            rows += _pages(f"{library}/{file.relative_to(place)}", text, file)
    if name := describing.distribution_of(library):
        text = str(metadata.metadata(name).get_payload())  # type: ignore[attr-defined]
        rows += _pages(f"{library}/README", text[:MOST_DOCUMENT], Path("README"))
    return rows


def _pages(name: str, text: str, file: Path) -> list[Row]:
    """A document by its headings."""
    rows = []
    line = 1
    for part in re.split(r"^(?=#{1,4} )", text, flags=re.M):
        head = part.strip().split("\n", 1)[0].lstrip("# ").strip()
        if len(part.strip()) > len(head) + 20:
            rows.append(_row(f"{name}#{head[:80]}", "page", 1, head[:200], part.strip(), file, line))
        line += part.count("\n")
    return rows
