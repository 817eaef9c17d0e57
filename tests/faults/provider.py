"""A provider on loopback that answers in order of the conversation, and goes wrong where it is told to.

Its reply to a request follows from how many replies the conversation holds already, as with a model at
temperature zero: a run that is resumed gets the same answers. `faults` are played first, each for one request,
byte for byte; None stands for a request that is answered.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Fault = Callable[["Handler", dict[str, Any]], None]

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


class Provider:
    """Serves from its making until `stop`; `start` after that serves again on the same port.

    Args:
        texts: The replies, by place in the conversation.
        faults: Played for the first requests.
        always: Played for every request, until it is set to None.
    """

    def __init__(
        self, texts: Sequence[str], faults: Iterable[Fault | None] = (), always: Fault | None = None
    ) -> None:
        self.texts = list(texts)
        self.faults = list(faults)
        self.always = always
        self.asked: list[dict[str, Any]] = []
        self.answered = 0
        self._held = socket.socket()  # while nobody listens here, the port is nobody else's either
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._held.bind(("127.0.0.1", 0))
        self.port = int(self._held.getsockname()[1])
        self._lock = threading.Lock()
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        bound = type("Bound", (Handler,), {"provider": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", self.port), bound)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def next_fault(self, body: dict[str, Any]) -> Fault | None:
        with self._lock:
            self.asked.append(body)
            return self.faults.pop(0) if self.faults else self.always

    def reply_to(self, body: dict[str, Any]) -> str:
        with self._lock:
            self.answered += 1
        if "Task:" not in json.dumps(body["messages"][1]):
            return "What was done so far."  # it is asked for a summary
        said = sum(m["role"] == "assistant" for m in body["messages"])
        return self.texts[said + self._summarised(body["messages"])]

    def _summarised(self, messages: list[dict[str, Any]]) -> int:
        """How many replies a summary stands for: it says so."""
        seen = re.findall(r"[Ss]teps 1 to (\d+)", json.dumps(messages[1]))
        return int(seen[-1]) if seen else 0


class Handler(BaseHTTPRequestHandler):
    provider: Provider
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        send(self, 200, json.dumps({"object": "list", "data": [{"id": "x", "object": "model"}]}))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fault = self.provider.next_fault(body)
        try:
            (fault or good)(self, body)
        except OSError:
            self.close_connection = True  # the client has given up


# What goes right


def send(
    handler: Handler,
    status: int,
    text: str | bytes,
    headers: dict[str, str] | None = None,
    kind: str = "application/json",
) -> None:
    data = text.encode() if isinstance(text, str) else text
    handler.send_response(status)
    for name, value in {"Content-Type": kind, **(headers or {})}.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


def whole(text: Any, usage: Any = USAGE, reason: Any = "stop") -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}
    return {"id": "r-1", "object": "chat.completion", "created": 0, "model": "x", "choices": [choice]} | {
        "usage": usage
    }


def events(text: str, usage: Any = USAGE, reason: Any = "stop") -> list[bytes]:
    """A streamed reply, one event each."""
    head = {"id": "r-1", "object": "chat.completion.chunk", "created": 0, "model": "x"}
    pieces = [text[at : at + 9] for at in range(0, len(text), 9)]
    chunks: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": {"content": p}, "finish_reason": None}]} for p in pieces
    ]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    chunks.append({"choices": [], "usage": usage})
    lines = [json.dumps({**head, **chunk}, ensure_ascii=False) for chunk in chunks]
    return [f"data: {line}\n\n".encode() for line in [*lines, "[DONE]"]]


def begin_stream(handler: Handler, kind: str = "text/event-stream") -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", kind)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()


def feed(handler: Handler, data: bytes) -> None:
    handler.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
    handler.wfile.flush()


def good(handler: Handler, body: dict[str, Any]) -> None:
    said(handler, body, handler.provider.reply_to(body))


def said(handler: Handler, body: dict[str, Any], text: str, **more: Any) -> None:
    if not body.get("stream"):
        send(handler, 200, json.dumps(whole(text, **more)))
        return
    begin_stream(handler)
    for event in events(text, **more):
        feed(handler, event)
    handler.wfile.write(b"0\r\n\r\n")


# What goes wrong


def status(code: int, message: str = "fault", **headers: str) -> Fault:
    shown = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler, body: send(handler, code, json.dumps({"error": {"message": message}}), shown)


def body_of(text: str | bytes, kind: str = "application/json", code: int = 200) -> Fault:
    return lambda handler, body: send(handler, code, text, kind=kind)


def reply(content: Any, **more: Any) -> Fault:
    """A reply that is paid for, of whatever form."""

    def play(handler: Handler, body: dict[str, Any]) -> None:
        if body.get("stream") and isinstance(content, str):
            said(handler, body, content, **more)
        else:
            send(handler, 200, json.dumps(whole(content, **more)))

    return play


def stream_of(*lines: bytes, end: bool = True, kind: str = "text/event-stream") -> Fault:
    """These bytes as a stream, whatever they are."""

    def play(handler: Handler, body: dict[str, Any]) -> None:
        begin_stream(handler, kind)
        for line in lines:
            feed(handler, line)
        if end:
            handler.wfile.write(b"0\r\n\r\n")
        else:
            hang_up(handler, body)

    return play


def hang_up(handler: Handler, body: dict[str, Any]) -> None:
    handler.close_connection = True
    handler.wfile.flush()
    handler.connection.shutdown(socket.SHUT_RDWR)


def cut(share: float = 0.6, extra: bytes = b"") -> Fault:
    """The true reply, broken off; `extra` are the last bytes before the end."""

    def play(handler: Handler, body: dict[str, Any]) -> None:
        text = handler.provider.reply_to(body)
        if body.get("stream"):
            begin_stream(handler)
            pieces = events(text)
            for event in pieces[: int(share * len(pieces))]:
                feed(handler, event)
            if extra:
                feed(handler, extra)
        else:
            data = json.dumps(whole(text)).encode()
            handler.send_response(200)
            handler.send_header("Content-Type", "application/json")
            handler.send_header("Content-Length", str(len(data)))
            handler.end_headers()
            handler.wfile.write(data[: int(share * len(data))])
        hang_up(handler, body)

    return play


def stalled(seconds: float, share: float = 0.5) -> Fault:
    """The true reply stops in its midst and the connection stays open."""

    def play(handler: Handler, body: dict[str, Any]) -> None:
        pieces = events(handler.provider.reply_to(body))
        if body.get("stream"):
            begin_stream(handler)
            for event in pieces[: int(share * len(pieces))]:
                feed(handler, event)
        time.sleep(seconds)
        hang_up(handler, body)

    return play


def trickle(pause_s: float, most: int = 10_000) -> Fault:
    """Bytes that never make a reply, each soon enough to keep a timeout between two bytes from firing."""

    def play(handler: Handler, body: dict[str, Any]) -> None:
        begin_stream(handler, "text/event-stream" if body.get("stream") else "application/json")
        for _ in range(most):
            feed(handler, b": ping\n\n" if body.get("stream") else b" ")
            time.sleep(pause_s)

    return play
