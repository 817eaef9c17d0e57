"""Code of others: how a library is used, files of a repository, and pages of the web."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import Field

from ml_intern.context import ToolContext
from ml_intern.repositories import examples, reading, searching
from ml_intern.repositories.github import GitHub
from ml_intern.repositories.listing import repositories_of
from ml_intern.repositories.names import Lines
from ml_intern.repositories.remarks import Remarks
from ml_intern.repositories.results import CodeFile, CodeHits, Repositories, WebHits
from ml_intern.tooling import tool
from ml_intern.web.web_search import search_web

SUBJECT = "code"
KEYS = ("github",)
Words = Annotated[str, Field(min_length=1, max_length=300)]
Name = Annotated[str, Field(min_length=1, max_length=1000)]
Limit = Annotated[int, Field(ge=1, le=30)]


@tool(effect="read", needs=KEYS)
def search_code(ctx: ToolContext, query: Words, language: str = "", limit: Limit = 5) -> CodeHits:
    """Find code on GitHub. Each of `hits` has repo, path, lines, text, url.

    Without GITHUB_TOKEN repositories are found by the words, and their likeliest files read.

    Args:
        query: Words; also repo:owner/name, user:name, path:folder.
        language: Such as python.
        limit: How many.
    """
    return searching.search(_github(ctx), query, language.strip(), limit)


@tool(effect="read", needs=KEYS)
def find_examples(
    ctx: ToolContext,
    repo: Name,
    keyword: Annotated[str, Field(max_length=200)] = "",
    limit: Limit = 5,
    ref: str = "",
) -> CodeHits:
    """How a repository uses a name: examples, docs, tests, README, source. `hits` as of search_code.

    Args:
        repo: owner/name or URL.
        keyword: A name ("SFTTrainer") or words; nothing: which examples there are.
        limit: Files.
        ref: Branch, tag or commit.
    """
    return examples.find_examples(_github(ctx), repo, keyword.strip(), limit, ref.strip())


@tool(effect="read", needs=KEYS)
def read_repo_file(
    ctx: ToolContext, repo: Name, path: str = "", lines: Lines = None, ref: str = ""
) -> CodeFile:
    """Read a file on GitHub, or list a folder. Notebooks come as the sources of their cells.

    Args:
        repo: owner/name, or the URL of a file (#L10-L20 counts).
        path: In it; nothing: what is at its root.
        lines: "10-40", "10", "10-".
        ref: Branch, tag or commit.
    """
    return reading.read(_github(ctx), repo, path.strip(), lines, ref.strip())


@tool(effect="read", needs=KEYS)
def list_repos(
    ctx: ToolContext, owner: Name, limit: Annotated[int, Field(ge=1, le=300)] = 20
) -> Repositories:
    """Public repositories of a user or an organisation on GitHub, most stars first.

    Each has name, description, stars, language, license, pushed, topics.

    Args:
        owner: Its name.
        limit: How many.
    """
    return repositories_of(_github(ctx), owner, limit)


@tool(effect="read")
def web_search(ctx: ToolContext, query: Words, limit: Limit = 8) -> WebHits:
    """Search the web. Each of `hits` has title, url, snippet; read_docs(url) reads a page.

    Args:
        query: Words.
        limit: How many.
    """
    remarks = Remarks()
    web = ctx.web.for_call(ctx.cancelled, _telling(ctx, remarks))
    found = search_web(web, query, limit, remarks)
    web.meet(hit.url for hit in found.hits)  # their addresses stand in the engine's page in another form
    return found


def _github(ctx: ToolContext) -> GitHub:
    remarks = Remarks()
    web = ctx.web.for_call(ctx.cancelled, _telling(ctx, remarks))
    return GitHub(web, ctx.credential("github"), remarks)


def _telling(ctx: ToolContext, remarks: Remarks) -> Callable[[str], None]:
    """Tells the person of waits, and the reader of the answer."""

    def tell(text: str) -> None:
        ctx.progress(text)
        remarks.waited(text)

    return tell
