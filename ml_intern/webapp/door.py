"""The door of the web app: who comes in, and what no request may do.

Everything but the login page needs a login, where there are users: also files, streams and events of
Gradio's own. Without users only this machine is answered, and only under its own names, so that a page of a
foreign host whose name leads here (DNS rebinding) reads nothing.
"""

from __future__ import annotations

import html
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Who = Callable[[Scope], str | None]

COOKIE = "ml-intern-login"
OPEN = frozenset({"/login", "/favicon.ico", "/login/huggingface", "/login/callback", "/healthz"})
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_CLOSED = re.compile(
    r"/gradio_api/(proxy=|deep_link|runs|run-history|call|api/|run/|info|openapi|stream|startup-events|mcp)"
    r"|/monitoring"
)
"""Of Gradio's own routes what this page does not use: each is a way less to what is another's."""
_PAGE = re.compile(r"/gradio_api/heartbeat/([^/]+)")
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; worker-src 'self' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; "
    "object-src 'none'; base-uri 'self'; form-action 'self' https://huggingface.co; frame-ancestors {frames}"
)
"""The browser itself refuses requests to other hosts, whatever finds its way into the page."""


class Door:
    """ASGI: lets in, or turns away.

    Args:
        app: What is behind.
        who: The user of a request; None: nobody is logged in. Without it there are no users.
        framed: Who may show the page in a frame, as a content security policy writes it.
    """

    MOST_PAGES = 10_000

    def __init__(self, app: App, who: Who | None, framed: str = "'self'") -> None:
        self._app = app
        self._who = who
        self._policy = POLICY.format(frames=framed)
        self._pages: OrderedDict[str, str] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope.get("headers", [])}
        path = str(scope.get("path", ""))
        if trouble := self._trouble(scope, headers, path):
            await _answer(send, *trouble)
            return

        async def stamped(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *self._stamps()]
            await send(message)

        await self._app(scope, receive, stamped)

    def _stamps(self) -> list[tuple[bytes, bytes]]:
        return [
            (b"content-security-policy", self._policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"same-origin"),
            (b"cross-origin-opener-policy", b"same-origin"),
        ]

    def _trouble(self, scope: Scope, headers: dict[str, str], path: str) -> tuple[int, str, str] | None:
        """Status, words and a place to go to, where a request is turned away."""
        if self._who is None and host_of(headers.get("host", "")) not in LOOPBACK:
            return (
                403,
                "This server answers to localhost and 127.0.0.1 only. Logins: ml-intern web --help.",
                "",
            )
        if scope["type"] == "websocket" or foreign(scope, headers):
            return 403, "This request comes from another page.", ""
        if _CLOSED.match(path):
            return 404, "There is nothing here.", ""
        if self._who is None or path in OPEN:
            return None
        user = self._who(scope)
        if user is None:
            wants_page = scope.get("method") == "GET" and path == "/"
            query = scope.get("query_string", b"").decode("latin-1")
            return (303, "", f"/login?{query}") if wants_page else (401, "You are not logged in.", "")
        if not self._own_page(scope, path, user):
            return 403, "That is another user's.", ""
        return None

    def _own_page(self, scope: Scope, path: str, user: str) -> bool:
        """A page's events go to the user who opened it: the first one who names it."""
        named = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("session_hash", [])
        if (found := _PAGE.match(path)) is not None:
            named.append(found[1])
        for page in named:
            if self._pages.setdefault(page, user) != user:
                return False
        while len(self._pages) > self.MOST_PAGES:
            self._pages.popitem(last=False)
        return True


def host_of(value: str) -> str:
    """The name in a Host header, without its port."""
    try:
        return (urlsplit(f"//{value}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def foreign(scope: Scope, headers: dict[str, str]) -> bool:
    """Whether a request that changes something was made by the page of another host."""
    if scope.get("method") in ("GET", "HEAD"):
        return False
    origin = headers.get("origin", "")
    if not origin:
        return headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
    hosts = [headers.get("host", ""), headers.get("x-forwarded-host", "")]
    return urlsplit(origin).netloc not in [host for host in hosts if host]


def cookie_of(scope: Scope, name: str = COOKIE) -> str:
    """A cookie of a request; empty where there is none."""
    for key, value in scope.get("headers", []):
        if key.lower() == b"cookie":
            try:
                found = SimpleCookie(value.decode("latin-1")).get(name)
            except Exception:  # noqa: BLE001 - whatever a client sends as a cookie, it is none
                continue
            if found is not None:
                return found.value
    return ""


def login_page(error: str = "", target: str = "", oauth: bool = False) -> str:
    """The page that asks for name and password, or leads to Hugging Face."""
    told = f'<p class="error" role="alert">{html.escape(error)}</p>' if error else ""
    form = (
        '<a class="button" href="/login/huggingface" target="_blank" rel="opener">Sign in with Hugging Face'
        "</a>"
        if oauth
        else f'<form method="post" action="/login?{html.escape(quote(target, safe="=&-_"))}">'
        '<label>Name<input name="name" autocomplete="username" autofocus required></label>'
        '<label>Password<input name="password" type="password" autocomplete="current-password" required>'
        "</label>"
        "<button>Log in</button></form>"
    )
    return _LOGIN.replace("$told", told).replace("$form", form)


async def _answer(send: Send, status: int, words: str, target: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
    if target:
        headers.append((b"location", target.encode("latin-1", "ignore")))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": words.encode()})


_LOGIN = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>ML Intern</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>
:root{color-scheme:light dark;--bg:#f8fafc;--card:#fff;--line:#e2e8f0;--text:#0f172a;--dim:#64748b;
--main:#4f46e5}
@media(prefers-color-scheme:dark){
:root{--bg:#0b0f19;--card:#111827;--line:#1f2937;--text:#f1f5f9;--dim:#94a3b8}}
body{margin:0;min-height:100vh;display:grid;place-items:center;background:var(--bg);color:var(--text);
font:15px ui-sans-serif,system-ui,sans-serif}
main{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:32px;
width:min(320px,84vw)}
h1{font-size:20px;margin:0 0 4px}p{color:var(--dim);margin:0 0 20px}.error{color:#dc2626}
label{display:block;margin:0 0 14px;font-size:13px;color:var(--dim)}
input{display:block;width:100%;box-sizing:border-box;margin-top:5px;padding:9px 11px;font:inherit;
color:var(--text);background:var(--bg);border:1px solid var(--line);border-radius:8px}
button,.button{display:block;width:100%;box-sizing:border-box;text-align:center;text-decoration:none;border:0;
border-radius:8px;padding:10px;background:var(--main);color:#fff;font:inherit;font-weight:600;cursor:pointer}
</style></head><body><main><h1>ML Intern</h1><p>Log in to reach your sessions.</p>$told$form</main></body>
</html>"""
