"""Hugging Face's documentation on the network: guides and pages beside what is installed.

Its search finds passages; where it gives nothing, the titles of a library's own index (``llms.txt``) are
compared. Pages come as the Markdown that the site keeps beside them (``….md``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from ml_intern.documentation.results import EXCERPT_CHARS, DocHit
from ml_intern.documentation.search import shared
from ml_intern.documentation.words import asked_words, pieces
from ml_intern.papers.values import a_list
from ml_intern.web.client import Web
from ml_intern.web.errors import Missing, NotCached, Throttled, Unreachable, WebError
from ml_intern.web.page import Page

OFFICIAL = "https://huggingface.co"
MOST_LIBRARIES = 5
MOST_LISTED = 5_000
HALF = 0.5
"""Share of a question's words that a title must have."""
_DOCS = re.compile(r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/docs/([^?#]+)", re.I)
_LISTED = re.compile(r"^\s*[-*]\s*\[([^\]\n]{1,300})\]\((https?://[^\s)]{1,500})\)", re.M)
_TEXT = "text/markdown, text/plain;q=0.9, text/html;q=0.8, */*;q=0.1"


def guides(web: Web, question: str, libraries: Sequence[str], limit: int) -> tuple[list[DocHit], list[str]]:
    """Pages of Hugging Face's documentation that answer, and what was wrong where some could not be had.

    They describe the newest version, which may be another than the installed one.
    """
    base = web.base("huggingface", OFFICIAL)
    found: list[DocHit] = []
    notes: list[str] = []
    failed: WebError | None = None
    for library in libraries[:MOST_LIBRARIES]:
        for ask in (searched, _listed):
            try:
                hits, note = ask(web, base, question, library)
            except WebError as error:
                failed = failed or error
                continue
            notes += [note] if note else []
            found += hits
            if hits:
                break
        if isinstance(failed, Unreachable | Throttled) and not found:
            break  # the others are on the same host
    if failed is not None and not found:
        why = failed.message.rstrip(".")
        notes.append(f"No page of Hugging Face's documentation came ({why}): hits are of what is installed.")
    seen: dict[str, DocHit] = {}
    for hit in found:
        seen.setdefault(hit.name.partition("#")[0], hit)
    return list(seen.values())[:limit], list(dict.fromkeys(notes))


def fetch_page(web: Web, url: str) -> Page:
    """A page; of Hugging Face's documentation the Markdown.

    Raises:
        WebError: It cannot be had; where the network is to blame the hint has what is installed.
    """
    hit = _DOCS.match(url)
    if hit is None:
        try:
            return web.get(url, accept=_TEXT)
        except Missing as error:
            raise _gone(error, url, "/".join(url.split("/")[:3]) + "/") from None
    place = hit[1].rstrip("/").removesuffix(".md").removesuffix(".html")
    base = f"{web.base('huggingface', OFFICIAL)}/docs/{place}"
    try:
        if "/" in place:
            try:
                return web.get(f"{base}.md", accept=_TEXT)
            except Missing:
                pass
        return web.get(base, accept=_TEXT)
    except Missing as error:
        raise _gone(error, place, f"{OFFICIAL}/docs/{place.partition('/')[0]}") from None
    except (NotCached, Unreachable, Throttled) as error:
        library, _, page = place.partition("/")
        words = " ".join(pieces(page.rpartition("/")[2])) or library
        raise type(error)(error.message, f"What is installed: search_docs({words!r}, {library!r}).") from None


def _gone(error: Missing, place: str, root: str) -> Missing:
    """The same with a way to the right page."""
    words = " ".join(pieces(place.rstrip("/").rpartition("/")[2]))
    hint = f"Find the page: search_docs({words!r}, online=True), or begin at {root}."
    return Missing(error.message, hint, error.status, error.body)


def searched(web: Web, base: str, question: str, library: str) -> tuple[list[DocHit], str]:
    """Passages by the site's own search, and a note."""
    asked = {"q": question.lower(), "product": library}
    page = web.get_json(f"{base}/api/docs/search", asked, parse=a_list)
    return list(_passages(page.data, library)), page.note


def _passages(rows: list[Any], library: str) -> Iterator[DocHit]:
    for row in rows[:100]:
        url = row.get("source_page_url") if isinstance(row, dict) else None
        if not isinstance(url, str) or not url.startswith("https://"):
            continue
        heads = [str(row.get(key) or "") for key in ("heading1", "heading2")]
        title = " › ".join(part for part in heads if part) or str(row.get("source_page_title") or url)
        text = " ".join(str(row.get("text") or "").split())
        yield _hit(url, library, title, text)


def _listed(web: Web, base: str, question: str, library: str) -> tuple[list[DocHit], str]:
    """Pages whose titles and names have the question's words, and a note."""
    page = web.get(f"{base}/docs/{library}/llms.txt", accept=_TEXT)
    ranked: list[tuple[float, int, DocHit]] = []
    for number, (title, url) in enumerate(_LISTED.findall(page.text)[:MOST_LISTED]):
        name = url.partition("?")[0].rpartition("/")[2].removesuffix(".md")
        score = shared(asked_words(question), [*asked_words(title), *pieces(name)])
        if score >= HALF:
            ranked.append((-score, number, _hit(url.removesuffix(".md"), library, title, "")))
    ranked.sort(key=lambda row: row[:2])
    return [hit for _, _, hit in ranked], page.note


def _hit(url: str, library: str, title: str, text: str) -> DocHit:
    return DocHit(url[:500], "page", library, "newest", title[:300], text[:EXCERPT_CHARS], "huggingface.co")
