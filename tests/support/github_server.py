"""A small GitHub on loopback: API and raw host in one, over repositories that a test writes down."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from support.loopback import Asked, Loopback, Reply

TOKEN = "ghp_" + "Zq3Xv8Lm2Rt6Yw9Pb4Nd7Hs1Kf5Gj0Cc2Ue8"
TREE_LIMIT = 100_000


@dataclass
class FakeRepo:
    """A repository: files by path, at each of its refs the same commit unless `refs` says otherwise."""

    files: Mapping[str, str | bytes]
    branch: str = "main"
    refs: Mapping[str, Mapping[str, str | bytes]] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    stars: int = 1
    fork: bool = False
    private: bool = False
    description: str = ""
    language: str = "Python"
    submodules: Mapping[str, str] = field(default_factory=dict)

    def at(self, ref: str) -> Mapping[str, str | bytes] | None:
        """The files at a ref or a commit."""
        known = {self.branch: self.files, "HEAD": self.files, **self.refs}
        for tag in self.tags:
            known.setdefault(tag, self.files)
        by_sha = {sha_of(files): files for files in known.values()}
        short = next((s for s in by_sha if len(ref) >= 7 and s.startswith(ref)), "")
        return known.get(ref) or by_sha.get(short)


def sha_of(thing: Any) -> str:
    """A name for a commit, a folder or a file."""
    return hashlib.sha1(
        repr(sorted(thing.items()) if isinstance(thing, Mapping) else thing).encode()
    ).hexdigest()


class GitHubServer:
    """What answers; `faults` are asked first and may answer in its place."""

    def __init__(self, repos: Mapping[str, FakeRepo], renamed: Mapping[str, str] | None = None) -> None:
        self.repos, self.renamed = dict(repos), dict(renamed or {})
        self.faults: list[Callable[[Asked], Reply | None]] = []
        self.tree_limit = TREE_LIMIT
        self.remaining = 57
        self.page = 100
        self.server: Loopback | None = None

    def answer(self, asked: Asked) -> Reply:
        """Answer a request."""
        for fault in self.faults:
            if (reply := fault(asked)) is not None:
                return reply
        sent = asked.headers.get("authorization", "")
        if sent and sent != f"Bearer {TOKEN}":
            return _said(401, "Bad credentials")
        path = unquote(asked.path)
        for pattern, route in _ROUTES:
            if found := re.fullmatch(pattern, path):
                reply = route(self, asked, *found.groups())
                limit = {"x-ratelimit-limit": "60", "x-ratelimit-remaining": str(self.remaining)}
                limit["x-ratelimit-reset"] = str(int(time.time()) + 1800)
                return Reply(reply.body, reply.status, {**limit, **reply.headers})
        return self._raw(asked, path)

    def _raw(self, asked: Asked, path: str) -> Reply:
        if path.count("/") < 4:
            return Reply(b"404: Not Found", 404)
        owner, name, ref, *rest = path.strip("/").split("/")
        repo = self.repos.get(f"{owner}/{name}")
        files = repo.at(ref) if repo and (not repo.private) else None
        if files is None or "/".join(rest) not in files:
            return Reply(b"404: Not Found", 404)
        return Reply(_bytes(files["/".join(rest)]), headers={"content-type": "text/plain; charset=utf-8"})

    def repo(self, asked: Asked, name: str) -> FakeRepo | None:
        """A repository, if the caller may see it."""
        found = self.repos.get(name)
        return found if found and (not found.private or asked.headers.get("authorization")) else None

    def about(self, name: str) -> dict[str, Any]:
        """What GitHub tells of a repository."""
        repo = self.repos[name]
        return {
            "full_name": name, "name": name.partition("/")[2], "default_branch": repo.branch,
            "description": repo.description or None, "language": repo.language, "fork": repo.fork,
            "stargazers_count": repo.stars, "pushed_at": "2026-05-17T10:00:00Z", "archived": False,
            "topics": ["llm"], "license": {"spdx_id": "Apache-2.0"}, "html_url": f"https://github.com/{name}",
        }  # fmt: skip

    def show(self, asked: Asked, name: str) -> Reply:
        if name in self.renamed:
            return Reply({"message": "Moved Permanently"}, 301, {"location": f"/repos/{self.renamed[name]}"})
        return Reply(self.about(name)) if self.repo(asked, name) else _said(404, "Not Found")

    def commit(self, asked: Asked, name: str, ref: str) -> Reply:
        repo = self.repo(asked, name)
        if repo is None:
            return _said(404, "Not Found")
        if not repo.files:
            return _said(409, "Git Repository is empty.")
        files = repo.at(ref)
        return Reply(sha_of(files)) if files is not None else _said(422, f"No commit found for SHA: {ref}")

    def tree(self, asked: Asked, name: str, sha: str) -> Reply:
        repo = self.repo(asked, name)
        if repo is None:
            return _said(404, "Not Found")
        files, under = repo.at(sha), ""
        if files is None:
            under = next(f"{d}/" for d in _folders(repo.files) if sha_of(d) == sha)
            files = {path[len(under) :]: data for path, data in repo.files.items() if path.startswith(under)}
        rows = [
            {"path": p, "type": "blob", "size": len(_bytes(d)), "sha": sha_of(p)} for p, d in files.items()
        ]
        rows += [{"path": d, "type": "tree", "sha": sha_of(under + d)} for d in _folders(files)]
        rows.sort(key=lambda row: str(row["path"]))
        if asked.query.get("recursive") != "1":
            rows = [row for row in rows if "/" not in str(row["path"])]
        return Reply({"sha": sha, "tree": rows[: self.tree_limit], "truncated": len(rows) > self.tree_limit})

    def contents(self, asked: Asked, name: str, path: str = "") -> Reply:
        repo = self.repo(asked, name)
        files = repo.at(asked.query.get("ref", "HEAD")) if repo else None
        if repo is None or files is None:
            return _said(404, "Not Found")
        path = path.strip("/")
        if path in repo.submodules:
            url = repo.submodules[path]
            return Reply({"type": "submodule", "path": path, "submodule_git_url": url})
        if path in files:
            data = _bytes(files[path])
            if "raw" in asked.headers.get("accept", ""):
                return Reply(data)
            small = len(data) <= 1_000_000
            content = base64.encodebytes(data).decode() if small else ""
            return Reply({"type": "file", "encoding": "base64" if small else "none", "content": content})
        under = f"{path}/" if path else ""
        inside = [p[len(under) :] for p in files if p.startswith(under)]
        rows = [
            {"name": p, "type": "file", "size": len(_bytes(files[under + p]))} for p in inside if "/" not in p
        ]
        rows += [{"name": d, "type": "dir"} for d in sorted({p.split("/")[0] for p in inside if "/" in p})]
        return Reply(rows) if rows else _said(404, "Not Found")

    def names(self, asked: Asked, name: str, kind: str) -> Reply:
        repo = self.repo(asked, name)
        if repo is None:
            return _said(404, "Not Found")
        known = [repo.branch, *repo.refs] if kind == "branches" else repo.tags
        return Reply([{"name": one} for one in known])

    def owned(self, asked: Asked, owner: str) -> Reply:
        names = [name for name in self.repos if name.startswith(f"{owner}/")]
        if not names:
            return _said(404, "Not Found")
        size, page = min(self.page, int(asked.query["per_page"])), int(asked.query.get("page", "1"))
        rows = [self.about(name) for name in names[(page - 1) * size : page * size]]
        more = page * size < len(names)
        url = f"{self.server.url if self.server else ''}/users/{owner}/repos?per_page={size}&page="
        link = f'<{url}1>; rel="first"' + (f', <{url}{page + 1}>; rel="next"' if more else "")
        return Reply(rows, headers={"link": link})

    def search(self, asked: Asked, what: str) -> Reply:
        query = asked.query["q"]
        if query.startswith("(("):
            return Reply(
                {"message": "Validation Failed", "errors": [{"message": "ERROR_TYPE_QUERY_PARSING"}]}, 422
            )
        if what == "users":
            owners = sorted({name.split("/")[0] for name in self.repos})
            return _items({"login": owner} for owner in owners if owner.startswith(query[:3].lower()))
        words = [word.lower() for word in query.replace('"', " ").split() if ":" not in word]
        if what == "repositories":
            fits = [
                n for n, r in self.repos.items() if all(w in f"{n} {r.description}".lower() for w in words)
            ]
            return _items(self.about(n) for n in sorted(fits, key=lambda n: -self.repos[n].stars))
        if not asked.headers.get("authorization"):
            return _said(401, "Requires authentication")
        return _items(self._coded(query, words, "text-match" in asked.headers["accept"]))

    def _coded(self, query: str, words: list[str], fragments: bool) -> list[dict[str, Any]]:
        only = re.search(r"repo:(\S+)", query)
        found = []
        for name, repo in self.repos.items():
            if only and name != only[1]:
                continue
            for path, data in repo.files.items():
                body = _bytes(data).decode("utf-8", "replace")
                if not all(word in body.lower() for word in words):
                    continue
                url = f"https://github.com/{name}/blob/{sha_of(repo.files)}/{path}"
                row = {"path": path, "sha": sha_of(data), "html_url": url, "repository": {"full_name": name}}
                found.append({**row, "text_matches": [{"fragment": body[:80]}]} if fragments else row)
        return found


_REPO = r"([\w.-]+/[\w.-]+)"
_ROUTES: list[tuple[str, Callable[..., Reply]]] = [
    (rf"/repos/{_REPO}", GitHubServer.show),
    (rf"/repos/{_REPO}/commits/(.+)", GitHubServer.commit),
    (rf"/repos/{_REPO}/git/trees/(\w+)", GitHubServer.tree),
    (rf"/repos/{_REPO}/contents/?(.*)", GitHubServer.contents),
    (rf"/repos/{_REPO}/(branches|tags)", GitHubServer.names),
    (r"/users/([\w.-]+)/repos", GitHubServer.owned),
    (r"/search/(code|repositories|users)", GitHubServer.search),
]


def _folders(files: Mapping[str, Any]) -> list[str]:
    found = {"/".join(path.split("/")[:n]) for path in files for n in range(1, path.count("/") + 1)}
    return sorted(found)


def _items(rows: Any) -> Reply:
    items = list(rows)
    return Reply({"total_count": len(items), "incomplete_results": False, "items": items})


def _said(status: int, message: str) -> Reply:
    return Reply({"message": message, "documentation_url": "https://docs.github.com/rest"}, status)


def _bytes(data: str | bytes) -> bytes:
    return data if isinstance(data, bytes) else data.encode()


def notebook(*cells: tuple[str, str]) -> str:
    """A notebook of (kind, source) cells, each with an output that nobody wants."""
    return json.dumps({
        "nbformat": 4,
        "cells": [
            {"cell_type": kind, "source": source.splitlines(True), "outputs": [{"text": "OUTPUT " * 50}]}
            for kind, source in cells
        ],
    })  # fmt: skip
