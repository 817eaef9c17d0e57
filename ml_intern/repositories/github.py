"""GitHub: its API for names, commits and trees, its raw host for the text of files.

API: https://docs.github.com/en/rest, version 3. Without a token 60 requests an hour and no search of code.
The raw host needs none and counts apart, so texts come from there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx

from ml_intern.errors import ToolError
from ml_intern.papers.values import Raw, a_list, an_object, part, rows, text, whole
from ml_intern.repositories.names import Place, is_repo
from ml_intern.repositories.remarks import Remarks
from ml_intern.secrets.credentials import Credential, origin_of
from ml_intern.web.client import Web
from ml_intern.web.errors import Missing, Throttled, WebError
from ml_intern.web.orders import MEGABYTE
from ml_intern.web.page import Page

API = "https://api.github.com"
RAW = "https://raw.githubusercontent.com"
SITE = "https://github.com"
JSON = "application/vnd.github+json"
TOKEN_HINT = "Set GITHUB_TOKEN: 5,000 requests an hour, without one it is 60."
LARGEST_FILE = 10 * MEGABYTE
LARGEST_TREE = 60 * MEGABYTE
PAGE = 100
FEW_LEFT = 5
PAUSE_S = 60.0
"""Source: https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api."""
LONGEST_REF = 6
"""Segments that a branch's name may have in a URL."""


@dataclass(frozen=True)
class Repo:
    """A repository as GitHub calls it today.

    Attributes:
        full_name: ``owner/name``, the new one where it was renamed.
        branch: The default branch.
    """

    full_name: str
    branch: str = "HEAD"
    license: str = ""
    archived: bool = False

    def url(self, commit: str, path: str, kind: str = "blob") -> str:
        """The page of a file or a folder at a commit."""
        return f"{SITE}/{self.full_name}/{kind}/{commit}/{quote(path)}".rstrip("/")


@dataclass(frozen=True)
class Entry:
    """A file of a tree, or with kind ``tree`` a folder; `size` in bytes."""

    path: str
    size: int = 0
    kind: str = "blob"
    sha: str = ""


@dataclass(frozen=True)
class Tree:
    """What a commit holds; `truncated`: GitHub did not list all."""

    entries: list[Entry] = field(default_factory=list)
    truncated: bool = False

    @property
    def files(self) -> list[Entry]:
        """The files alone."""
        return [entry for entry in self.entries if entry.kind == "blob"]


class GitHub:
    """The service, for one call of a tool.

    Args:
        web: Fetches.
        token: The person's own; None: what anybody may ask.
        remarks: Takes what the reader should know.
    """

    def __init__(self, web: Web, token: Credential | None, remarks: Remarks) -> None:
        self.remarks = remarks
        self._web, self._token = web, token
        self._api = web.base("github", API)
        self._raw = web.base("github-raw", RAW)

    @property
    def has_token(self) -> bool:
        """Whether requests to the API carry a token."""
        return self._token is not None and self._token.belongs_to(self._api)

    def repository(self, place: Place) -> Repo:
        """A repository.

        Raises:
            Missing: It does not exist, or is not open to us.
        """
        data = self.get(f"/repos/{place.full_name}").data
        name = text(data.get("full_name"))
        repo = Repo(
            name if is_repo(name) else place.full_name,
            text(data.get("default_branch")) or "HEAD",
            license_of(data),
            data.get("archived") is True,
        )
        if repo.full_name.lower() != place.full_name.lower():
            self.remarks.add(f"{place.full_name} is called {repo.full_name} now.")
        if repo.archived:
            self.remarks.add(f"{repo.full_name} is archived: nobody works on it any more.")
        return repo

    def commit(self, repo: Repo, ref: str) -> str:
        """The commit that a branch, a tag or the beginning of a commit's name means.

        Raises:
            Missing: There is none of this name.
        """
        ref = ref or repo.branch
        path = f"/repos/{repo.full_name}/commits/{quote(ref, safe='')}"
        try:
            sha = self.get(path, accept="application/vnd.github.sha", parse=_sha).data
        except WebError as error:
            if error.status == 409:
                raise Missing(f"{repo.full_name} is empty.", "", 409) from None
            if error.status not in (404, 422):
                raise
            raise Missing(f"{repo.full_name} has no branch, tag or commit {ref!r}.", "", 404) from None
        return str(sha)

    def located(self, repo: Repo, place: Place) -> tuple[str, str]:
        """Commit and path of a place; a branch may have slashes in its name, so each border is tried.

        Raises:
            Missing: No beginning of it is a ref.
        """
        if place.ref or not place.tail:
            return self.commit(repo, place.ref), place.path
        bits = place.tail.split("/")
        for count in range(1, min(len(bits), LONGEST_REF) + 1):
            try:
                return self.commit(repo, "/".join(bits[:count])), "/".join(bits[count:])
            except Missing:
                continue
        raise Missing(f"{repo.full_name} has no branch, tag or commit {bits[0]!r}.", "", 404)

    def tree(self, repo: Repo, sha: str, recursive: bool = True, under: str = "") -> Tree:
        """What a commit or a folder holds; `under` stands before each path."""
        params = {"recursive": "1"} if recursive else None
        page = self.get(f"/repos/{repo.full_name}/git/trees/{sha}", params, limit=LARGEST_TREE)
        entries = [
            Entry(under + path, whole(row.get("size")) or 0, text(row.get("type")), text(row.get("sha")))
            for row in rows(page.data.get("tree"))
            if isinstance(path := row.get("path"), str) and path
        ]
        return Tree(entries, page.data.get("truncated") is True)

    def file(self, repo: Repo, sha: str, path: str, limit: int = LARGEST_FILE) -> bytes:
        """A file's bytes.

        Raises:
            Missing: There is no such file at this commit.
            TooLarge: It is longer than `limit`.
        """
        url = f"{self._raw}/{repo.full_name}/{sha}/{quote(path)}"
        page = self._web.get(url, credential=self._token, limit=limit)
        self.remarks.add_age(page)
        return page.content

    def contents(self, repo: Repo, sha: str, path: str) -> Any:
        """What the API says is at a path: a list of a folder's entries, or one object."""
        page = self.get(
            f"/repos/{repo.full_name}/contents/{quote(path)}",
            {"ref": sha},
            parse=Page.json,
            limit=LARGEST_FILE,
        )
        return page.data

    def bytes_of(self, repo: Repo, sha: str, path: str, limit: int = LARGEST_FILE) -> bytes:
        """A file's bytes through the API, for repositories that the raw host does not show."""
        route = f"/repos/{repo.full_name}/contents/{quote(path)}"
        page = self.get(
            route, {"ref": sha}, accept="application/vnd.github.raw+json", parse=None, limit=limit
        )
        return page.content

    def search(self, what: str, query: str, limit: int, **params: Any) -> list[dict[str, Any]]:
        """What ``/search/code``, ``/search/repositories`` or ``/search/users`` finds."""
        accept = "application/vnd.github.text-match+json" if what == "code" else JSON
        asked = {"q": query, "per_page": min(limit, PAGE), **params}
        page = self.get(f"/search/{what}", asked, accept=accept)
        if page.data.get("incomplete_results") is True:
            self.remarks.add("GitHub's search ran out of time: there may be more.")
        return list(rows(page.data.get("items")))

    def listed(self, path: str, most: int, **params: Any) -> Iterator[dict[str, Any]]:
        """The rows of a list, page after page, as the ``Link`` header leads on; at most so many pages."""
        url, given = f"{self._api}{path}", {"per_page": PAGE, **params}
        for number in range(most):
            try:
                page = self._ask(url, given, parse=a_list)
            except WebError as error:
                if not number:
                    raise
                self.remarks.add(f"There are more, which could not be had: {refused(error)}.")
                return
            yield from rows(page.data)
            url, given = _next(page), {}
            if not url:
                return
            if origin_of(url) != origin_of(self._api):
                self.remarks.add("There are more, on a host that was not asked.")
                return
        self.remarks.add(f"There are more: only {most * PAGE} were looked at.")

    def get(self, path: str, params: Mapping[str, Any] | None = None, **options: Any) -> Page:
        """Ask the API."""
        return self._ask(f"{self._api}{path}", params, **options)

    def _ask(self, url: str, params: Mapping[str, Any] | None, **options: Any) -> Page:
        asked = {"accept": JSON, "parse": an_object, **options}
        try:
            page = self._web.get(url, params, credential=self._token, **asked)
        except WebError as error:
            if error.status == 401 and self.has_token:
                self._token = None
                self.remarks.add("GitHub refuses the token (status 401), so it was asked without. Renew it.")
                return self._ask(url, params, **options)
            raise self._explained(error) from None
        self.remarks.add_age(page)
        self._look_at_allowance(page)
        return page

    def _explained(self, error: WebError) -> WebError:
        """An error with what can be done about it."""
        if error.status == 403 and b"rate limit" in error.body.lower():
            # Without a wait beside it, a minute is what GitHub asks for.
            self._web.leave_alone(self._api, PAUSE_S, self._token)
            return Throttled(
                "GitHub asks for a pause (a secondary rate limit).", "Ask again in a minute.", 403
            )
        if isinstance(error, Throttled) and not self.has_token:
            return Throttled(error.message, TOKEN_HINT, error.status)
        if error.status == 422:
            return WebError(f"GitHub does not take the question: {_reasons(error)}.", "", 422, error.body)
        return error

    def _look_at_allowance(self, page: Page) -> None:
        left = whole(page.headers.get("x-ratelimit-remaining"))
        if page.cached or left is None or left > FEW_LEFT:
            return
        reset = whole(page.headers.get("x-ratelimit-reset")) or 0
        when = f" until {datetime.fromtimestamp(reset):%H:%M}" if 0 < reset < 1 << 35 else ""
        hint = "" if self.has_token else f" {TOKEN_HINT}"
        self.remarks.put("allowance", f"GitHub allows {left} more requests{when}.{hint}")


def license_of(data: Raw) -> str:
    """The licence's short name, as GitHub recognised it."""
    found = text(part(data, "license").get("spdx_id"))
    return "" if found == "NOASSERTION" else found


def _sha(page: Page) -> str:
    found = page.text.strip()
    if not 7 <= len(found) <= 64 or any(c not in "0123456789abcdef" for c in found):
        raise ValueError("it is no name of a commit")
    return found


def _next(page: Page) -> str:
    """Where the ``Link`` header says that the next page is."""
    links = httpx.Response(200, headers={"link": page.headers.get("link", "")}).links
    return str(links.get("next", {}).get("url", ""))


def _reasons(error: WebError) -> str:
    """What GitHub says in a 422: a message, and a list of errors."""
    try:
        data = httpx.Response(200, content=error.body).json()
    except ValueError:
        data = {}
    data = data if isinstance(data, dict) else {}
    said = [text(data.get("message")), *(text(row.get("message")) for row in rows(data.get("errors")))]
    return "; ".join(word.rstrip(".") for word in said if word)[:300] or "it cannot be understood"


def refused(error: ToolError) -> str:
    """An error as half a sentence."""
    return error.message.rstrip(".")
