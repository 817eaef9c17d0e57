"""The embedded Hub: enough of the Hub's protocol for the unmodified huggingface_hub client.

What a fresh or air-gapped machine publishes to. ``HF_ENDPOINT=http://127.0.0.1:PORT`` points a client at it.
Without a token of its own it trusts whoever reaches it, so it listens on loopback only.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from ml_intern.errors import UsageError

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

PORT = 8765
"""Where ``ml-intern hub serve`` listens when nothing else is said."""
_BODY_LIMIT = 32 * 2**20


def build_app(root: Path, *, token: str | None = None, user: str = "local") -> Starlette:
    """The application on a storage folder.

    Args:
        root: The storage; made when it is not there.
        token: What writers and readers of private repositories must send; None trusts everyone who connects
            to a loopback address.
        user: The name of the one user.
    """
    from starlette.applications import Starlette
    from starlette.routing import Route

    from ml_intern.hub.storage import Storage
    from ml_intern.hub.wire import Access

    door = _Door(Storage(root), Access(user, token))
    methods = ["GET", "HEAD", "POST", "PUT", "DELETE"]
    return Starlette(routes=[Route("/{path:path}", door.answer, methods=methods)])


def serve(
    root: Path, host: str = "127.0.0.1", port: int = PORT, *, token: str | None = None, user: str = "local"
) -> None:
    """Serve a storage folder until interrupted.

    Raises:
        UsageError: Another host than loopback without a token, or the port is taken.
    """
    if token is None and not is_loopback(host):
        raise UsageError(
            f"The Hub would be open to everyone who reaches {host}.",
            "Give it a token, or serve on 127.0.0.1.",
        )
    listener = listen(host, port)
    _server(build_app(root, token=token, user=user)).run(sockets=[listener])


class ServerThread:
    """The embedded Hub inside this process, for as long as a session needs it."""

    def __init__(self, root: Path, port: int = 0) -> None:
        self._listener = listen("127.0.0.1", port) if port else _preferred()
        self.port: int = self._listener.getsockname()[1]
        self._server = _server(build_app(root))
        self._thread = threading.Thread(target=self._run, name="embedded-hub", daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        """What `HF_ENDPOINT` should be."""
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Finish what runs and go."""
        self._server.should_exit = True
        self._thread.join(10)

    def _run(self) -> None:
        self._server.run(sockets=[self._listener])


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        UsageError: The address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
        found.listen(128)
    except OSError as error:
        found.close()
        raise UsageError(
            f"The Hub cannot listen on {host}:{port}: {error.strerror}.", "Choose another port, or 0 for any."
        ) from None
    return found


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host name."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _preferred() -> socket.socket:
    """The usual port when it is free: an address that a session printed is then right for the next server."""
    try:
        return listen("127.0.0.1", PORT)
    except UsageError:
        return listen("127.0.0.1", 0)


def _server(app: Starlette) -> uvicorn.Server:
    import uvicorn

    config = uvicorn.Config(
        app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=3
    )
    return uvicorn.Server(config)


class _Door:
    """Where every request comes in."""

    def __init__(self, storage: object, access: object) -> None:
        from ml_intern.hub import discussions, pages, repos, transfer
        from ml_intern.hub.storage import Storage
        from ml_intern.hub.wire import Access

        assert isinstance(storage, Storage) and isinstance(access, Access)
        self.storage = storage
        self.access = access
        self.tables = [repos.routes, transfer.routes, discussions.routes, pages.routes]

    async def answer(self, request: Request) -> Response:
        """The response to a request; what went wrong in words and as a code."""
        from ml_intern.hub.names import Problem
        from ml_intern.hub.wire import problem_response

        try:
            self._check_source(request)
            return await self._dispatch(request)
        except Problem as problem:
            response = problem_response(problem)
            if notes := getattr(problem, "__notes__", []):
                response.headers["X-Repo-Commit"] = notes[0]
            return response
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            return problem_response(Problem("NoSpace", "The disk of this Hub is full."))

    async def _dispatch(self, request: Request) -> Response:
        from starlette.concurrency import run_in_threadpool

        from ml_intern.hub import transfer
        from ml_intern.hub.wire import open_request, raw_path

        path = raw_path(request)
        parts = path.strip("/").split("/")
        if request.method == "PUT" and parts[0] == "lfs" and len(parts) == 2:
            return await transfer.put_large(
                self.storage, parts[1], dict(request.query_params), request.stream()
            )
        if request.method == "POST" and len(parts) == 6 and (parts[0], parts[4]) == ("api", "commit"):
            from urllib.parse import unquote

            names = {
                "kinds": parts[1],
                "ns": unquote(parts[2]),
                "name": unquote(parts[3]),
                "rev": unquote(parts[5]),
            }
            call = open_request(request, self.storage, self.access, names)
            return await transfer.receive_commit(call, request.stream())
        handler, names = self._find(request.method, path)
        call = open_request(request, self.storage, self.access, names)
        call.body = await _body(request)
        return await run_in_threadpool(handler, call)

    def _find(self, method: str, path: str):  # type: ignore[no-untyped-def]
        from ml_intern.hub.names import Problem

        for table in self.tables:
            try:
                return table.find(method, path)
            except Problem:
                continue
        raise Problem("NotFound", f"This Hub does not serve {method} {path}.")

    def _check_source(self, request: Request) -> None:
        """An open Hub answers to its loopback names only: no web page may reach it through a browser."""
        from ml_intern.hub.names import Problem

        if self.access.token is not None:
            return
        host = request.headers.get("host", "")
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        origin = request.headers.get("origin")
        if not is_loopback(name) or (origin and origin.partition("://")[2] != host):
            raise Problem("Forbidden", "This Hub answers on its loopback address only.")


async def _body(request: Request) -> bytes:
    from ml_intern.hub.names import Problem

    parts, size = [], 0
    async for chunk in request.stream():
        parts.append(chunk)
        size += len(chunk)
        if size > _BODY_LIMIT:
            raise Problem("TooLarge", "The request is too large.")
    return b"".join(parts)
