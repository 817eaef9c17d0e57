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

PORT = 8765
"""Where ``ml-intern hub serve`` listens when nothing else is said."""


def build_app(root: Path, *, token: str | None = None, user: str = "local") -> Starlette:
    """The application on a storage folder.

    Args:
        root: The storage; made when it is not there.
        token: What writers and readers of private repositories must send; None trusts everyone who connects
            to a loopback address.
        user: The name of the one user.

    Raises:
        UsageError: The token is empty.
    """
    from ml_intern.hub.app import make_app
    from ml_intern.hub.storage import Storage
    from ml_intern.hub.wire import Access

    access = Access(user, _real(token))
    return make_app(Storage(root), access)


def serve(
    root: Path, host: str = "127.0.0.1", port: int = PORT, *, token: str | None = None, user: str = "local"
) -> None:
    """Serve a storage folder until interrupted.

    Raises:
        UsageError: Another host than loopback without a token, an empty token, or the port is taken.
    """
    token = _real(token)
    if token is None and not is_loopback(host):
        raise UsageError(
            f"The Hub would be open to everyone who reaches {host}.",
            "Set ML_INTERN_HUB_TOKEN to a token for its clients, or serve on 127.0.0.1.",
        )
    listener = listen(host, port)
    _server(build_app(root, token=token, user=user)).run(sockets=[listener])


class ServerThread:
    """The embedded Hub inside this process, for as long as a session needs it. It listens on loopback."""

    def __init__(self, root: Path, port: int = 0, *, token: str | None = None, user: str = "local") -> None:
        self._listener = listen("127.0.0.1", port) if port else _preferred()
        self.port: int = self._listener.getsockname()[1]
        self._server = _server(build_app(root, token=token, user=user))
        self._thread = threading.Thread(target=self._run, name="embedded-hub", daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        """What `HF_ENDPOINT` should be."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def alive(self) -> bool:
        """Whether it serves."""
        return self._thread.is_alive()

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
        own = error.errno in (errno.EADDRINUSE, errno.EACCES)
        raise UsageError(
            f"ML Intern cannot listen on {host}:{port}: {error.strerror}.",
            "Choose another port, or 0 for any." if own else "Name an address that this machine has.",
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


def _real(token: str | None) -> str | None:
    """A token as it was meant: an empty one is most likely a variable that nobody set."""
    if token is None or token.strip():
        return token and token.strip()
    raise UsageError("The token of the Hub is empty.", "Set it, or leave it away and serve on 127.0.0.1.")


def _preferred() -> socket.socket:
    """The usual port when it is free: an address that a session printed is then right for the next server."""
    try:
        return listen("127.0.0.1", PORT)
    except UsageError:
        return listen("127.0.0.1", 0)


def _server(app: Starlette) -> uvicorn.Server:
    import uvicorn

    # A session shares its terminal with this server: what goes wrong is told in the answer, never printed.
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="critical",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=3,
    )
    return uvicorn.Server(config)
