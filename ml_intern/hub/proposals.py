"""Pull requests as tools show and change them; what others wrote in them is data."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Any

from ml_intern.errors import ToolError
from ml_intern.hub.committing import Place, find_again
from ml_intern.hub.names import Kind
from ml_intern.hub.outgoing import of_a_model
from ml_intern.hub.results import PullRequest
from ml_intern.secrets.masking import mask

if TYPE_CHECKING:
    from huggingface_hub import Discussion, DiscussionWithDetails

    from ml_intern.context import ToolContext

MOST = 50
DIFF_CHARS = 10_000
_COMMENT_CHARS = 1_000
_TOUCHED = re.compile(r"^diff --git a/(.*) b/(.*)$", re.M)
_WITHHELD = "(withheld: it holds items of a sealed evaluation, which no tool shows)"


def listing(ctx: ToolContext, repo: str, kind: Kind) -> list[PullRequest]:
    """The newest ones."""
    with ctx.hub.reach(f"{kind} {repo!r}"):
        found = ctx.hub.api.get_repo_discussions(repo, repo_type=kind, discussion_type="pull_request")
        return [_row(ctx, each) for each in islice(found, MOST)]


def show(ctx: ToolContext, repo: str, kind: Kind, number: int, offset: int) -> PullRequest:
    """One with its comments and a page of its diff.

    Raises:
        ToolError: There is none of that number.
    """
    found = _details(ctx, repo, kind, number)
    diff = _shown(ctx, found.diff or "", kind)
    end = offset + DIFF_CHARS
    clashes = found.conflicting_files
    return _row(ctx, found).model_copy(
        update={
            "url": f"{ctx.hub.url(repo, kind)}/discussions/{number}",
            "comments": _comments(ctx, found, kind),
            "files": files_in(found.diff or ""),
            "conflicts": clashes if isinstance(clashes, list) else ["(not said which)"] if clashes else [],
            "diff": diff[offset:end],
            "next_offset": end if end < len(diff) else None,
            "merged_as": found.merge_commit_oid or "",
        }
    )


def act(ctx: ToolContext, repo: str, kind: Kind, number: int, action: str, text: str, mark: str) -> None:
    """Comment, close or merge; what a call before a crash has done is not done again.

    Raises:
        ToolError: It cannot be done.
    """
    found = _details(ctx, repo, kind, number)
    if action == "comment" and not text:
        raise ToolError("What is to be said?", "Give text.")
    if action != "comment" and found.status not in ("open", "draft"):
        raise ToolError(f"Pull request {number} of {repo} is {found.status}.")
    if action == "merge":
        _check_merge(ctx, repo, kind, found)
    told = {"comment": text, "said": len(_said(found)), "status": found.status}
    ctx.receipt.write(action=action, repo=repo, kind=kind, number=number, **told)
    with ctx.hub.reach(f"pull request {number} of {repo}"):
        if action == "comment":
            ctx.hub.api.comment_discussion(repo, number, text, repo_type=kind)
        elif action == "close":
            ctx.hub.api.change_discussion_status(repo, number, "closed", comment=text or None, repo_type=kind)
        else:
            ctx.hub.api.merge_pull_request(repo, number, comment=text or None, repo_type=kind)


def done_before(ctx: ToolContext, mark: str) -> list[PullRequest] | None:
    """What a call has done before a crash; None where it has not."""
    noted = ctx.receipt.read()
    if noted is None:
        return None
    repo, kind = noted["repo"], noted["kind"]
    if noted["action"] == "open":
        done = find_again(ctx, Place(**noted["place"]), mark)
        return [show(ctx, repo, kind, done.pull_request, 0)] if done and done.pull_request else None
    found = _details(ctx, repo, kind, noted["number"])
    wanted = {"close": "closed", "merge": "merged"}.get(noted["action"])
    happened = found.status == wanted if wanted else noted["comment"] in _said(found)[noted["said"] :]
    return [show(ctx, repo, kind, noted["number"], 0)] if happened else None


def files_in(diff: str) -> list[str]:
    """The paths that a diff touches."""
    return list(dict.fromkeys(path for pair in _TOUCHED.findall(diff) for path in pair))


def _check_merge(ctx: ToolContext, repo: str, kind: Kind, found: DiscussionWithDetails) -> None:
    """A model whose card tells measured numbers keeps the weights that were measured.

    Raises:
        ToolError: It would get others, or main is in the way.
    """
    if found.conflicting_files:
        named = found.conflicting_files
        told = f": {', '.join(named)}" if isinstance(named, list) else ""
        raise ToolError(f"Pull request {found.num} of {repo} clashes with main{told}.", "Open a new one.")
    touched = [path for path in files_in(found.diff or "") if of_a_model(path)]
    with ctx.hub.reach(f"{kind} {repo!r}"):
        ours = kind == "model" and ctx.hub.api.file_exists(repo, "ml_intern.json", repo_type=kind)
    if ours and touched:
        raise ToolError(
            f"It changes {', '.join(touched[:3])}, and the numbers of {repo} were measured without that.",
            "Measure the model anew and use publish_model.",
        )


def _details(ctx: ToolContext, repo: str, kind: Kind, number: int) -> DiscussionWithDetails:
    with ctx.hub.reach(f"pull request {number} of {repo}"):
        found = ctx.hub.api.get_discussion_details(repo, number, repo_type=kind)
    if not found.is_pull_request:
        raise ToolError(f"Number {number} of {repo} is a discussion and no pull request.")
    return found


def _row(ctx: ToolContext, found: Discussion) -> PullRequest:
    return PullRequest(
        number=found.num,
        title=_shown(ctx, found.title, "model")[:200],
        status=str(found.status),
        author=found.author,
        created=found.created_at.date().isoformat(),
    )


def _comments(ctx: ToolContext, found: DiscussionWithDetails, kind: Kind) -> list[str]:
    said = [(e.author, _shown(ctx, e.content, kind)) for e in _events(found) if not e.hidden]
    return [f"{who}: {text[:_COMMENT_CHARS]}" for who, text in said if text]


def _said(found: DiscussionWithDetails) -> list[str]:
    return [event.content for event in _events(found)]


def _events(found: DiscussionWithDetails) -> list[Any]:
    from huggingface_hub import DiscussionComment

    return [event for event in found.events if isinstance(event, DiscussionComment)]


def _shown(ctx: ToolContext, text: str, kind: Kind) -> str:
    """A text of others as a tool may show it."""
    bare = [line.lstrip("+-") for line in text.splitlines()]
    clean = not text or ctx.evals.guard([text, "\n".join(bare), *bare], lines=kind == "dataset").clean
    return mask(text) if clean else _WITHHELD
