"""Pages as Markdown: of files and of packages."""

from __future__ import annotations

import pytest
from support.made_papers import as_pdf, made

from ml_intern.context import ToolContext
from ml_intern.documentation.markdown import markdown
from ml_intern.errors import ToolError
from ml_intern.tools.docs import read_docs, search_docs

PAGE = """<!DOCTYPE html><html><head><title>Guide — Lib</title><script>var x = "gone";</script></head><body>
<nav><a href="/">Home</a></nav><main><h1>Guide</h1><p>Some <b>bold</b> text with <code>code_name</code> and a
<a href="https://x.example/y">link</a>.</p><h2 id="a">Second part</h2><pre><code class="language-python">def f():
    return 1
</code></pre><ul><li>one</li><li>two</li></ul><table><tr><th>A</th><th>B</th></tr><tr><td>1</td><td>2</td></tr></table>
<p>More text so that the main part is long enough to be taken for one: it has a good many words in it, more than
two hundred characters of them, and ends here.</p></main><footer>gone too</footer></body></html>"""


def test_html_becomes_markdown_without_its_frame() -> None:
    title, text = markdown(PAGE)
    assert title == "Guide — Lib" and text.startswith("# Guide\n")
    assert "Some **bold** text with `code_name` and a\n[link](https://x.example/y)." in text
    assert "## Second part" in text and "```python\ndef f():\n    return 1\n```" in text
    assert "- one\n- two" in text and "| A | B |" in text
    assert "gone" not in text and "Home" not in text


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("", ""),
        ("plain", "plain"),
        ("<p>unclosed <b>tags", "unclosed **tags**"),
        ("<div>" * 3000 + "deep", "deep"),
        ("\x00\x01", "\ufffd\x01"),
    ],
)
def test_any_page_becomes_some_text(page: str, text: str) -> None:
    assert markdown(page) == ("", text)


def test_files_of_the_workspace(desk: ToolContext) -> None:
    folder = desk.files.workspace
    (folder / "guide.html").write_text(PAGE)
    (folder / "notes.md").write_text("# One\n\ntext\n\n## Two\n\n" + "line\n" * 3000)
    page = read_docs(desk, "guide.html")
    assert page.title == "Guide — Lib" and page.headings == ["Guide", "Second part"]
    first = read_docs(desk, "notes.md")
    assert first.next_offset and first.headings == ["One", "Two"]
    text, then = first.text, first.next_offset
    while then is not None:
        more = read_docs(desk, "notes.md", then)
        text, then = text + more.text, more.next_offset
    assert text == (folder / "notes.md").read_text()
    with pytest.raises(ToolError, match="there is nothing at"):
        read_docs(desk, "notes.md", 10_000_000)


def test_a_pdf_is_read_as_a_paper(desk: ToolContext) -> None:
    paper = made(1)
    (desk.files.workspace / "p.pdf").write_bytes(as_pdf(paper))
    page = read_docs(desk, "p.pdf")
    assert page.title == paper.title and f"## 1 {paper.parts[0].title}" in page.text


def test_a_page_that_a_search_found(desk: ToolContext) -> None:
    folder = desk.files.workspace / "pagelib"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "usage.md").write_text("# Usage\n\nText of usage.\n\n## Peeling\n\nHow a banana is peeled.\n")
    hit = search_docs(desk, "peel a banana", "pagelib").hits[0]
    page = read_docs(desk, hit.name)
    assert page.title == "Peeling" and "How a banana is peeled." in page.text


@pytest.mark.parametrize("source", ["/etc/passwd", "../../etc/passwd", "trl.SFTConfig", "https://x.example"])
def test_what_may_not_be_read_or_is_nowhere(desk: ToolContext, source: str) -> None:
    with pytest.raises(ToolError):
        read_docs(desk, source)
