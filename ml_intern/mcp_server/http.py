"""Clients over HTTP, each with a session of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any

from mcp.server.transport_security import TransportSecuritySettings

from ml_intern.errors import UsageError
from ml_intern.hub.server import is_loopback, listen
from ml_intern.mcp_server.door import CLIENT, LOOPBACK, MOST_BYTES, PATH, Door, host_of
from ml_intern.mcp_server.seats import Seat, Seats
from ml_intern.mcp_server.server import Answering, Ctx
from ml_intern.secrets.masking import add_secret

if TYPE_CHECKING:
    import uvicorn

    from ml_intern.settings import Settings

TOKEN = "ML_INTERN_MCP_TOKEN"
SHORTEST = 16
"""Characters of a token that guards more than this machine."""
IDLE_S = 1800.0
LOOK_S = 30.0
MOST_CLIENTS = 64


def serve(settings: Settings, host: str, port: int, token: str | None, wanted: list[str], cells: bool) -> int:
    """Serve until the person interrupts; the exit code.

    Raises:
        UsageError: The token is missing or too short for that address, or the address cannot be had.
    """
    token, own = checked_token(token, host)
    add_secret(token)
    with listen(host, port) as listener:
        port = int(listener.getsockname()[1])
        seats = Seats(settings, MOST_CLIENTS)
        try:
            announce(host, port, "" if own else token)
            server = uvicorn_server(door(settings, seats, token, host, wanted, cells))
            with contextlib.suppress(KeyboardInterrupt):
                asyncio.run(_run(server, listener, seats))
        finally:
            seats.close()
    sys.stderr.write("Closed.\n")
    return 0


def checked_token(token: str | None, host: str) -> tuple[str, bool]:
    """The token, and whether it is the person's own.

    Raises:
        UsageError: Beyond this machine it has to be, and no short one.
    """
    token = (token or "").strip()
    if not is_loopback(host):
        if not token:
            raise UsageError(
                f"The tools would be open to everyone who reaches {host}.",
                f"Set {TOKEN} to a token of your own, or serve on 127.0.0.1.",
            )
        if len(token) < SHORTEST:
            raise UsageError(f"{TOKEN} is shorter than {SHORTEST} characters.", "Take a longer one.")
    if any(not 33 <= ord(c) <= 126 for c in token):
        raise UsageError(f"{TOKEN} has characters that no header can carry.", "Take letters and digits.")
    return token or token_urlsafe(32), bool(token)


def announce(host: str, port: int, token: str) -> None:
    """Where it is, and a token that was made for this run; on stderr, which no client reads."""
    named = f"[{host}]" if ":" in host else host
    url = f"http://{named}:{port}{PATH}"
    lines = [f"Serving MCP at {url} (Ctrl-C ends it); {url}/NAME is a session that is found again."]
    if token:
        lines.append(f"Token for this run, shown once: {token}")
    else:
        lines.append(f"Clients send the token of {TOKEN}: Authorization: Bearer …")
    if not is_loopback(host):
        lines.append("It is plain HTTP: beyond a network that you trust, put TLS in front of it.")
    sys.stderr.write("\n".join(lines) + "\n")
    sys.stderr.flush()


def door(settings: Settings, seats: Seats, token: str, host: str, wanted: list[str], cells: bool) -> Door:
    """The application, behind its door."""
    app = Answering(settings, lambda ctx: _seat(ctx, seats), wanted, cells).server()
    # Host and Origin are the door's affair, which also knows the address.
    inner = app.streamable_http_app(
        streamable_http_path=PATH,
        max_request_body_size=MOST_BYTES,
        session_idle_timeout=IDLE_S,
        max_sessions=4 * MOST_CLIENTS,
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    return Door(inner, token, allowed_hosts(host), seats)


def allowed_hosts(host: str) -> frozenset[str]:
    """The names that a request may ask for; empty where the server listens to any address."""
    if is_loopback(host):
        return frozenset(LOOPBACK | {host_of(host)})
    return (
        frozenset()
        if host in ("0.0.0.0", "::", "")
        else frozenset({host.lower(), os.uname().nodename.lower()})
    )


def _seat(ctx: Ctx, seats: Seats) -> Seat:
    assert ctx.request is not None  # over HTTP each message came with one
    client, name = ctx.request.scope[CLIENT]
    return seats.of(client, name)


def uvicorn_server(app: Any) -> uvicorn.Server:
    """The web server; quiet, since what goes wrong is told in the answer."""
    import uvicorn

    config = uvicorn.Config(
        app,
        interface="asgi3",
        log_config=None,
        log_level="critical",
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    return uvicorn.Server(config)


async def _run(server: uvicorn.Server, listener: Any, seats: Seats) -> None:
    clearing = asyncio.create_task(_clear(seats))
    try:
        await server.serve(sockets=[listener])
    finally:
        clearing.cancel()


async def _clear(seats: Seats) -> None:
    while True:
        await asyncio.sleep(LOOK_S)
        await asyncio.to_thread(seats.clear, IDLE_S)
