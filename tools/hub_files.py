"""The Hub, smaller things: single files, branches, pull requests, collections, Spaces."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ml_intern.context import ToolContext
from ml_intern.errors import ToolError
from ml_intern.events import Notice, Published
from ml_intern.hub import collected, proposals
from ml_intern.hub.committing import MOST_FILES, Done, Place, commit_files, find_again
from ml_intern.hub.names import Kind, Problem, ref_name
from ml_intern.hub.outgoing import LARGEST_IMAGE, LARGEST_TEXT, check_names, check_path, check_words
from ml_intern.hub.results import Branches, MadeCollection, PullRequest, WrittenFile
from ml_intern.tooling import Effect, tool
from ml_intern.workspace.safe_files import open_file

SUBJECT = "hub"
Action = Literal["list", "show", "open", "comment", "close", "merge"]


def mark_of(key: str) -> str:
    """What a commit carries, so that it is known again after a crash."""
    return f"ml-intern: {hashlib.sha256(key.encode()).hexdigest()[:32]}"


def _written_before(ctx: ToolContext, key: str) -> WrittenFile | None:
    noted = ctx.receipt.read()
    if noted is None:
        return None
    place = Place(**noted["place"])
    done = find_again(ctx, place, mark_of(key))
    return _written(ctx, place, noted["path"], done) if done else None


@tool(effect="publish", needs=["hub:write"], reconcile=_written_before)
def write_hub_file(
    ctx: ToolContext,
    repo: str,
    path: str,
    text: str | None = None,
    source: str | None = None,
    message: str = "",
    kind: Kind = "model",
    branch: str = "main",
    pull_request: bool = False,
    private: bool = True,
) -> WrittenFile:
    """Write one text file or image into a repository: a card, a Space's app, a figure.

    Weights go with publish_model, rows with publish_dataset. Numbers must be measured, as in a card. A public
    repository, and a pull request to one, needs private=False. The repository is made where there is none.

    Args:
        repo: ``name`` in your own namespace, or ``namespace/name``.
        path: In the repository.
        text: What to write, or
        source: a file to upload.
        message: Of the commit.
        kind: model, dataset or space.
        branch: A branch that exists, or ``refs/pr/N``.
        pull_request: Open one instead of committing.
        private: Who may read.
    """
    if before := _written_before(ctx, ctx.key):
        return before
    path = check_path(path, kind)
    data = _content(ctx, text, source)
    message = message.strip().partition("\n")[0] or f"Write {path}"
    check_words(ctx, message=message)
    check_names(ctx, path=path)
    if pull_request and branch != "main":
        raise ToolError("A pull request is always to main.", "Leave out branch.")
    if not branch.startswith("refs/pr/"):
        _ref(branch)
    proposed = pull_request or branch.startswith("refs/pr/")
    repo = ctx.hub.check_target(repo, kind, private, proposed)
    place = Place(repo, kind, branch, private, pull_request)
    ctx.receipt.write(place=vars(place), path=path)
    return _written(ctx, place, path, commit_files(ctx, place, {path: data}, message, mark_of(ctx.key)))


def _branch_effect(given: Any) -> Effect:
    return "destroy" if given.delete else "publish" if given.create else "read"


@tool(
    effect="destroy",
    needs=["hub:write"],
    effect_of=_branch_effect,
    repeatable="a branch that is there stays, and one that is gone stays gone",
)
def hub_branches(
    ctx: ToolContext,
    repo: str,
    create: str | None = None,
    delete: str | None = None,
    start: str = "main",
    kind: Kind = "model",
) -> Branches:
    """The branches of a repository, after making or deleting one.

    Args:
        repo: ``namespace/name``.
        create: A new branch.
        delete: A branch to delete, with what only it holds.
        start: Branch, tag or commit where a new one begins.
        kind: model, dataset or space.
    """
    if create and delete:
        raise ToolError("One at a time: create or delete.")
    repo, done = ctx.hub.full_name(repo), ""
    api = ctx.hub.api
    known = _branches(ctx, repo, kind)
    if create:
        check_names(ctx, branch=_ref(create))
        if create in known.branches:
            raise ToolError(f"{repo} has the branch {create!r} already, at {known.branches[create][:8]}.")
        with ctx.hub.reach(f"{kind} {repo!r}"):
            api.create_branch(repo, branch=create, revision=start, repo_type=kind, exist_ok=True)
        done = f"made {create} at {start}"
    if delete:
        if delete == "main" or delete not in known.branches:
            told = "main stays" if delete == "main" else f"{repo} has no branch {delete!r}"
            raise ToolError(f"{told}.", f"Branches: {', '.join(known.branches)}.")
        with ctx.hub.reach(f"{kind} {repo!r}"):
            api.delete_branch(repo, branch=delete, repo_type=kind)
        done = f"deleted {delete}, which was at {known.branches[delete]}"
    return _branches(ctx, repo, kind, done) if done else known


def _proposal_effect(given: Any) -> Effect:
    return "read" if given.action in ("list", "show") else "destroy" if given.action == "merge" else "publish"


@tool(
    effect="destroy",
    needs=["hub:write"],
    effect_of=_proposal_effect,
    reconcile=lambda ctx, key: proposals.done_before(ctx, mark_of(key)),
)
def hub_pull_requests(
    ctx: ToolContext,
    repo: str,
    action: Action = "list",
    number: int | None = Field(None, ge=1),
    title: str = "",
    text: str = "",
    files: dict[str, str] | None = None,
    kind: Kind = "model",
    private: bool = True,
    offset: int = Field(0, ge=0),
) -> list[PullRequest]:
    """Pull requests of a repository: list them, show one with its diff, open, comment, close or merge one.

    Args:
        repo: ``namespace/name``.
        action: What to do.
        number: Which one; not for list and open.
        title: Of a new one.
        text: Its description, or the comment.
        files: Of a new one: path to text; the rules of write_hub_file hold.
        kind: model, dataset or space.
        private: False allows to write where everybody reads.
        offset: Character of the diff to begin at.
    """
    repo = ctx.hub.full_name(repo)
    if action == "list":
        return proposals.listing(ctx, repo, kind)
    if before := proposals.done_before(ctx, mark_of(ctx.key)):
        return before
    if action == "open":
        return [_opened(ctx, Place(repo, kind, private=private, proposed=True), title, text, files or {})]
    if number is None:
        raise ToolError(f"Which pull request of {repo}?", "Give its number; action='list' shows them.")
    if action != "show":
        check_words(ctx, comment=text)
        ctx.hub.check_target(repo, kind, private, proposed=action == "comment")
        proposals.act(ctx, repo, kind, number, action, text.strip(), mark_of(ctx.key))
    return [proposals.show(ctx, repo, kind, number, offset)]


@tool(effect="publish", needs=["hub:write"], repeatable="what is there already is not made again")
def create_collection(
    ctx: ToolContext,
    title: str,
    items: list[str] | dict[str, str],
    description: str = "",
    private: bool = True,
) -> MadeCollection:
    """Put repositories and papers together on a page of your own; of the same title they are added.

    Args:
        title: At most 59 characters.
        items: ``owner/name`` for a model, else with ``datasets/``, ``spaces/`` or ``papers/`` before it; as a
            dict with a note to each.
        description: At most 150 characters.
        private: Who may see it.
    """
    notes = items if isinstance(items, dict) else dict.fromkeys(items, "")
    check_words(ctx, title=title, description=description, notes="\n".join(notes.values()))
    return collected.create(ctx, title.strip(), description.strip(), notes, private)


@tool(effect="read", needs=["hub:read"])
def search_hub(
    ctx: ToolContext,
    query: str,
    kind: Literal["space", "collection"] = "space",
    limit: int = Field(10, ge=1, le=50),
) -> list[dict[str, Any]]:
    """Find Spaces or collections on the Hub; inspect_repo and read_hub_file look into a Space.

    Args:
        query: Words; for collections also a collection's slug, which gives all its items.
        kind: space or collection.
        limit: How many, at the most.
    """
    return collected.spaces(ctx, query, limit) if kind == "space" else collected.search(ctx, query, limit)


def _content(ctx: ToolContext, text: str | None, source: str | None) -> bytes:
    """What is to be written, read once.

    Raises:
        ToolError: Not exactly one is given, or the file cannot be read.
    """
    if (text is None) == (source is None):
        raise ToolError("What is to be written?", "Give text, or source for a file; not both.")
    if source is None:
        return str(text).encode("utf-8")
    path = ctx.files.readable(source)
    with os.fdopen(open_file(Path(path.anchor), path), "rb") as file:
        data = file.read(max(LARGEST_IMAGE, LARGEST_TEXT) + 1)
        linked = os.fstat(file.fileno()).st_nlink > 1
    if linked:
        raise ToolError(f"{source} cannot be published: it is not a plain file of its own.", "Copy it first.")
    return data


def _written(ctx: ToolContext, place: Place, path: str, done: Done) -> WrittenFile:
    url = ctx.hub.url(place.repo, place.kind)
    if done.pull_request:
        url = f"{url}/discussions/{done.pull_request}"
    elif done.changed:
        ctx.emit(Published(place.repo, url, place.kind))
    for note in done.notes:
        ctx.emit(Notice("warning", f"{place.repo}: {note}"))
    return WrittenFile(
        repo=place.repo,
        path=path,
        url=url,
        commit=done.commit,
        changed=done.changed,
        pull_request=done.pull_request,
        notes=list(done.notes),
    )


def _opened(ctx: ToolContext, place: Place, title: str, text: str, files: dict[str, str]) -> PullRequest:
    if not 3 <= len(title.strip()) <= 200 or not 1 <= len(files) <= MOST_FILES:
        raise ToolError(f"A pull request has a title and 1 to {MOST_FILES} files.", "Give title and files.")
    given = {check_path(path, place.kind): body.encode("utf-8") for path, body in files.items()}
    check_words(ctx, title=title, description=text)
    check_names(ctx, paths=" ".join(given))
    ctx.hub.check_target(place.repo, place.kind, place.private, proposed=True)
    mark = mark_of(ctx.key)
    ctx.receipt.write(action="open", place=vars(place), repo=place.repo, kind=place.kind)
    done = find_again(ctx, place, mark) or commit_files(ctx, place, given, title.strip(), mark, text.strip())
    if done.pull_request is None:
        raise ToolError(f"{place.repo} holds these files already.", "There is nothing to propose.")
    for note in done.notes:
        ctx.emit(Notice("warning", f"{place.repo}: {note}"))
    return proposals.show(ctx, place.repo, place.kind, done.pull_request, 0)


def _branches(ctx: ToolContext, repo: str, kind: Kind, done: str = "") -> Branches:
    with ctx.hub.reach(f"{kind} {repo!r}"):
        refs = ctx.hub.api.list_repo_refs(repo, repo_type=kind)
    heads = {branch.name: str(branch.target_commit) for branch in refs.branches}
    return Branches(repo=repo, branches=heads, tags=[tag.name for tag in refs.tags], done=done)


def _ref(name: str) -> str:
    try:
        return ref_name(name)
    except Problem as problem:
        raise ToolError(problem.message) from None
