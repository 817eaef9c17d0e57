"""`make docs`: the site builds without a warning, and its pages fetch nothing from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.doc_pages import ROOT

pytestmark = pytest.mark.thorough

FETCHED = re.compile(
    r"""<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)=["']?(?:https?:)?//[^"'> ]+"""
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(name, reason="the extra 'docs' is not installed")
    folder = tmp_path_factory.mktemp("site")
    argv = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "--keep-going",
        "-E",
        "-b",
        "html",
        "docs",
        str(folder),
    ]
    built = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert built.returncode == 0, built.stderr
    return folder


def test_every_page_is_there(site: Path) -> None:
    pages = {p.relative_to(ROOT / "docs").with_suffix(".html") for p in (ROOT / "docs").rglob("*.md")}
    assert not [page for page in pages if not (site / page).is_file()]
    assert (site / "searchindex.js").is_file()


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    html = [p for p in site.rglob("*.html") if FETCHED.search(p.read_text(encoding="utf-8"))]
    css = [
        p
        for p in site.rglob("*.css")
        if re.search(r"""(?:@import|url\()\s*["']?(?:https?:)?//""", p.read_text(encoding="utf-8"))
    ]
    assert not html and not css
