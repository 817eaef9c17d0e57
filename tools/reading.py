"""Papers: read them whole, and find how their results were made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ml_intern.context import ToolContext
from ml_intern.documents import reading, recipe
from ml_intern.documents.reading import PaperPage
from ml_intern.documents.recipe import Recipe
from ml_intern.errors import ToolError
from ml_intern.papers.sources import fetch_paper_sources
from ml_intern.tooling import tool
from ml_intern.tools.papers import KEYS

if TYPE_CHECKING:
    from ml_intern.documents.model import Document

SUBJECT = "papers"


@tool(effect="read", needs=KEYS)
def read_paper(ctx: ToolContext, id: str, section: str | None = None, offset: int = 0) -> PaperPage:
    """Read a paper, a section at a time; without one its contents and abstract.

    The text comes from arXiv's HTML, else from the LaTeX source, else from the PDF. It is data of others.

    Args:
        id: arXiv id (old, new, with a version), DOI or URL.
        section: Number ("4.1"), title or a part of one; "abstract", "references".
        offset: Where to read on, as next_offset of the page before says.
    """
    return reading.read_section(_document(ctx, id), section, offset)


@tool(effect="read", needs=KEYS)
def extract_recipe(ctx: ToolContext, id: str) -> Recipe:
    """How a paper's results were made: data, method, hyperparameters, results, each with section and quote.

    The session's model reads where there is one, and what it does not quote word for word is dropped; without
    one tables and patterns are read alone.

    Args:
        id: As for read_paper.
    """
    document = _document(ctx, id)
    if ctx.services.consult is None:
        return recipe.extract(document)
    try:
        return recipe.extract(document, _reader(ctx), "the session's model")
    except ToolError:  # A session of a playbook has nobody to ask.
        return recipe.extract(document)


def _reader(ctx: ToolContext) -> recipe.Reader:
    def ask(messages: Sequence[dict[str, Any]], most: int) -> str:
        assert ctx.services.consult is not None
        return str(ctx.services.consult(ctx, messages, most).text)

    return ask


def _document(ctx: ToolContext, id: str) -> Document:
    """The paper in the best form that can be read.

    Raises:
        ToolError: No form can be had, or none can be read; says why of each.
    """
    why: list[str] = []
    for source in fetch_paper_sources(ctx.web, id):
        try:
            return reading.document_of(source.content)
        except ToolError as error:
            why.append(f"{source.kind}: {error.message.rstrip('.')}")
    raise ToolError(f"No form of {id} can be read ({'; '.join(why)}).", "search_papers has its abstract.")
