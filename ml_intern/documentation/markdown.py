"""HTML as Markdown, the page's frame left out."""

from __future__ import annotations

import re
from typing import Any

MOST_BYTES = 16 << 20
_FRAME = (
    "script",
    "style",
    "nav",
    "header",
    "footer",
    "aside",
    "button",
    "svg",
    "form",
    "noscript",
    "template",
    "iframe",
)
_MAIN = ("main", "article", "[role=main]", ".prose", "#content", ".document", ".body", "body")
LEAST_CHARS = 200
"""A part of the page with less text than this is not the main part."""


def markdown(page: str) -> tuple[str, str]:
    """The title of a page, and its main part as Markdown."""
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(page[:MOST_BYTES], "lxml")
    title = " ".join(soup.title.get_text().split()) if soup.title else ""
    for tag in soup(_FRAME):
        if not tag.decomposed:
            tag.decompose()
    parts = (soup.select_one(name) for name in _MAIN)
    main = next((part for part in parts if part and len(part.get_text()) >= LEAST_CHARS), soup)
    try:
        text = _converted(main)
    except RecursionError:
        text = main.get_text("\n")
    return title, re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+\n", "\n", text)).strip()


def _converted(main: Any) -> str:
    from markdownify import MarkdownConverter

    converter = MarkdownConverter(
        heading_style="ATX", bullets="-", code_language_callback=_language, escape_underscores=False,
        escape_asterisks=False, escape_misc=False, strip=["img"],
    )  # fmt: skip
    return str(converter.convert_soup(main))


def _language(block: Any) -> str:
    inner = block.find("code")
    classes = [*(block.get("class") or []), *((inner.get("class") or []) if inner else [])]
    found = (re.match(r"(?:language|lang|highlight)-(\w+)", name) for name in classes)
    return next((hit[1] for hit in found if hit), "")
