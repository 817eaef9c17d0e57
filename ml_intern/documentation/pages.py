"""Pages as Markdown: files of the project, documents that came with a package, and pages of the network."""

from __future__ import annotations

from ml_intern.context import ToolContext
from ml_intern.documentation.results import DocPage, page
from ml_intern.errors import ToolError

READ_BYTES = 16 << 20


def read_page(ctx: ToolContext, source: str, offset: int) -> DocPage:
    """A stretch of a page.

    Raises:
        ToolError: There is none.
    """
    file = ctx.files.readable(source)
    if file.stat().st_size > READ_BYTES:
        raise ToolError(f"{source!r} is larger than {READ_BYTES >> 20} MB.", "Open it in a cell.")
    text = file.read_text(encoding="utf-8", errors="replace")
    shown, then = page(text, offset)
    return DocPage(str(file), file.name, shown, then, len(text))
