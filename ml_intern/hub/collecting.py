"""Collections of the embedded Hub: lists of repositories and papers with notes, one JSON file each.

They lie in ``collections/NAMESPACE/NAME.json`` of the storage.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from starlette.responses import JSONResponse, Response

from ml_intern.hub.describe import moment
from ml_intern.hub.names import Problem, RepoName, repo_name_problem
from ml_intern.hub.objects import write_atomic
from ml_intern.hub.repository import now
from ml_intern.hub.wire import Call, Routes, number

routes = Routes()
TYPES = ("model", "dataset", "space", "paper", "collection")
_BASE = "/api/collections"
_ONE = f"{_BASE}/{{ns}}/{{slug}}"
_PAGE = 100
_IN_A_LIST = 4
"""Items of each collection that a listing shows, as the Hub does."""
_LONGEST_TITLE, _LONGEST_TEXT, _LONGEST_NOTE = 59, 150, 500
_MOST_ITEMS = 1000

Found = dict[str, Any]


@routes.add(f"GET {_BASE}")
def listing(call: Call) -> Response:
    """Collections by owner, by an item in them, by words."""
    owners, items = call.query.get("owner", ()), call.query.get("item", ())
    words = call.one("q").lower().split()
    found = [
        row
        for row in _all(call)
        if (not owners or row["owner"] in owners)
        and all(any(_named(i) == wanted for i in row["items"]) for wanted in items)
        and all(w in f"{row['title']} {row.get('description') or ''} {row['slug']}".lower() for w in words)
    ]
    found.sort(key=lambda row: (row["lastUpdated"], row["slug"]), reverse=True)
    shown = [{**_shown(call, row), "items": _open_items(call, row)[:_IN_A_LIST]} for row in found]
    for row in shown:
        del row["position"]  # the client counts them itself
    return call.page(shown, min(number(call.one("limit"), _PAGE) or _PAGE, _PAGE))


@routes.add(f"POST {_BASE}")
def create(call: Call) -> Response:
    """Make one; a title that the namespace has already answers 409 with its slug."""
    body, user = call.json(), call.need_user()
    owner = str(body.get("namespace") or user)
    if "/" in owner or (wrong := repo_name_problem(f"{owner}/x")):
        raise Problem("BadRequest", wrong or f"{owner!r} is no namespace.")
    title = _text(body, "title", _LONGEST_TITLE)
    if not title:
        raise Problem("BadRequest", "A collection has a title.")
    row = {
        "title": title,
        "owner": owner,
        "description": _text(body, "description", _LONGEST_TEXT),
        "private": bool(body.get("private")),
        "theme": "blue",
        "upvotes": 0,
        "position": 0,
        "items": [],
    }
    with call.storage.locked("collections"):
        same = (r for r in _all(call) if r["owner"] == owner and r["title"] == title)
        if there := next(same, None):
            told = "This collection exists already."
            return JSONResponse({"error": told, "slug": there["slug"]}, 409, {"X-Error-Message": told})
        words = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
        row["slug"] = f"{owner}/{words or 'collection'}-{secrets.token_hex(12)}"
        _save(call, row)
    return JSONResponse(_shown(call, row))


@routes.add(f"GET {_ONE}")
def one(call: Call) -> Response:
    """One with all its items."""
    return JSONResponse(_shown(call, _load(call)))


@routes.add(f"PATCH {_ONE}")
def update(call: Call) -> Response:
    """Change title, description, theme, position or who may read."""
    body = call.json()
    given: dict[str, Callable[[], Any]] = {
        "title": lambda: _text(body, "title", _LONGEST_TITLE),
        "description": lambda: _text(body, "description", _LONGEST_TEXT),
        "theme": lambda: _text(body, "theme", 20),
        "private": lambda: bool(body["private"]),
        "position": lambda: _position(body),
    }
    changes = {name: read() for name, read in given.items() if name in body}
    row = _change(call, lambda row: row.update(changes))
    return JSONResponse({"success": True, "data": _shown(call, row)})


@routes.add(f"DELETE {_ONE}")
def delete(call: Call) -> Response:
    """Remove one; what it lists stays."""
    call.need_user()
    with call.storage.locked("collections"):
        _load(call)
        _file(call).unlink()
    return JSONResponse({"success": True})


@routes.add(f"POST {_ONE}/items")
def add_item(call: Call) -> Response:
    """Put something in; what is in already answers 409."""
    body = call.json()
    given = body.get("item")
    item = given if isinstance(given, dict) else {}
    id, kind = str(item.get("id", "")), str(item.get("type", ""))
    if kind not in TYPES:
        raise Problem("BadRequest", f"{kind!r} is not a kind of item: {', '.join(TYPES)}.")
    _demand(call, kind, id)
    note = _text(body, "note", _LONGEST_NOTE)

    def put(row: Found) -> None:
        if any((i["type"], i["id"]) == (kind, id) for i in row["items"]):
            raise Problem("Conflict", f"{id} is in this collection already.")
        if len(row["items"]) >= _MOST_ITEMS:
            raise Problem("BadRequest", f"A collection holds {_MOST_ITEMS} items.")
        row["items"].append({"_id": secrets.token_hex(12), "id": id, "type": kind, "note": note})

    return JSONResponse(_shown(call, _change(call, put)))


@routes.add(f"PATCH {_ONE}/items/{{item}}")
def update_item(call: Call) -> Response:
    """Change an item's note, or move it."""
    body = call.json()

    def change(row: Found) -> None:
        item = _item(row, call.path["item"])
        if "note" in body:
            item["note"] = _text(body, "note", _LONGEST_NOTE)
        if "position" in body:
            row["items"].remove(item)
            row["items"].insert(_position(body), item)

    _change(call, change)
    return JSONResponse({"success": True})


@routes.add(f"DELETE {_ONE}/items/{{item}}")
def delete_item(call: Call) -> Response:
    """Take an item out."""
    _change(call, lambda row: row["items"].remove(_item(row, call.path["item"])))
    return JSONResponse({"success": True})


def _change(call: Call, change: Callable[[Found], object]) -> Found:
    """Read, change and write a collection, one writer at a time."""
    call.need_user()
    with call.storage.locked("collections"):
        row = _load(call)
        change(row)
        _save(call, row)
    return row


def _shown(call: Call, row: Found) -> Found:
    """As clients read it: items with their positions, without private ones for who may not see them."""
    owner = {"name": row["owner"], "type": "user"}
    return {**row, "owner": owner, "items": _open_items(call, row), "gating": False}


def _open_items(call: Call, row: Found) -> list[Found]:
    shown = []
    for position, item in enumerate(row["items"]):
        if call.user is None and not _is_public(call, item):
            continue
        note = {"note": {"text": item["note"], "html": ""}} if item["note"] else {"note": None}
        shown.append({**item, **note, "position": position})
    return shown


def _is_public(call: Call, item: Found) -> bool:
    if item["type"] not in ("model", "dataset", "space"):
        return True
    try:
        return not call.storage.get(_repo(item["type"], item["id"])).settings.get("private")
    except Problem:
        return False


def _demand(call: Call, kind: str, id: str) -> None:
    """Check that an item exists, as far as this Hub can know it."""
    if kind in ("model", "dataset", "space"):
        call.storage.get(_repo(kind, id))
    elif not re.fullmatch(r"[\w./-]{3,200}", id):
        raise Problem("BadRequest", f"{id!r} is no id of a {kind}.")


def _repo(kind: str, id: str) -> RepoName:
    namespace, _, name = id.partition("/")
    return RepoName.of(kind, namespace, name)


def _named(item: Found) -> str:
    """An item as the filter of a listing names it."""
    return f"{item['type']}s/{item['id']}"


def _item(row: Found, id: str) -> Found:
    found: Found | None = next((i for i in row["items"] if i["_id"] == id), None)
    if found is None:
        raise Problem("NotFound", f"{row['slug']} has no item {id}.")
    return found


def _text(body: Found, key: str, longest: int) -> str:
    value = str(body.get(key) or "").strip()
    if len(value) > longest:
        raise Problem("BadRequest", f"The {key} is {len(value)} characters long; {longest} are allowed.")
    return value


def _position(body: Found) -> int:
    value = body["position"]
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise Problem("BadRequest", f"{value!r} is no position.")
    return value


def _all(call: Call) -> Iterator[Found]:
    """Every collection that the reader may see."""
    for path in sorted((call.storage.root / "collections").glob("*/*.json")):
        try:
            row: Found = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            continue  # deleted in between
        if call.user or not row["private"]:
            yield row


def _load(call: Call) -> Found:
    path = _file(call)
    row: Found = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    if not row or (row["private"] and call.user is None):
        raise Problem("NotFound", f"There is no collection {call.path['ns']}/{call.path['slug']}.")
    return row


def _save(call: Call, row: Found) -> None:
    row["lastUpdated"] = moment(now())
    path = call.storage.root / "collections" / f"{row['slug']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(row).encode())


def _file(call: Call) -> Path:
    names = (call.path["ns"], call.path["slug"])
    if not all(re.fullmatch(r"[A-Za-z0-9](?:[\w.-]*\w)?", name) and ".." not in name for name in names):
        raise Problem("NotFound", f"There is no collection {'/'.join(names)}.")
    return call.storage.root / "collections" / names[0] / f"{names[1]}.json"
