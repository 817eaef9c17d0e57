"""Discussions and pull requests: open, comment, edit, rename, close, show the changes, merge what fits."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.responses import JSONResponse, Response

from ml_intern.hub.diffs import conflicts, diff
from ml_intern.hub.names import Problem
from ml_intern.hub.objects import write_atomic
from ml_intern.hub.repository import MAIN, Add, Delete, Operation, Repo
from ml_intern.hub.trees import Commit
from ml_intern.hub.wire import Call, Routes, number

routes = Routes()
_PAGE = 50
_BASE = "/api/{kinds}/{ns}/{name}/discussions"


@routes.add(f"GET {_BASE}")
def listing(call: Call) -> Response:
    """One page of discussions, newest first."""
    found = sorted(_all(call.repo()), key=lambda d: -int(d["num"]))
    if wanted := call.one("type"):
        found = [d for d in found if wanted == "all" or d["isPullRequest"] == (wanted == "pull_request")]
    if wanted := call.one("status"):
        found = [
            d for d in found if wanted == "all" or (d["status"] in ("open", "draft")) == (wanted == "open")
        ]
    if author := call.one("author"):
        found = [d for d in found if d["author"]["name"] == author]
    start = number(call.one("p"), 0) * _PAGE
    return JSONResponse({"discussions": found[start : start + _PAGE], "count": len(found), "start": start})


@routes.add(f"POST {_BASE}")
def create(call: Call) -> Response:
    """Open a discussion, or a pull request without changes."""
    repo, body = call.repo(write=True), call.json()
    title = str(body.get("title", "")).strip()
    if not 3 <= len(title) <= 200:
        raise Problem("BadRequest", "A title has between 3 and 200 characters.")
    text, pull = str(body.get("description") or ""), bool(body.get("pullRequest"))
    num = open_one(repo, call.need_user(), title, text, pull=pull, base=repo.head() if pull else "")
    return JSONResponse(
        {"num": num, "url": f"{call.base}/{repo.name.path}/discussions/{num}", "pullRequest": pull}
    )


@routes.add(f"GET {_BASE}/{{num}}")
def details(call: Call) -> Response:
    """One discussion with its events; of a pull request what it changes, and where main is in the way."""
    repo = call.repo()
    found = _load(repo, call.path["num"])
    if found["isPullRequest"]:
        base, after = repo.commit(found["base"]).files, repo.commit(f"refs/pr/{found['num']}").files
        found["diff"] = diff(repo, base, after) if call.flag("diff") else ""
        if found["status"] in ("open", "draft"):
            found["filesWithConflicts"] = conflicts(base, repo.commit().files, after)
    return JSONResponse(found)


@routes.add(f"POST {_BASE}/{{num}}/comment")
def comment(call: Call) -> Response:
    """Say something."""
    repo = call.repo(write=True)
    event = _comment(call.need_user(), str(call.json().get("comment", "")))
    _append(repo, call.path["num"], event)
    return JSONResponse({"newMessage": event})


@routes.add(f"POST {_BASE}/{{num}}/comment/{{id}}/edit")
def edit(call: Call) -> Response:
    """Say it in other words."""
    text = str(call.json().get("content", ""))
    return _reworded(call, lambda data: {"edited": True, "latest": {**data["latest"], "raw": text}})


@routes.add(f"POST {_BASE}/{{num}}/comment/{{id}}/hide")
def hide(call: Call) -> Response:
    """Take words back; they are gone for good."""
    return _reworded(call, lambda data: {"hidden": True, "latest": {**data["latest"], "raw": ""}})


@routes.add(f"POST {_BASE}/{{num}}/title")
def rename(call: Call) -> Response:
    """Change the title."""
    repo, title = call.repo(write=True), str(call.json().get("title", ""))
    old = _load(repo, call.path["num"])["title"]
    event = _event(call.need_user(), "title-change", {"from": old, "to": title})
    _append(repo, call.path["num"], event, title=title)
    return JSONResponse({"newTitle": event})


@routes.add(f"POST {_BASE}/{{num}}/status")
def status(call: Call) -> Response:
    """Open or close."""
    repo, wanted = call.repo(write=True), str(call.json().get("status", ""))
    if wanted not in ("open", "closed"):
        raise Problem("BadRequest", f"{wanted!r} is not a status: open or closed.")
    if _load(repo, call.path["num"])["status"] == "merged":
        raise Problem("BadRequest", "It is merged: that is its last status.")
    event = _event(call.need_user(), "status-change", {"status": wanted})
    _append(repo, call.path["num"], event, status=wanted)
    return JSONResponse({"newStatus": event})


@routes.add(f"POST {_BASE}/{{num}}/merge")
def merge(call: Call) -> Response:
    """Bring a pull request's changes to main."""
    repo, num = call.repo(write=True), call.path["num"]
    found = _load(repo, num)
    if not found["isPullRequest"] or found["status"] in ("merged", "closed"):
        raise Problem("BadRequest", f"Discussion {num} is not an open pull request.")
    user = call.need_user()
    title = f"{found['title']} (#{num})"
    before = repo.head()
    changes = _changes(repo, found["base"], f"refs/pr/{num}", before)
    commit = repo.push(MAIN, changes, title, "", user, before)
    found["changes"]["mergeCommitId"] = commit.oid
    event = _event(user, "status-change", {"status": "merged"})
    _append(repo, num, event, status="merged", changes=found["changes"])
    return JSONResponse({"newStatus": event})


def open_one(repo: Repo, user: str, title: str, text: str, *, pull: bool, base: str) -> int:
    """Make a discussion or a pull request; its number comes back."""
    with repo.storage.lock(repo.name):
        num = max((d["num"] for d in _all(repo)), default=0) + 1
        found: dict[str, Any] = {
            "num": num,
            "title": title,
            "author": {"name": user},
            "createdAt": _now(),
            "status": "draft" if pull else "open",
            "isPullRequest": pull,
            "repo": {"name": repo.name.id, "type": repo.name.kind},
            "events": [_comment(user, text)],
            "base": base,
        }
        if pull:
            found |= {"changes": {"base": f"refs/heads/{MAIN}"}, "filesWithConflicts": [], "diff": ""}
        _save(repo, found)
    if pull:
        repo.set_ref("pulls", str(num), base)
    return int(num)


def note_commit(repo: Repo, num: int, user: str, commit: Commit) -> None:
    """Record a commit in a pull request and open it for review."""
    _append(
        repo, str(num), _event(user, "commit", {"subject": commit.title, "oid": commit.oid}), status="open"
    )


def _changes(repo: Repo, base: str, revision: str, main: str) -> list[Operation]:
    """What a pull request changed; where main changed the same file otherwise, it is refused."""
    before, after, now = (repo.commit(each).files for each in (base, revision, main))
    if clash := conflicts(before, now, after):
        raise Problem("Conflict", f"{clash[0]!r} was changed on main as well.")
    changed = [p for p in sorted({*before, *after}) if before.get(p) != after.get(p) != now.get(p)]
    return [Add(path, after[path]) if path in after else Delete(path) for path in changed]


def _reworded(call: Call, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Response:
    repo, num = call.repo(write=True), call.path["num"]
    call.need_user()
    with repo.storage.lock(repo.name):
        found = _load(repo, num)
        said = (e for e in found["events"] if e["type"] == "comment" and e["id"] == call.path["id"])
        if (event := next(said, None)) is None:
            raise Problem("NotFound", f"Discussion {num} has no comment {call.path['id']}.")
        event["data"] |= change(event["data"])
        _save(repo, found)
    return JSONResponse({"updatedComment": event})


def _append(repo: Repo, num: str, event: dict[str, Any], **changes: Any) -> None:
    with repo.storage.lock(repo.name):
        found = _load(repo, num)
        found["events"].append(event)
        _save(repo, {**found, **changes})


def _all(repo: Repo) -> list[dict[str, Any]]:
    return [json.loads(p.read_text()) for p in _folder(repo).glob("[0-9]*.json")]


def _load(repo: Repo, num: str) -> dict[str, Any]:
    path = _folder(repo) / f"{number(num, 0)}.json"
    if not path.is_file():
        raise Problem("NotFound", f"{repo.name.id} has no discussion {num}.")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _save(repo: Repo, found: dict[str, Any]) -> None:
    _folder(repo).mkdir(exist_ok=True)
    write_atomic(_folder(repo) / f"{found['num']}.json", json.dumps(found).encode())


def _folder(repo: Repo) -> Path:
    return repo.folder / "discussions"


def _comment(user: str, text: str) -> dict[str, Any]:
    latest = {"raw": text, "html": "", "updatedAt": _now(), "author": {"name": user}}
    return _event(user, "comment", {"edited": False, "hidden": False, "latest": latest, "history": []})


def _event(user: str, kind: str, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": secrets.token_hex(12),
        "type": kind,
        "createdAt": _now(),
        "author": {"name": user},
        "data": data,
    }


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
