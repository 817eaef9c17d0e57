"""An HTTP server on loopback whose answers a test writes as a function, faults of the wire included."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    at: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    """What is answered.

    Attributes:
        body: Bytes, an object for JSON, or pieces that are sent as they come.
        delay_s: Before the first byte.
        length: Content-Length, where it shall not be the body's own; -1: none is said.
    """

    body: Any = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    length: int | None = None


Answer = Callable[[Asked], Reply | Any]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *request: object) -> None:
        """A client that goes away is what some tests are about."""


class Loopback:
    """The server; ``asked`` holds what came, in order.

    Args:
        answer: Makes an answer of a request. What is no `Reply` becomes the body of one.
    """

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()
        self.closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def __enter__(self) -> Loopback:
        return self

    def __exit__(self, *error: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def paths(self) -> list[str]:
        return [asked.path for asked in self.asked]

    def take(self, asked: Asked) -> Reply:
        with self._lock:
            self.asked.append(asked)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        made = self.answer(asked)
        reply = made if isinstance(made, Reply) else Reply(made)
        self.closing.wait(reply.delay_s)
        return reply

    def done(self) -> None:
        with self._lock:
            self.at_once -= 1

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Head and body in one piece: two small ones wait 40 ms for each other.
            wbufsize = 1 << 16

            def do_GET(self) -> None:
                size = int(self.headers.get("content-length", 0))
                parts = urlsplit(self.path)
                query = {k: v[-1] for k, v in parse_qs(parts.query, keep_blank_values=True).items()}
                headers = {k.lower(): v for k, v in self.headers.items()}
                body = self.rfile.read(size)
                asked = Asked(self.command, parts.path, query, headers, body, time.monotonic())
                try:
                    _send(self, server.take(asked), server.closing)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True
                finally:
                    server.done()

            do_POST = do_GET

            def log_message(self, *words: object) -> None:
                pass

        return Handler


def _send(handler: BaseHTTPRequestHandler, reply: Reply, closing: threading.Event) -> None:
    handler.send_response(reply.status)
    body = reply.body
    is_stream = not isinstance(body, bytes | str | dict | list | None.__class__) and isinstance(
        body, Iterable
    )
    pieces = body if is_stream else [_bytes(body)]
    if not is_stream and reply.length is None and reply.status != 304:
        handler.send_header("content-length", str(len(_bytes(body))))
    elif reply.length is not None and reply.length >= 0:
        handler.send_header("content-length", str(reply.length))
    if is_stream or reply.length is not None:
        handler.send_header("connection", "close")
        handler.close_connection = True
    for name, value in reply.headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    for piece in pieces:
        if closing.is_set():
            return
        handler.wfile.write(piece)
        if is_stream:
            handler.wfile.flush()
    handler.wfile.flush()


def _bytes(body: Any) -> bytes:
    if isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


def endless(piece: bytes, pause_s: float = 0.0) -> Iterator[bytes]:
    """A body without an end."""
    while True:
        yield piece
        time.sleep(pause_s)
