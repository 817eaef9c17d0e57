"""Handlers for repositories: who am I, create, delete, list, describe, branches and tags."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import yaml
from starlette.responses import JSONResponse, Response

from ml_intern.hub.describe import describe, describe_paths, front_matter, moment
from ml_intern.hub.names import Problem, RepoName
from ml_intern.hub.trees import Commit
from ml_intern.hub.wire import Call, Routes, number

routes = Routes()
_LIST_PAGE = 100


@routes.add("GET /api/whoami-v2")
def whoami(call: Call) -> Response:
    """The one user."""
    user = call.need_user()
    token = {"type": "access_token", "accessToken": {"displayName": "local", "role": "write"}}
    return JSONResponse(
        {"type": "user", "id": user, "name": user, "fullname": user, "orgs": [], "auth": token}
    )


@routes.add("POST /api/repos/create")
def create(call: Call) -> Response:
    """Make a repository; one that exists answers 409 with its address."""
    body, user = call.json(), call.need_user()
    name = _named(body, user)
    private = body.get("visibility", "private" if body.get("private") else "public") == "private"
    extra = {"sdk": body["sdk"]} if body.get("sdk") else {}
    answer: dict[str, Any] = {"url": f"{call.base}/{name.path}", "name": name.id, "id": name.id}
    try:
        call.storage.create(name, private=private, author=user, **extra)
    except Problem as problem:
        if problem.code != "Conflict":
            raise
        return JSONResponse({**answer, "error": problem.message}, 409, {"X-Error-Message": problem.message})
    return JSONResponse(answer)


@routes.add("DELETE /api/repos/delete")
def delete(call: Call) -> Response:
    """Remove a repository."""
    call.storage.delete(_named(call.json(), call.need_user()))
    return JSONResponse({})


@routes.add("POST /api/repos/move")
def move(call: Call) -> Response:
    """Rename a repository."""
    body = call.json()
    call.need_user()
    kind = body.get("type", "model")
    names = [RepoName.of(kind, *_two(str(body.get(key, "")))) for key in ("fromRepo", "toRepo")]
    call.storage.move(names[0], names[1])
    return JSONResponse({"url": f"{call.base}/{names[1].path}"})


@routes.add("PUT /api/{kinds}/{ns}/{name}/settings")
def settings(call: Call) -> Response:
    """Change who may read."""
    repo, body = call.repo(write=True), call.json()
    changes: dict[str, Any] = {}
    if "private" in body:
        changes["private"] = bool(body["private"])
    if body.get("gated") in ("auto", "manual", False):
        changes["gated"] = body["gated"]
    if "visibility" in body:
        changes["private"] = body["visibility"] == "private"
    repo.update(**changes)
    return JSONResponse({"private": repo.settings["private"]})


@routes.add("GET /api/{kinds}/{ns}/{name}/auth-check")
def auth_check(call: Call) -> Response:
    """Whether the reader may read."""
    call.repo()
    return JSONResponse({})


@routes.add("GET /api/{kinds}")
def search(call: Call) -> Response:
    """Repositories of a kind, filtered, sorted and paged."""
    kind = RepoName.of(call.path["kinds"].removesuffix("s"), "a", "a").kind
    rows = [
        describe(r, r.commit()) for r in call.storage.list(kind) if call.user or not r.settings.get("private")
    ]
    words = [w.lower() for text in call.query.get("search", []) for w in text.split()]
    tags = {t for text in call.query.get("filter", []) for t in text.split(",") if t}
    tags |= {t for key in ("pipeline_tag", "library") if (t := call.one(key))}
    author = call.one("author")
    rows = [
        r
        for r in rows
        if all(w in r["id"].lower() for w in words)
        and tags <= set(r["tags"])
        and (not author or r["author"] == author)
    ]
    key = call.one("sort") or "lastModified"
    rows.sort(key=lambda r: (str(r.get(key, "")), r["id"]), reverse=call.one("direction", "-1") == "-1")
    return call.page(rows, min(number(call.one("limit"), _LIST_PAGE) or _LIST_PAGE, _LIST_PAGE))


@routes.add("GET /api/{kinds}/{ns}/{name}")
@routes.add("GET /api/{kinds}/{ns}/{name}/revision/{rev}")
def info(call: Call) -> Response:
    """One repository at a revision."""
    repo = call.repo()
    commit = repo.commit(call.path.get("rev", "main"))
    return JSONResponse(describe(repo, commit, blobs=call.flag("blobs"), siblings=True))


@routes.add("GET /api/{kinds}/{ns}/{name}/refs")
def refs(call: Call) -> Response:
    """Branches, tags and pull requests."""
    found = call.repo().refs
    answer: dict[str, Any] = {
        "branches": [_ref(n, f"refs/heads/{n}", oid) for n, oid in found["branches"].items()],
        "tags": [_ref(n, f"refs/tags/{n}", tag["target"]) for n, tag in found["tags"].items()],
        "converts": [],
    }
    if call.one("include_prs"):
        answer["pullRequests"] = [_ref(n, f"refs/pr/{n}", oid) for n, oid in found["pulls"].items()]
    return JSONResponse(answer)


@routes.add("GET /api/{kinds}/{ns}/{name}/commits/{rev}")
def commits(call: Call) -> Response:
    """The history of a revision, newest first."""
    return call.page([_commit_row(c) for c in call.repo().history(call.path["rev"])], 50)


@routes.add("POST /api/{kinds}/{ns}/{name}/branch/{rev}")
def add_branch(call: Call) -> Response:
    """Make a branch at a revision."""
    repo = call.repo(write=True)
    repo.set_ref("branches", call.path["rev"], repo.head(str(call.json().get("startingPoint") or "main")))
    return JSONResponse({})


@routes.add("DELETE /api/{kinds}/{ns}/{name}/branch/{rev}")
def drop_branch(call: Call) -> Response:
    """Remove a branch."""
    call.repo(write=True).drop_ref("branches", call.path["rev"])
    return JSONResponse({})


@routes.add("POST /api/{kinds}/{ns}/{name}/tag/{rev}")
def add_tag(call: Call) -> Response:
    """Tag a revision."""
    repo, body = call.repo(write=True), call.json()
    tag = {"target": repo.head(call.path["rev"]), "message": str(body.get("message") or "")}
    repo.set_ref("tags", str(body.get("tag", "")), tag)
    return JSONResponse({})


@routes.add("DELETE /api/{kinds}/{ns}/{name}/tag/{rev}")
def drop_tag(call: Call) -> Response:
    """Remove a tag."""
    call.repo(write=True).drop_ref("tags", call.path["rev"])
    return JSONResponse({})


@routes.add("POST /api/{kinds}/{ns}/{name}/super-squash/{rev}")
def squash(call: Call) -> Response:
    """Forget a branch's history, keep its files."""
    commit = call.repo(write=True).squash(call.path["rev"], str(call.json().get("message")), call.need_user())
    return JSONResponse({"commitOid": commit.oid})


@routes.add("GET /api/{kinds}/{ns}/{name}/tree/{rev}/{path*}")
def tree(call: Call) -> Response:
    """The files and folders below a path."""
    repo = call.repo()
    commit = repo.commit(call.path["rev"])
    folder = call.path["path"].strip("/")
    if folder not in commit.folders:
        raise Problem("EntryNotFound", f"There is no folder {folder!r} in {repo.name.id}.")
    start = f"{folder}/" if folder else ""
    paths = [p for p in sorted([*commit.files, *commit.folders]) if p.startswith(start) and p != folder]
    if not call.flag("recursive"):
        paths = [p for p in paths if "/" not in p[len(start) :]]
    return call.page(describe_paths(repo, commit, paths, call.flag("expand")))


@routes.add("POST /api/{kinds}/{ns}/{name}/paths-info/{rev}")
def paths_info(call: Call) -> Response:
    """What is at some paths; those that are not there are left out."""
    repo = call.repo()
    commit = repo.commit(call.path["rev"])
    if "json" in call.headers.get("content-type", ""):
        body = call.json()
        given, expand = body.get("paths", []), bool(body.get("expand"))
    else:
        form = parse_qs(call.body.decode("utf-8", "replace"))
        given, expand = form.get("paths", []), form.get("expand", [""])[-1].lower() == "true"
    found = [
        p for p in (str(g).strip("/") for g in given) if p and (p in commit.files or p in commit.folders)
    ]
    return JSONResponse(describe_paths(repo, commit, found, expand))


@routes.add("POST /api/validate-yaml")
def validate_yaml(call: Call) -> Response:
    """Whether the front matter of a README can be read."""
    text = str(call.json().get("content", ""))
    problem, data = "", None
    try:
        data = front_matter(text, strict=True)
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
    errors = [{"message": problem}] if problem else []
    warnings = [] if data or errors else [{"message": "empty or missing yaml metadata in repo card"}]
    return JSONResponse({"errors": errors, "warnings": warnings}, 400 if errors else 200)


def _named(body: dict[str, Any], user: str) -> RepoName:
    kind = str(body.get("type") or "model")
    return RepoName.of(kind, str(body.get("organization") or user), str(body.get("name", "")))


def _two(text: str) -> tuple[str, str]:
    namespace, _, name = text.partition("/")
    return namespace, name


def _ref(name: str, ref: str, oid: str) -> dict[str, str]:
    return {"name": name, "ref": ref, "targetCommit": oid}


def _commit_row(commit: Commit) -> dict[str, Any]:
    shown = {"title": commit.title, "message": commit.message}
    row = {"id": commit.oid, "authors": [{"user": commit.author}], "date": moment(commit.date), **shown}
    return {**row, "formatted": shown}
