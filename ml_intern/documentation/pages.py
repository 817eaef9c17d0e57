"""Pages as Markdown: files that may be read, documents that came with a package, pages of the network."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote

from ml_intern.documentation.library import Documentation
from ml_intern.documentation.markdown import markdown
from ml_intern.documentation.online import fetch_page
from ml_intern.documentation.results import NOTE, DocPage, page
from ml_intern.errors import ToolError
from ml_intern.web.client import Web
from ml_intern.workspace import safe_files
from ml_intern.workspace.files import Closed, Files

READ_BYTES = 64 << 20
MOST_HEADINGS = 100


def read_page(
    files: Files, docs: Documentation | None, web: Web | None, source: str, offset: int = 0
) -> DocPage:
    """A stretch of a page.

    Args:
        files: What may be read.
        docs: The index of what is installed.
        web: Fetches pages; None where nothing does.
        source: A URL (with #heading it begins there), a path, or the name of a page that a search found.
        offset: Where to read on.

    Raises:
        ToolError: There is no such page, or it cannot be had.
    """
    if re.match(r"https?://", source, re.I):
        name, title, text, note = _fetched(web, source)
    elif (found := _installed(docs, source)) is not None:
        name, title, text, note = source, source.rpartition("#")[2], found, ""
    else:
        name, title, text, note = _file(files, source)
    asked, offset = offset, offset or _place(text, source)
    if offset and offset >= len(text):
        raise ToolError(f"The page has {len(text)} characters, there is nothing at {offset}.")
    shown, then = page(text, offset)
    headings = [] if asked else re.findall(r"^#{1,6} +(.+?) *#*$", text, re.M)[:MOST_HEADINGS]
    return DocPage(name, title, shown, then, len(text), headings, " ".join(filter(None, [note, NOTE])))


def _place(text: str, url: str) -> int:
    """Where the heading stands that the end of a URL names; the beginning where there is none."""
    wanted = unquote(url.partition("#")[2]).casefold() if re.match(r"https?://", url, re.I) else ""
    for heading in re.finditer(r"^#{1,6} +(.+?) *#*$", text, re.M) if wanted else ():
        title = heading[1].casefold()
        slug = re.sub(r"[^\w-]", "", re.sub(r"\s+", "-", title.partition("[[")[0].strip()))
        if wanted == slug or f"[[{wanted}]]" in title:
            return heading.start()
    return 0


def _fetched(web: Web | None, url: str) -> tuple[str, str, str, str]:
    if web is None:
        raise ToolError("This session does not reach the network.", "Search what is installed: search_docs.")
    got = fetch_page(web, url)
    kind = got.headers.get("content-type", "").lower()
    start = got.content[:1024].lstrip().lower()
    if b"%pdf-" in start[:16]:
        title, text = _paper(got.content)
    elif "html" in kind or start.startswith((b"<!doctype html", b"<html")):
        title, text = markdown(got.text)
    elif b"\0" in start:
        raise ToolError(f"{url} is not text ({kind or 'of no kind'}).")
    else:
        title, text = "", got.text
    return got.url, title or url, text, got.note


def _installed(docs: Documentation | None, source: str) -> str | None:
    """The text of a page of the index: those are named ``package/file.md#Heading``."""
    return docs.page(source) if docs is not None and "/" in source else None


def _file(files: Files, source: str) -> tuple[str, str, str, str]:
    try:
        path = files.readable(source)
    except ToolError as error:
        hint = "For a class or function ask api_reference." if "/" not in source else error.hint
        if not isinstance(error, Closed):
            hint = f"{hint.rstrip('.')}. search_docs(query) finds pages of what is installed."
        raise ToolError(error.message, hint) from None
    if path.stat().st_size > READ_BYTES:
        raise ToolError(f"{source!r} is larger than {READ_BYTES >> 20} MB.", "Open it in a cell.")
    data = _bytes(files, path)
    if data[:1024].lstrip()[:5] == b"%PDF-":
        title, text = _paper(data)
    elif b"\0" in data[:4096]:
        raise ToolError(f"{source!r} is not text.", "Open it in a cell.")
    elif path.suffix.lower() in (".html", ".htm", ".xhtml"):
        title, text = markdown(data.decode("utf-8", "replace"))
    else:
        title, text = path.name, data.decode("utf-8", "replace")
    return str(path), title or path.name, text, ""


def _bytes(files: Files, path: Path) -> bytes:
    """A regular file, opened so that a cell cannot swap it meanwhile."""
    root = files.workspace if files.workspace in path.parents else path.parent
    with os.fdopen(safe_files.open_file(root, path), "rb") as stream:
        return stream.read(READ_BYTES)


def _paper(data: bytes) -> tuple[str, str]:
    from ml_intern.documents.reading import document_of

    document = document_of(data, "pdf")
    tops = [i for i, s in enumerate(document.sections) if s.level == min(x.level for x in document.sections)]
    parts = [f"# {document.title}", document.abstract, *(document.text_of(index) for index in tops)]
    return document.title, "\n\n".join(part for part in parts if part.strip("# "))
