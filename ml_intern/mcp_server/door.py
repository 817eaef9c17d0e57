"""Who may come in over HTTP: the right host, no foreign page, the right token; and whose session is meant."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from mcp_types import UNSUPPORTED_PROTOCOL_VERSION
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

from ml_intern.mcp_server.seats import Seats

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PATH = "/mcp"
CLIENT = "ml_intern.client"
"""Where a request's scope says by what its client is known, and the name of its session."""
MOST_BYTES = 4 << 20
LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})
_PATH = re.compile(rf"{PATH}(?:/([A-Za-z0-9][A-Za-z0-9_-]{{0,63}}))?/?")


class Door:
    """Stands before the SDK's application.

    Args:
        app: The SDK's.
        token: What each request has to bring.
        hosts: Names under which this server may be asked for; empty: any, since it listens to the world.
        seats: Clients that leave give theirs up.
    """

    def __init__(self, app: App, token: str, hosts: frozenset[str], seats: Seats) -> None:
        self._app, self._hosts, self._seats = app, hosts, seats
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or say why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        found = _PATH.fullmatch(scope["path"])
        refused = (404, "There is nothing here. MCP is at /mcp.") if found is None else self._refused(scope)
        if refused is not None or found is None:
            await say(send, *(refused or (404, "")))
            return
        name = found[1] or ""
        version = one(scope, b"mcp-protocol-version")
        if not name and version and version not in HANDSHAKE_PROTOCOL_VERSIONS:
            await _shake_hands(scope, receive, send, version)
            return
        client = f"name {name}" if name else f"connection {one(scope, b'mcp-session-id') or ''}"
        inside = {**scope, "path": PATH, "raw_path": PATH.encode(), CLIENT: (client, name)}
        await self._app(inside, receive, send)
        if scope["method"] == "DELETE" and not name:
            await _aside(self._seats.leave, client)

    def _refused(self, scope: Scope) -> tuple[int, str] | None:
        host = host_of(one(scope, b"host") or "")
        if not host or (self._hosts and host not in self._hosts):
            return 421, "This server is not asked for by that name."
        origin = one(scope, b"origin")
        if origin is not None and not self._same(origin, one(scope, b"host") or ""):
            return 403, "Pages of other sites are not let in."
        if not self._has_token(scope):
            return 401, "Send the server's token: Authorization: Bearer TOKEN."
        return None

    def _same(self, origin: str, host: str) -> bool:
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()

    def _has_token(self, scope: Scope) -> bool:
        kind, _, sent = (one(scope, b"authorization") or "").partition(" ")
        # Compared in one go whatever differs: how long it takes tells nothing.
        right = hmac.compare_digest(sent.strip().encode("utf-8", "surrogateescape"), self._token)
        return kind.lower() == "bearer" and right


def one(scope: Scope, name: bytes) -> str | None:
    """The value of a header; None where it is missing, or there more than once."""
    found = [value.decode("latin-1") for key, value in scope["headers"] if key == name]
    return found[0] if len(found) == 1 else None


def host_of(header: str) -> str:
    """The name in a ``Host`` header, without its port."""
    try:
        return (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return ""


async def say(send: Send, status: int, text: str) -> None:
    """A plain answer."""
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    headers += [(b"www-authenticate", b"Bearer")] if status == 401 else []
    await _answer(send, status, headers, text.encode() + b"\n")


async def _answer(send: Send, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


async def _shake_hands(scope: Scope, receive: Receive, send: Send, version: str) -> None:
    """Where the URL names no session, a client has to open a connection: it is known by that."""
    body = b""
    while len(body) <= MOST_BYTES:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    try:
        asked = json.loads(body).get("id")
    except (ValueError, AttributeError, RecursionError):
        asked = None
    error = {
        "code": UNSUPPORTED_PROTOCOL_VERSION,
        "message": f"{version[:40]} has no connections: open one with initialize, or name the session"
        f" in the URL, {PATH}/NAME",
        "data": {"supported": list(HANDSHAKE_PROTOCOL_VERSIONS), "requested": version[:40]},
    }
    answer = json.dumps({"jsonrpc": "2.0", "id": asked, "error": error}).encode()
    await _answer(send, 400, [(b"content-type", b"application/json")], answer)


async def _aside(work: Callable[[str], None], client: str) -> None:
    import asyncio

    await asyncio.to_thread(work, client)
