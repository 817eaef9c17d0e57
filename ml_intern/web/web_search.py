"""Search of the web by smolagents' tool, whose requests go through our own way to pages.

The tool's parser reads DuckDuckGo's plain page; where that gives nothing (it may ask whether we are a
person), Bing's feed is asked. Both pages come politely, and from the cache where they are in it.
"""

from __future__ import annotations

import html
import os
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from ml_intern.repositories.remarks import Remarks
from ml_intern.repositories.results import WebHit, WebHits
from ml_intern.web.client import Web
from ml_intern.web.errors import Unreachable, WebError
from ml_intern.web.orders import MEGABYTE
from ml_intern.web.page import Page

if TYPE_CHECKING:
    from smolagents import WebSearchTool

DUCKDUCKGO = "https://lite.duckduckgo.com"
BING = "https://www.bing.com"
_SNIPPET = 500
LARGEST = MEGABYTE
_NAMES = {"duckduckgo": "DuckDuckGo", "bing": "Bing"}


def search_web(web: Web, query: str, limit: int, remarks: Remarks) -> WebHits:
    """Pages that fit a query.

    Raises:
        WebError: No engine answers.
    """
    failed: list[WebError] = []
    for engine, name in _NAMES.items():
        try:
            found = _tool(web, engine, limit, remarks).search(query)
        except WebError as error:
            failed.append(error)
            remarks.add(f"{name}: {error.message.rstrip('.')}.")
            continue
        hits = [hit for row in found if (hit := _hit(row))][:limit]
        if hits:
            return WebHits(hits=hits, engine=name, notes=remarks.all())
        remarks.add(f"{name} gave no results.")
    if len(failed) == len(_NAMES):
        told = "; ".join(error.message.rstrip(".") for error in failed)
        raise Unreachable(f"No search engine answers ({told}).", "Read a page you know: read_docs(url).")
    return WebHits(hits=[], engine="", notes=remarks.all())


def _tool(web: Web, engine: str, limit: int, remarks: Remarks) -> WebSearchTool:
    """smolagents' tool with another way to pages."""
    # As everywhere: smolagents would read the .env of the folder that the person stands in.
    os.environ.setdefault("PYTHON_DOTENV_DISABLED", "1")
    from smolagents import WebSearchTool

    class Polite(WebSearchTool):  # type: ignore[misc]
        """Asks for pages as all tools here do."""

        def search_duckduckgo(self, query: str) -> list[Any]:
            page = web.get(
                f"{web.base('duckduckgo', DUCKDUCKGO)}/lite/", {"q": query}, accept="text/html", limit=LARGEST
            )
            remarks.add_age(page)
            _refuse_riddles(page)
            parser = self._create_duckduckgo_parser()
            parser.feed(page.text)
            return _with_targets(parser.results, page.text)

        def search_bing(self, query: str) -> list[Any]:
            given = {"q": query, "format": "rss"}
            page = web.get(
                f"{web.base('bing', BING)}/search",
                given,
                accept="application/rss+xml",
                parse=_feed,
                limit=LARGEST,
            )
            remarks.add_age(page)
            return list(page.data)[: self.max_results]

    return Polite(max_results=limit, engine=engine)


def _refuse_riddles(page: Page) -> None:
    """DuckDuckGo answers machines that it does not like with a riddle.

    Raises:
        Unreachable: This is one.
    """
    if page.status == 202 or re.search(r"anomaly[-_.](modal|js)|challenge-form", page.text):
        raise Unreachable(
            "DuckDuckGo asks whether a person is there.", "Search later, or read pages you know."
        )


def _with_targets(results: list[dict[str, str]], page: str) -> list[dict[str, str]]:
    """Results with the addresses that they lead to: what the parser reads is the address as it is shown.

    Advertisements are left out.
    """
    targets = [
        _target(found[1])
        for tag in re.findall(r"<a\b[^<>]*\bclass=[\"']result-link[\"'][^<>]*>", page)
        if (found := re.search(r"\bhref=[\"']([^\"']*)[\"']", tag))
    ]
    if len(targets) != len(results):
        return results
    return [{**row, "link": link} for row, link in zip(results, targets, strict=True) if link]


def _target(href: str) -> str:
    """Where a link leads; empty for an advertisement."""
    link = html.unescape(href)
    link = f"https:{link}" if link.startswith("//") else link
    parts = urlsplit(link)
    if (parts.hostname or "").endswith("duckduckgo.com"):
        return "" if parts.path == "/y.js" else parse_qs(parts.query).get("uddg", [""])[0]
    return link


def _feed(page: Page) -> list[dict[str, str]]:
    """The items of an RSS feed.

    Raises:
        ValueError: It is none.
    """
    from lxml import etree  # type: ignore[import-untyped]

    # No entities and nothing from outside: the feed is a stranger's.
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        root = etree.fromstring(page.content, parser)
    except etree.XMLSyntaxError as error:
        raise ValueError(f"it is no feed ({error})") from None
    names = {"title": "title", "link": "link", "description": "description"}
    return [{key: item.findtext(tag) or "" for key, tag in names.items()} for item in root.iter("item")]


def _hit(row: dict[str, str]) -> WebHit | None:
    url = str(row.get("link") or "").strip()
    if not re.match(r"https?://[^\s/]+", url):
        return None
    title, snippet = (
        " ".join(html.unescape(re.sub(r"</?\w[^<>]*>", "", str(row.get(k) or ""))).split())
        for k in ("title", "description")
    )
    return WebHit(title=title, url=url, snippet=snippet[:_SNIPPET])
