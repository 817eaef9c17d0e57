"""Servers for tests: entries that start them, and one over HTTP."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_intern.router.router import Router

HERE = Path(__file__).parent


def tracker(**more: Any) -> dict[str, Any]:
    """The entry of a real server over stdin and stdout."""
    return {"command": sys.executable, "args": [str(HERE / "tracker_server.py")], **more}


def hostile(way: str, **more: Any) -> dict[str, Any]:
    return {"command": sys.executable, "args": [str(HERE / "hostile_server.py"), way], **more}


Start = Callable[..., Any]
Make = Callable[..., Router]


class Loopback:
    """A real server over HTTP on loopback; `seen` holds the headers of each request."""

    def __init__(self, token: str | None) -> None:
        import uvicorn
        from tracker_server import make as make_server

        self.token = token
        self.seen: list[dict[str, str]] = []
        self.redirect: str | None = None
        self._app = make_server().streamable_http_app()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        config = uvicorn.Config(
            self._answer, interface="asgi3", log_level="critical", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._listening],), daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            self.seen.append(headers)
            if self.redirect:
                await _say(send, 307, [(b"location", self.redirect.encode())])
                return
            if self.token and headers.get("authorization") != f"Bearer {self.token}":
                await _say(send, 401, [])
                return
        await self._app(scope, receive, send)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(60)
        self._listening.close()


async def _say(send: Any, status: int, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
