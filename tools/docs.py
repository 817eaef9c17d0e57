"""Documentation of what is installed in the sandbox, and pages."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ml_intern.context import ToolContext
from ml_intern.documentation.asking import Run
from ml_intern.documentation.library import Documentation
from ml_intern.documentation.online import guides
from ml_intern.documentation.pages import read_page
from ml_intern.documentation.results import NOTE, DocHits, DocPage, Reference, hit_of, reference_of
from ml_intern.errors import ToolError
from ml_intern.tooling import tool
from ml_intern.web.given import check_given

Offset = Annotated[int, Field(ge=0)]


@tool(effect="read")
def api_reference(
    ctx: ToolContext, name: Annotated[str, Field(min_length=1, max_length=300)], offset: Offset = 0
) -> Reference:
    """Signature, parameters with types and defaults, and docs of what is installed in the sandbox.

    Args:
        name: "trl.SFTConfig", "SFTConfig", "transformers.Trainer.train", "SFTConfig.packing", "trl".
        offset: Where to read on in `text`.
    """
    run, docs = _inside(ctx)
    return reference_of(docs.reference(run, ctx.services.python, name.strip().removesuffix("()")), offset)


@tool(effect="read")
def search_docs(
    ctx: ToolContext,
    query: Annotated[str, Field(min_length=1, max_length=500)],
    library: str | list[str] | None = None,
    limit: Annotated[int, Field(ge=1, le=50)] = 5,
    online: bool = False,
) -> DocHits:
    """Find classes, functions, fields and pages of the installed libraries by what they do.

    The first search of a library reads all of it, which takes seconds: name the library, that is quicker.
    A hit has name, kind, library, version, signature, summary and where it stands.

    Args:
        query: In words: "loss only on the assistant's messages".
        library: Any installed package, or several; nothing: those that the query names ("… in trl"), or
            trl, transformers, datasets, peft, accelerate.
        limit: How many.
        online: Look for guides on huggingface.co as well; they describe the newest version.
    """
    run, docs = _inside(ctx)
    named = [library] if isinstance(library, str) else list(library or [])
    found, versions = docs.search(run, ctx.services.python, query, named, limit, ctx.progress)
    hits = [hit_of(entry, docs.body(entry)) for entry in found]
    if not online:
        return DocHits(hits, versions)
    pages, notes = guides(ctx.web, query, list(versions), limit)
    return DocHits(hits, versions, pages, " ".join([*notes, NOTE]))


@tool(effect="read")
def read_docs(
    ctx: ToolContext,
    source: Annotated[str, Field(min_length=1, max_length=2000)],
    offset: Offset = 0,
    network: bool = False,
) -> DocPage:
    """Read a page of documentation as Markdown.

    Args:
        source: A file, a page that search_docs found, or a URL.
        offset: Where to read on.
        network: Open a URL that neither a page nor the person has named: a person is asked.
    """
    if not network:
        check_given(ctx, source.strip())
    return read_page(ctx.files, ctx.services.docs, ctx.web, source.strip(), offset)


def _inside(ctx: ToolContext) -> tuple[Run, Documentation]:
    run, docs = ctx.services.run_in_sandbox, ctx.services.docs
    if run is None or docs is None:
        raise ToolError("This session has no sandbox whose packages could be read.")
    return run, docs
