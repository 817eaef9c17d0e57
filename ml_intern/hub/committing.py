"""Single files into a repository, in one commit on top of what was looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ml_intern.errors import Interrupted, ToolError
from ml_intern.hub.describe import front_matter
from ml_intern.hub.names import Kind
from ml_intern.hub.outgoing import check_file

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo

    from ml_intern.context import ToolContext

MOST_FILES = 20
_LOOKED_AT = 20
"""Newest pull requests among which one is looked for after a crash."""
_MOVED = 412


@dataclass(frozen=True)
class Place:
    """Where a commit goes.

    Attributes:
        repo: ``namespace/name``.
        kind: Of the repository.
        branch: Branch or ``refs/pr/N``.
        private: For a new repository: who may read.
        proposed: As a new pull request.
    """

    repo: str
    kind: Kind
    branch: str = "main"
    private: bool = True
    proposed: bool = False


@dataclass(frozen=True)
class Done:
    """A commit that came about; `pull_request` is the number of one that was opened for it."""

    commit: str
    pull_request: int | None = None
    changed: bool = True
    notes: tuple[str, ...] = ()


def commit_files(
    ctx: ToolContext, place: Place, files: Mapping[str, bytes], title: str, mark: str, text: str = ""
) -> Done:
    """Look at the files and commit them, if nobody else has committed meanwhile.

    Args:
        ctx: Of the call.
        place: Where to.
        files: By path; the paths have been checked.
        title: First line of the commit.
        mark: By which the commit is known again after a crash.
        text: What a pull request says of itself.

    Raises:
        ToolError: A file may not be published, or the branch has moved.
    """
    parent = _head(ctx, place)
    before = {path: _now(ctx, place, path, parent) if parent else None for path in files}
    notes = [
        note for path, data in files.items() for note in check_file(ctx, place.kind, path, data, before[path])
    ]
    if parent and all(before[path] == data for path, data in files.items()):
        return Done(parent, changed=False, notes=tuple(notes))
    if ctx.cancelled():
        raise Interrupted("Stopped before anything was published.")
    done = _commit(ctx, place, files, title, "\n\n".join(filter(None, (text, mark))), parent)
    return Done(str(done.oid), done.pr_num, notes=tuple(notes))


def find_again(ctx: ToolContext, place: Place, mark: str) -> Done | None:
    """The commit that a call made before a crash."""
    if not place.proposed:
        found = ctx.hub.find_commit(place.repo, place.kind, mark, place.branch)
        return Done(found) if found else None
    with ctx.hub.reach(place.repo):
        numbers = [
            d.num
            for d, _ in zip(
                ctx.hub.api.get_repo_discussions(
                    place.repo, repo_type=place.kind, discussion_type="pull_request"
                ),
                range(_LOOKED_AT),
                strict=False,
            )
        ]
    for number in numbers:
        if found := ctx.hub.find_commit(place.repo, place.kind, mark, f"refs/pr/{number}"):
            return Done(found, number)
    return None


def _head(ctx: ToolContext, place: Place) -> str:
    """The newest commit of the branch; empty where the repository is yet to be made.

    Raises:
        ToolError: There is no such branch, or no repository that a pull request could go to.
    """
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    with ctx.hub.reach(f"{place.kind} {place.repo!r}"):
        try:
            info = ctx.hub.api.repo_info(place.repo, repo_type=place.kind, revision=place.branch)
        except RevisionNotFoundError:
            raise ToolError(
                f"{place.repo} has no branch {place.branch!r}.",
                f"hub_branches({place.repo!r}, create={place.branch!r}) makes it.",
            ) from None
        except RepositoryNotFoundError:
            if place.proposed or place.branch != "main":
                raise
            return ""
    return str(info.sha)


def _now(ctx: ToolContext, place: Place, path: str, revision: str) -> bytes | None:
    """What stands at a path; None where nothing does."""
    from huggingface_hub.errors import EntryNotFoundError

    with ctx.hub.reach(f"{place.kind} {place.repo!r}"):
        try:
            found = ctx.hub.api.hf_hub_download(
                place.repo, path, repo_type=place.kind, revision=revision, cache_dir=ctx.hub.cache
            )
        except EntryNotFoundError:
            return None
    return Path(found).read_bytes()


def _commit(
    ctx: ToolContext, place: Place, files: Mapping[str, bytes], title: str, description: str, parent: str
) -> CommitInfo:
    from huggingface_hub import CommitOperationAdd
    from huggingface_hub.errors import HfHubHTTPError

    operations = [CommitOperationAdd(path, data) for path, data in files.items()]
    with ctx.hub.reach(place.repo):
        made = not parent and ctx.hub.make(place.repo, place.kind, place.private, _sdk(place, files))
        try:
            return ctx.hub.api.create_commit(
                place.repo,
                operations,
                commit_message=title,
                commit_description=description,
                repo_type=place.kind,
                revision=place.branch,
                create_pr=place.proposed,
                parent_commit=parent or None,
            )
        except BaseException as error:
            if made:
                ctx.hub.drop_empty(place.repo, place.kind)
            if (
                isinstance(error, HfHubHTTPError)
                and error.response is not None
                and error.response.status_code == _MOVED
            ):
                told = f"{place.branch} of {place.repo} has moved since it was read: somebody else committed."
                raise ToolError(told, "Read the file again, then write it again.") from None
            raise


def _sdk(place: Place, files: Mapping[str, bytes]) -> str | None:
    """What runs a new Space: as its card says, else as its files are called."""
    if place.kind != "space":
        return None
    said = front_matter(files.get("README.md", b"").decode("utf-8", "replace")).get("sdk")
    named = {"Dockerfile": "docker", "app.py": "gradio"}
    return str(said) if said else next((sdk for name, sdk in named.items() if name in files), "static")
