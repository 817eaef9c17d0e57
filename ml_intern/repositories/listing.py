"""What an owner has: all public repositories, most stars first."""

from __future__ import annotations

from typing import Any

from ml_intern.errors import ToolError
from ml_intern.papers.values import text, texts, whole
from ml_intern.repositories.github import SITE, GitHub, license_of
from ml_intern.repositories.names import NoName, parse_place
from ml_intern.repositories.nearness import no_owner
from ml_intern.repositories.results import Repositories, Repository
from ml_intern.web.errors import Missing

MOST_PAGES = 10
_DESCRIPTION = 200


def repositories_of(github: GitHub, owner: str, limit: int) -> Repositories:
    """An owner's repositories.

    Args:
        github: The service.
        owner: A user or an organisation, also as ``@name``, a URL, or ``owner/name``.
        limit: How many are told.

    Raises:
        ToolError: There is none of this name; tells near ones.
    """
    name = owner_of(owner)
    try:
        found = [_repository(row) for row in github.listed(f"/users/{name}/repos", MOST_PAGES, sort="pushed")]
    except Missing:
        raise no_owner(github, name) from None
    found.sort(key=lambda repo: (repo.fork, repo.archived, -(repo.stars or 0)))
    if len(found) > limit:
        github.remarks.add(f"{limit} of {len(found)} are shown; ask for more with limit.")
    return Repositories(repositories=found[:limit], total=len(found), notes=github.remarks.all())


def owner_of(given: str) -> str:
    """The name of an owner.

    Raises:
        ToolError: It is none.
    """
    word = given.strip().strip("/").removeprefix("@")
    for start in ("https://github.com/", "http://github.com/", "https://www.github.com/", "github.com/"):
        word = word.removeprefix(start)
    word = word.removeprefix("orgs/").partition("?")[0]
    if "/" in word:
        word = word.partition("/")[0]
    try:
        return parse_place(f"{word}/x").owner
    except NoName:
        raise ToolError(
            f"{given[:100]!r} is no owner's name.", "Write a user or an organisation, such as huggingface."
        ) from None


def _repository(row: dict[str, Any]) -> Repository:
    name = text(row.get("full_name"))
    return Repository(
        name=name,
        description=text(row.get("description"))[:_DESCRIPTION],
        url=f"{SITE}/{name}",
        language=text(row.get("language")),
        stars=whole(row.get("stargazers_count")),
        pushed=text(row.get("pushed_at"))[:10],
        license=license_of(row),
        topics=texts(row.get("topics"))[:6],
        fork=row.get("fork") is True,
        archived=row.get("archived") is True,
    )
