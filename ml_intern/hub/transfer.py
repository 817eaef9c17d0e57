"""Handlers that move bytes: preupload, large files, commits, downloads."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import AsyncIterator
from fnmatch import fnmatch
from typing import Any
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, JSONResponse, Response

from ml_intern.clock import now
from ml_intern.hub import discussions
from ml_intern.hub.names import Problem, file_path
from ml_intern.hub.objects import Entry
from ml_intern.hub.repository import Add, Delete, Operation, Repo
from ml_intern.hub.storage import Storage
from ml_intern.hub.wire import Call, Routes, number, read_json, size_of, whole

routes = Routes()
REGULAR_LIMIT = 10 * 2**20
_LINE_LIMIT = 64 * 2**20
_UPLOAD_S = 6 * 3600


@routes.add("POST /api/{kinds}/{ns}/{name}/preupload/{rev}")
def preupload(call: Call) -> Response:
    """Which files travel inside the commit, and which ahead of it."""
    repo = call.repo(write=True)
    state = repo.commit(call.path["rev"])
    patterns = _large_patterns(repo, state.files.get(".gitattributes"))
    answer = []
    for file in call.rows("files"):
        path, size = file_path(str(file.get("path", ""))), size_of(file)
        large = bool(size) and (
            size > REGULAR_LIMIT or _matches(path, patterns) or _binary(str(file.get("sample", "")))
        )
        here = state.files.get(path)
        known = here.etag if here and here.lfs == large else None
        mode = "lfs" if large else "regular"
        answer.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": known})
    return JSONResponse({"files": answer, "commitOid": state.oid})


@routes.add("POST /{ns}/{name}/info/lfs/objects/batch")
@routes.add("POST /{kinds}/{ns}/{name}/info/lfs/objects/batch")
def batch(call: Call) -> Response:
    """Where to put large files; those that are here already need no upload."""
    call.repo(write=True)
    body = call.json()
    if body.get("operation") != "upload":
        raise Problem("BadRequest", "Only uploads go through this address; download from 'resolve'.")
    objects = [_upload_action(call, str(o.get("oid", "")), size_of(o)) for o in call.rows("objects")]
    return JSONResponse({"transfer": "basic", "objects": objects}, media_type="application/vnd.git-lfs+json")


@routes.add("POST /lfs/verify")
def verify(call: Call) -> Response:
    """Whether a large file arrived whole."""
    body = call.json()
    call.need_user()
    entry = call.storage.objects.large(str(body.get("oid", "")))
    if entry.size != body.get("size"):
        raise Problem("BadRequest", f"{entry.sha256} has {entry.size} bytes, not {body.get('size')}.")
    return JSONResponse({})


@routes.add("GET /{ns}/{name}/resolve/{rev}/{path*}")
@routes.add("GET /{kinds}/{ns}/{name}/resolve/{rev}/{path*}")
@routes.add("GET /{ns}/{name}/raw/{rev}/{path*}")
@routes.add("GET /{kinds}/{ns}/{name}/raw/{rev}/{path*}")
def resolve(call: Call) -> Response:
    """A file's bytes. Ranges are FileResponse's work."""
    repo = call.repo()
    state = repo.commit(call.path["rev"])
    path = call.path["path"]
    entry = state.files.get(path)
    if entry is None:
        where = f"{repo.name.id} at {call.path['rev']}"
        raise Problem("EntryNotFound", f"There is no file {path!r} in {where}.", state.oid)
    headers = {
        "X-Repo-Commit": state.oid,
        "ETag": f'"{entry.etag}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": "no-cache",
        # What was uploaded is data: a browser must not run it under this address.
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(path.rpartition('/')[2])}",
    }
    if entry.lfs:
        headers |= {"X-Linked-Etag": f'"{entry.sha256}"', "X-Linked-Size": str(entry.size)}
    binary = entry.lfs or _is_binary(repo, entry)
    kind = "application/octet-stream" if binary else "text/plain; charset=utf-8"
    return FileResponse(repo.path_of(entry), headers=headers, media_type=kind)


@routes.stream("PUT /lfs/{oid}")
async def put_large(call: Call, chunks: AsyncIterator[bytes]) -> Response:
    """Receive a large file. The signed address is the permission: clients send no token here."""
    storage, oid = call.storage, call.path["oid"]
    size, until = number(call.one("size"), 0), number(call.one("until"), 0)
    signed = hmac.compare_digest(_sign(storage, oid, size, until).encode(), call.one("sig").encode())
    if not signed or until < now():
        raise Problem("Forbidden", "This upload address is not valid, or no longer.")
    with storage.objects.writer() as writer:
        async for chunk in chunks:
            if writer.size + len(chunk) > size:
                raise Problem("BadRequest", f"The upload is larger than the {size} bytes announced.")
            await run_in_threadpool(writer.write, chunk)
        if writer.size != size:
            raise Problem("BadRequest", f"The upload has {writer.size} bytes, announced were {size}.")
        await run_in_threadpool(writer.keep, oid)
    return Response(headers={"ETag": f'"{oid}"'})


@routes.stream("POST /api/{kinds}/{ns}/{name}/commit/{rev}")
async def receive_commit(call: Call, chunks: AsyncIterator[bytes]) -> Response:
    """Make a commit of a stream of operations, one JSON object a line."""
    await run_in_threadpool(call.repo, write=True)
    header: dict[str, Any] = {}
    operations: list[Operation] = []
    async for line in _lines(chunks):
        key, value = _item(line)
        if key == "header":
            header = value
        else:
            operations.append(await run_in_threadpool(_operation, call.storage, key, value))
    if not header.get("summary"):
        raise Problem("BadRequest", "A commit needs a header with a summary.")
    return await run_in_threadpool(_push, call, header, operations)


def _push(call: Call, header: dict[str, Any], operations: list[Operation]) -> Response:
    repo, user, revision = call.repo(write=True), call.need_user(), call.path["rev"]
    title, text = str(header["summary"]), str(header.get("description") or "")
    parent = str(header["parentCommit"]) if header.get("parentCommit") else None
    answer: dict[str, Any] = {"success": True}
    if call.one("create_pr") in ("1", "true"):
        number_ = discussions.open_one(repo, user, title, text, pull=True, base=repo.head(parent or revision))
        made = repo.push(f"refs/pr/{number_}", operations, title, text, user, None)
        discussions.note_commit(repo, number_, user, made)
        answer["pullRequestUrl"] = f"{call.base}/{repo.name.path}/discussions/{number_}"
    else:
        made = repo.push(revision, operations, title, text, user, parent)
    url = f"{call.base}/{repo.name.path}/commit/{made.oid}"
    return JSONResponse({**answer, "commitOid": made.oid, "commitUrl": url, "hookOutput": ""})


def _operation(storage: Storage, key: str, value: dict[str, Any]) -> Operation:
    path = str(value.get("path", ""))
    if key == "file":
        return Add(file_path(path), storage.objects.put(_content(value)))
    if key == "lfsFile":
        return Add(file_path(path), storage.objects.large(str(value.get("oid", ""))))
    if key in ("deletedFile", "deletedFolder"):
        return Delete(path, folder=key == "deletedFolder")
    raise Problem("BadRequest", f"A commit has no operation {key!r}.")


def _content(value: dict[str, Any]) -> bytes:
    content = str(value.get("content", ""))
    if value.get("encoding") != "base64":
        return content.encode()
    try:
        return base64.b64decode(content, validate=True)
    except binascii.Error:
        raise Problem("BadRequest", f"The content of {value.get('path')!r} is not base64.") from None


def _item(line: bytes) -> tuple[str, dict[str, Any]]:
    item = read_json(line, "A line of the commit is not a JSON object with key and value.")
    try:
        key, value = item["key"], item["value"]
    except (KeyError, TypeError):
        raise Problem("BadRequest", "A line of the commit is not a JSON object with key and value.") from None
    if not isinstance(key, str) or not isinstance(value, dict):
        raise Problem("BadRequest", "A line of the commit is not a JSON object with key and value.")
    whole({name: item for name, item in value.items() if name != "content"})
    return key, value


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    pending: list[bytes] = []
    waiting = 0
    async for chunk in chunks:
        *whole, rest = chunk.split(b"\n")
        for piece in whole:
            line = b"".join([*pending, piece])
            pending, waiting = [], 0
            if line.strip():
                yield line
        pending.append(rest)
        waiting += len(rest)
        if waiting > _LINE_LIMIT:
            raise Problem("TooLarge", "A file in the commit is too large: upload it as a large file.")
    last = b"".join(pending)
    if last.strip():
        yield last


def _upload_action(call: Call, oid: str, size: int) -> dict[str, Any]:
    answer: dict[str, Any] = {"oid": oid, "size": size, "authenticated": True}
    if call.storage.objects.has(oid):
        return answer
    until = int(now()) + _UPLOAD_S
    signed = f"size={size}&until={until}&sig={_sign(call.storage, oid, size, until)}"
    upload = {"href": f"{call.base}/lfs/{oid}?{signed}", "header": {}}
    return {
        **answer,
        "actions": {"upload": upload, "verify": {"href": f"{call.base}/lfs/verify", "header": {}}},
    }


def _sign(storage: Storage, oid: str, size: int, until: int) -> str:
    return hmac.new(storage.secret, f"{oid} {size} {until}".encode(), hashlib.sha256).hexdigest()


def _large_patterns(repo: Repo, entry: Entry | None) -> list[str]:
    if entry is None:
        return []
    lines = repo.path_of(entry).read_text("utf-8", "replace").splitlines()
    return [line.split()[0] for line in lines if "filter=lfs" in line.split()[1:]]


def _matches(path: str, patterns: list[str]) -> bool:
    name = path.rpartition("/")[2]
    return any(fnmatch(path if "/" in p else name, p.removeprefix("/")) for p in patterns)


def _binary(sample: str) -> bool:
    try:
        return b"\0" in base64.b64decode(sample)
    except binascii.Error:
        return False


def _is_binary(repo: Repo, entry: Entry) -> bool:
    with repo.path_of(entry).open("rb") as file:
        return b"\0" in file.read(512)
