"""An OpenAI-compatible server on loopback that plays a list of replies, and faults between them.

    python tests/support/openai_server.py replies.jsonl --port 0

prints its base URL and serves until it is stopped. Each line of the file is a string (the text of a reply) or
an object; its keys, all optional:

    text            the reply's text
    finish_reason   "stop" unless told, "length" for a reply that was cut
    usage           {"prompt_tokens": 10, "completion_tokens": 5}, or null for a server that counts nothing
    status          an HTTP status instead of a reply; body is then the JSON (or the string) that goes with it
    headers         headers of the answer, such as {"Retry-After": "1"}
    delay           seconds before the answer
    drop            "before" closes the connection unanswered, "during" in the midst of the answer
    raw             a body sent as it is, with status 200: garbage
    unsupported     names of request fields that this reply's server refuses with status 400
    stay            true: the entry stays for every later request

A request beyond the list gets status 400, which no client tries again.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class ScriptedServer:
    """Plays `replies` in order; `requests` holds what came in.

    Args:
        replies: Texts or entries as in the file.
        models: What ``/v1/models`` lists; None answers 404, a number that status.
        key: Where given, any other key gets 401.
        port: 0 takes a free one.
    """

    def __init__(
        self,
        replies: Iterable[str | dict[str, Any]] = (),
        *,
        models: list[str | dict[str, Any]] | int | None = None,
        key: str | None = None,
        port: int = 0,
    ) -> None:
        self.replies = [{"text": r} if isinstance(r, str) else dict(r) for r in replies]
        self.models = models
        self.key = key
        self.requests: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        server = self

        class Handler(_Handler):
            script = server

        self._http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    @property
    def url(self) -> str:
        """The base URL, up to ``/v1``."""
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    @property
    def chats(self) -> list[dict[str, Any]]:
        """The bodies of the chat requests, in order."""
        return [r["json"] for r in self.requests if r["path"].endswith("/chat/completions")]

    def take(self) -> dict[str, Any]:
        """The next entry of the list."""
        with self._lock:
            if not self.replies:
                return {
                    "status": 400,
                    "body": {"error": {"message": "the list of replies has come to its end"}},
                }
            return self.replies[0] if self.replies[0].get("stay") else self.replies.pop(0)

    def __enter__(self) -> ScriptedServer:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def serve_forever(self) -> None:
        """Serve in this thread until interrupted."""
        self._http.serve_forever()


class _Handler(BaseHTTPRequestHandler):
    script: ScriptedServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes: the second would wait for 40 ms

    def handle(self) -> None:
        """Answer; a client that is gone is no error here."""
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._record({})
        if not self._key_fits():
            return
        models = self.script.models
        if not self.path.endswith("/models") or models is None:
            self._json(404, {"error": {"message": "not found"}})
        elif isinstance(models, int):
            self._json(models, {"error": {"message": f"status {models}"}})
        else:
            entries = [{"id": m, "object": "model"} if isinstance(m, str) else m for m in models]
            self._json(200, {"object": "list", "data": entries})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")
        self._record(body)
        if not self._key_fits():
            return
        entry = self.script.take()
        time.sleep(entry.get("delay", 0))
        refused = next((name for name in entry.get("unsupported", []) if name in body), None)
        if entry.get("drop") == "before":
            self._hang_up()
        elif refused:
            self.script.replies.insert(0, entry)
            self._json(400, {"error": {"message": f"Unsupported parameter: '{refused}' is not supported."}})
        elif "raw" in entry:
            self._send(
                200, entry["raw"].encode(), {"Content-Type": "application/json", **entry.get("headers", {})}
            )
        elif entry.get("status", 200) != 200:
            self._json(
                entry["status"], entry.get("body", {"error": {"message": "fault"}}), entry.get("headers", {})
            )
        elif body.get("stream"):
            self._stream(entry, body)
        else:
            self._whole(entry, body)

    def _whole(self, entry: dict[str, Any], body: dict[str, Any]) -> None:
        message = {"role": "assistant", "content": entry.get("text", "")}
        choice = {"index": 0, "message": message, "finish_reason": entry.get("finish_reason", "stop")}
        completion = {**_head("chat.completion", body), "choices": [choice], "usage": _usage(entry)}
        self._json(200, completion, entry.get("headers", {}), cut=entry.get("drop") == "during")

    def _stream(self, entry: dict[str, Any], body: dict[str, Any]) -> None:
        text, head = entry.get("text", ""), _head("chat.completion.chunk", body)
        pieces = [text[i : i + 7] for i in range(0, len(text), 7)] or [""]
        if entry.get("drop") == "during":
            pieces = pieces[: len(pieces) // 2]
        chunks = [
            {**head, "choices": [{"index": 0, "delta": {"content": p}, "finish_reason": None}]}
            for p in pieces
        ]
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in chunks:
            self._event(json.dumps(chunk))
        if entry.get("drop") == "during":
            self._hang_up()
            return
        reason = entry.get("finish_reason", "stop")
        self._event(json.dumps({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}))
        if body.get("stream_options", {}).get("include_usage") and _usage(entry):
            self._event(json.dumps({**head, "choices": [], "usage": _usage(entry)}))
        self._event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def _event(self, data: str) -> None:
        line = f"data: {data}\n\n".encode()
        self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        self.wfile.flush()

    def _record(self, body: dict[str, Any]) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.script.requests.append({"path": self.path, "headers": headers, "json": body})

    def _key_fits(self) -> bool:
        fits = self.script.key is None or self.headers.get("Authorization") == f"Bearer {self.script.key}"
        if not fits:
            sent = self.headers.get("Authorization", "")
            self._json(
                401, {"error": {"message": f"Incorrect API key provided: {sent}", "code": "invalid_api_key"}}
            )
        return fits

    def _json(self, status: int, body: Any, headers: dict[str, str] | None = None, cut: bool = False) -> None:
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self._send(status, data, {"Content-Type": "application/json", **(headers or {})}, cut)

    def _send(self, status: int, data: bytes, headers: dict[str, str], cut: bool = False) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if cut else data)
        self.wfile.flush()
        if cut:
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.close()


def _head(kind: str, body: dict[str, Any]) -> dict[str, Any]:
    return {"id": "scripted-1", "object": kind, "created": 0, "model": body.get("model", "")}


def _usage(entry: dict[str, Any]) -> dict[str, int] | None:
    counted: dict[str, int] | None = entry.get("usage", {"prompt_tokens": 10, "completion_tokens": 5})
    return {**counted, "total_tokens": sum(counted.values())} if counted else None


def main() -> None:
    parser = argparse.ArgumentParser(description="Plays a list of replies as an OpenAI-compatible server.")
    parser.add_argument("replies", type=Path, help="JSON lines: strings or objects")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--models", nargs="*", help="names that /v1/models lists; nothing: 404")
    given = parser.parse_args()
    lines = [
        json.loads(line) for line in given.replies.read_text(encoding="utf-8").splitlines() if line.strip()
    ]
    server = ScriptedServer(lines, models=given.models, port=given.port)
    print(server.url, flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
