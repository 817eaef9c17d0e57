"""The application of the embedded Hub: every request comes in here, once."""

from __future__ import annotations

import errno
import logging

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ml_intern.hub import collecting, discussions, jobs, pages, repos, transfer
from ml_intern.hub.names import Problem
from ml_intern.hub.server import is_loopback
from ml_intern.hub.storage import Storage
from ml_intern.hub.wire import Access, Entrance, open_request, problem_response, raw_path

_LOG = logging.getLogger(__name__)
BODY_LIMIT = 32 * 2**20
TABLES = (jobs.routes, collecting.routes, repos.routes, transfer.routes, discussions.routes, pages.routes)


def make_app(storage: Storage, access: Access) -> Starlette:
    """The application on a storage."""
    door = _Door(storage, access)
    methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
    return Starlette(routes=[Route("/{path:path}", door.answer, methods=methods)])


class _Door:
    def __init__(self, storage: Storage, access: Access) -> None:
        self.storage = storage
        self.access = access

    async def answer(self, request: Request) -> Response:
        """The response to a request; what went wrong in words and as a code."""
        try:
            self._check_source(request)
            return await self._dispatch(request)
        except Problem as problem:
            return problem_response(problem)
        except Exception as error:  # noqa: BLE001 - the client is told; a server has no one else to tell
            _LOG.debug("%s %s failed", request.method, request.url.path, exc_info=True)
            return problem_response(_failure(error))

    async def _dispatch(self, request: Request) -> Response:
        entrance, names = _find(request.method, raw_path(request))
        call = open_request(request, self.storage, self.access, names)
        if entrance.streams:
            return await entrance.streams(call, request.stream())
        assert entrance.handler
        call.body = await _body(request)
        return await run_in_threadpool(entrance.handler, call)

    def _check_source(self, request: Request) -> None:
        """An open Hub answers to its loopback names only: no web page may reach it through a browser."""
        if self.access.token is not None:
            return
        host = request.headers.get("host", "")
        name = host if host.endswith("]") else host.rsplit(":", 1)[0]
        origin = request.headers.get("origin")
        if not is_loopback(name) or (origin and origin.partition("://")[2] != host):
            raise Problem("Forbidden", "This Hub answers on its loopback address only.")


def _failure(error: Exception) -> Problem:
    """What a client is told of an error that is not its own: the kind, no paths of this machine."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Problem("NoSpace", "The disk of this Hub is full.")
    why = error.strerror if isinstance(error, OSError) else str(error).partition("\n")[0][:200]
    return Problem("Failed", f"This Hub failed: {type(error).__name__}{f' ({why})' if why else ''}.")


def _find(method: str, path: str) -> tuple[Entrance, dict[str, str]]:
    for table in TABLES:
        if found := table.find(method, path):
            return found
    raise Problem("NotFound", f"This Hub does not serve {method} {path}.")


async def _body(request: Request) -> bytes:
    parts, size = [], 0
    async for chunk in request.stream():
        parts.append(chunk)
        size += len(chunk)
        if size > BODY_LIMIT:
            raise Problem("TooLarge", "The request is too large.")
    return b"".join(parts)
