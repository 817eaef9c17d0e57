"""Papers: read them whole, and find how their results were made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from ml_intern.context import ToolContext
from ml_intern.documents import reading, recipe
from ml_intern.documents.model import Document
from ml_intern.documents.reading import PaperPage
from ml_intern.documents.recipe import Recipe
from ml_intern.documents.shelf import SHELF
from ml_intern.errors import ToolError
from ml_intern.papers.ids import parse_id
from ml_intern.papers.sources import PaperSource, fetch_paper_sources
from ml_intern.tooling import tool
from ml_intern.tools.papers import KEYS, services_of
from ml_intern.web.errors import Missing, WebError

SUBJECT = "papers"
NO_READER = "No language model read it: tables and patterns alone, which find less."
WORDS = "Check the id: search_papers(query) finds papers by words, and shows abstracts."
FEWEST_CHARS = 2_000
"""A form without headings and with less text than this is a page about the paper, not the paper."""


@tool(effect="read", needs=KEYS)
def read_paper(
    ctx: ToolContext, id: str, section: str | None = None, offset: Annotated[int, Field(ge=0)] = 0
) -> PaperPage:
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
    if ctx.services.consult is not None:
        try:
            return recipe.extract(document, _reader(ctx), "the session's model")
        except ToolError:  # a session of a playbook has nobody to ask
            pass
    found = recipe.extract(document)
    found.notes.append(NO_READER)
    return found


def _reader(ctx: ToolContext) -> recipe.Reader:
    def ask(messages: Sequence[dict[str, Any]], most: int) -> str:
        assert ctx.services.consult is not None
        return str(ctx.services.consult(ctx, messages, most).text)

    return ask


def _document(ctx: ToolContext, id: str) -> Document:
    """The paper in the best form that can be read; within a session the same one for every section.

    Raises:
        ToolError: No form can be had, or none can be read; says why of each.
    """
    parsed = parse_id(id)
    return SHELF.taken(f"{ctx.services.folder}\n{parsed}", lambda: _read(ctx, str(parsed)))


def _read(ctx: ToolContext, id: str) -> Document:
    services = services_of(ctx)
    why: list[str] = []
    spare: Document | None = None
    sources = fetch_paper_sources(ctx.web, id, services.semantic_scholar, services.openalex)
    try:
        for source in sources:
            try:
                document = _told(reading.document_of(source.content, source.kind), source, why)
            except ToolError as error:
                why.append(f"{source.kind}: {error.message.rstrip('.')}")
                continue
            if document.sections:
                return document
            why.append(f"{source.kind}: it has no headings")
            spare = spare or (document if len(document.abstract) >= FEWEST_CHARS else None)
    except Missing as error:
        if not why:
            raise Missing(error.message, WORDS, error.status, error.body) from None
    except WebError:
        if not why:
            raise
    if spare is not None:
        return spare
    raise ToolError(f"No form of {id} can be read ({'; '.join(why)}).", "search_papers has its abstract.")


def _told(document: Document, source: PaperSource, why: Sequence[str]) -> Document:
    """The document with where it came from, how old that is, and which better forms are not to be had."""
    document.url = source.url
    if source.note:
        document.notes.append(f"{source.note[:1].upper()}{source.note[1:]}.")
    if lacking := [*source.tried, *why]:
        document.notes.append(f"Read from {source.kind}. {'; '.join(lacking)}.")
    return document
