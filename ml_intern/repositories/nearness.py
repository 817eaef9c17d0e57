"""What somebody may have meant who named a thing that is not there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from ml_intern.errors import ToolError
from ml_intern.papers.values import rows, text
from ml_intern.repositories.github import GitHub, Repo
from ml_intern.repositories.names import Place
from ml_intern.web.errors import Missing

SHOWN = 5


def no_repository(github: GitHub, place: Place) -> ToolError:
    """For a repository that is not there: the owner's with a like name, else others of this name."""
    try:
        names = [
            text(row.get("name")) for row in github.listed(f"/users/{place.owner}/repos", 1, sort="pushed")
        ]
        found = [f"{place.owner}/{name}" for name in near(place.name, names)]
    except ToolError:
        found = []
    return _error(
        f"{place.full_name} does not exist on GitHub, or is private.", found or named(github, place.name)
    )


def named(github: GitHub, name: str) -> list[str]:
    """Repositories with a word in their name, most stars first."""
    words = " ".join(word for word in name.split() if ":" not in word)[:60]
    try:
        items = github.search("repositories", f"{words} in:name", SHOWN) if words else []
    except ToolError:
        return []
    return [text(row.get("full_name")) for row in items]


def no_ref(github: GitHub, repo: Repo, ref: str, error: Missing) -> ToolError:
    """For a branch, tag or commit that is not there."""
    names: list[str] = []
    for kind in ("branches", "tags"):
        try:
            page = github.get(f"/repos/{repo.full_name}/{kind}", {"per_page": 100}, parse=lambda p: p.json())
        except ToolError:
            continue
        names += [text(row.get("name")) for row in rows(page.data)]
    return _error(error.message, near(ref, names) or [repo.branch])


def no_owner(github: GitHub, owner: str) -> ToolError:
    """For a user or an organisation that is not there."""
    try:
        found = [text(row.get("login")) for row in github.search("users", owner[:60], SHOWN)]
    except ToolError:
        found = []
    return _error(f"GitHub knows no user or organisation {owner!r}.", found)


def no_path(github: GitHub, repo: Repo, commit: str, path: str) -> ToolError:
    """For a path that is not there: those with the same file name, and those that are written alike."""
    try:
        paths = [entry.path for entry in github.tree(repo, commit).entries]
    except ToolError:
        paths = []
    last = path.rpartition("/")[2].lower()
    same = [known for known in paths if known.rpartition("/")[2].lower() == last]
    found = list(dict.fromkeys([*same[:SHOWN], *near(path, paths)]))
    if not found:
        by_name = {known.rpartition("/")[2]: known for known in reversed(paths)}
        found = [by_name[name] for name in near(last, by_name)]
    return _error(f"{repo.full_name} has no {path!r} at {commit[:12]}.", found)


def near(word: str, known: Iterable[str]) -> list[str]:
    """The known words that are written like one."""
    by_small = {name.lower(): name for name in known if name}
    inside = [name for small, name in by_small.items() if len(word) > 2 and word.lower() in small][:SHOWN]
    close = [by_small[small] for small in difflib.get_close_matches(word.lower(), by_small, SHOWN, 0.6)]
    return list(dict.fromkeys([*close, *inside]))[:SHOWN]


def _error(message: str, found: list[str]) -> ToolError:
    shown = [name for name in found if name][:SHOWN]
    return Missing(message, f"There is: {', '.join(shown)}." if shown else "Check the name.", 404)
