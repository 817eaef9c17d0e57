"""Every relative link of the pages leads to a file that is there, and every anchor to a heading."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from support.doc_pages import PAGES, ROOT, anchors, links, name_of


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links(page: Path) -> None:
    broken = [link for link in links(page) if not leads_somewhere(page, link)]
    assert not broken


def leads_somewhere(page: Path, link: str) -> bool:
    where = urlsplit(link)
    if where.scheme or where.netloc:
        return where.scheme in ("http", "https", "mailto")
    target = (page.parent / unquote(where.path)).resolve() if where.path else page
    if not target.exists() or not target.is_relative_to(ROOT):
        return False
    return not where.fragment or (target.suffix == ".md" and where.fragment in anchors(target))


def test_broken_links_are_seen(tmp_path: Path) -> None:
    page = ROOT / "docs" / "security.md"
    assert leads_somewhere(page, "reference/settings.md#rules-of-the-gate")
    assert not leads_somewhere(page, "reference/settings.md#rules-of-the-gates")
    assert not leads_somewhere(page, "nowhere.md")


def test_every_page_is_in_the_contents() -> None:
    docs = ROOT / "docs"
    listed = {line.strip() for line in (docs / "index.md").read_text().splitlines()}
    pages = {p.relative_to(docs).with_suffix("").as_posix() for p in PAGES if p.is_relative_to(docs)}
    assert pages - listed == {"index"}
