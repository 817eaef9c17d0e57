"""Starts the web app: checks who may come in, builds page and door, serves until it is stopped."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ml_intern.errors import UsageError
from ml_intern.hub.server import is_loopback, listen
from ml_intern.settings import Settings
from ml_intern.webapp.door import COOKIE, Door, Who, cookie_of, login_page
from ml_intern.webapp.house import House
from ml_intern.webapp.users import LOGGED_IN_S, NAME, Pace, Tickets, Users

if TYPE_CHECKING:
    import fastapi

PORT = 7860
SPACE_FRAMES = "'self' https://huggingface.co https://*.hf.space"


def serve(
    given: Mapping[str, Any], host: str, port: int, users_file: Path | None, say: Callable[[str], None]
) -> None:
    """Serve until interrupted.

    Args:
        given: Settings from the command line.
        host: Address to listen on.
        port: 0: any that is free.
        users_file: Who may log in; nothing: one person, on this machine alone.
        say: Takes the line with the address.

    Raises:
        UsageError: Gradio is missing, the page would be open to everybody, or the port is taken.
    """
    check_gradio()
    users = Users(users_file.expanduser().absolute()) if users_file else None
    settings = Settings.load(**given)
    check_open(host, users)
    with listen(host, port) as listener:
        app, house = assemble(settings, given, users)
        import uvicorn

        class Server(uvicorn.Server):
            """Ends the streams first: it waits for what is open."""

            def handle_exit(self, sig: int, frame: FrameType | None) -> None:
                app.state.streams.end()
                super().handle_exit(sig, frame)

        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=3, access_log=False)
        chosen = listener.getsockname()[1]
        say(f"ML Intern at http://{f'[{host}]' if ':' in host else host}:{chosen} (Ctrl-C ends it)")
        try:
            Server(config).run(sockets=[listener])
        finally:
            house.close()


def check_gradio() -> None:
    """Raises:
    UsageError: It is not installed.
    """
    if importlib.util.find_spec("gradio") is None:
        raise UsageError("The web app needs Gradio.", "pip install 'ml-intern[web]'")


def on_space() -> bool:
    """Whether Hugging Face runs this as a Space with logins of its own."""
    return bool(os.environ.get("SPACE_ID") and os.environ.get("OAUTH_CLIENT_ID"))


def check_open(host: str, users: Users | None) -> None:
    """Off loopback nobody comes in without a login.

    Raises:
        UsageError: There are no logins.
    """
    if users is not None and not users.names():
        raise UsageError(
            f"There are no users in {users.file}.",
            f"Add one: ml-intern web --users {users.file} --add-user NAME",
        )
    if users is None and not on_space() and not is_loopback(host):
        raise UsageError(
            f"Everybody who reaches {host} could use the web app.",
            "Add a user (ml-intern web --users FILE --add-user NAME), then start it with --users FILE.",
        )


def assemble(
    settings: Settings, given: Mapping[str, Any], users: Users | None
) -> tuple[fastapi.FastAPI, House]:
    """The whole application, and what has to be closed at its end."""
    # Read when Gradio is imported.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(settings.state / "web" / "files")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    apart = users is not None or on_space()
    for_all = _for_all(settings, given) if apart else given
    import fastapi
    import gradio as gr

    from ml_intern.webapp.app import build
    from ml_intern.webapp.pages import Pages
    from ml_intern.webapp.stream import Streams
    from ml_intern.webapp.theme import head, style, theme

    house = House(settings, for_all, apart)

    @asynccontextmanager
    async def life(_: fastapi.FastAPI) -> AsyncIterator[None]:
        yield
        house.close()  # here and not after the server: a signal that ended it ends the process next

    outer = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=life)
    who = _logins(outer, settings, users) if apart else None
    outer.add_middleware(Door, who=who, framed=SPACE_FRAMES if on_space() else "'self'")
    if apart and users is None:
        from gradio.oauth import attach_oauth

        # Without this word Gradio takes the machine for a developer's and lets everybody in as its owner.
        os.environ["SYSTEM"] = "spaces"
        attach_oauth(outer)  # after the door: what is added last comes first, and the door reads its session
    outer.get("/healthz")(lambda: {"ok": True})
    pages = Pages(house)
    outer.state.streams = Streams(pages, who)
    outer.add_route("/news", outer.state.streams.answer, ["GET"])
    blocks = build(pages, _shown if apart else lambda user: "")
    gr.mount_gradio_app(
        outer,
        blocks,
        "/",
        auth_dependency=(lambda request: who(request.scope)) if who else None,
        allowed_paths=[],
        show_error=True,
        max_file_size=settings.upload_mb << 20,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        theme=theme(),
        css=style(),
        head=head(),
    )
    return outer, house


def _for_all(settings: Settings, given: Mapping[str, Any]) -> dict[str, Any]:
    """What every user's sessions get, where there are several.

    From here on the server stands in an empty folder: tools read the folder that a session was begun in, and
    that of the server is none of its users'.

    Raises:
        UsageError: A setting would bring users together.
    """
    if settings.sandbox == "none":
        raise UsageError(
            "Without a sandbox one user's cells could read another's files.", "Use --sandbox local."
        )
    if settings.workspace is not None:
        raise UsageError(
            "A workspace of all users would bring them together.", "Leave out the setting workspace."
        )
    own = {name: getattr(settings, name) for name in settings.model_fields_set if name != "state"}
    nowhere = settings.state / "web" / "nowhere"
    nowhere.mkdir(parents=True, exist_ok=True)
    os.chdir(nowhere)
    return {**own, **{name: value for name, value in given.items() if name != "state"}}


def _shown(user: str | None) -> str:
    from ml_intern.webapp.markup import text

    return f'<div class="mi-user"><span>{text(user or "")}</span><a href="/logout">Log out</a></div>'


def _logins(app: fastapi.FastAPI, settings: Settings, users: Users | None) -> Who:
    if users is None:
        return _space_logins(app, settings.app_users)
    tickets = Tickets(settings.state / "web" / "key", users)
    pace = Pace()
    from fastapi.responses import HTMLResponse, RedirectResponse, Response

    def target(request: fastapi.Request) -> str:
        session = request.query_params.get("session", "")
        return f"/?session={quote(session, safe='')}" if session else "/"

    def asks(error: str, request: fastapi.Request, status: int = 200) -> Response:
        page = login_page(error, str(request.url.query))
        return HTMLResponse(page, status, {"cache-control": "no-store"})

    def ask(request: fastapi.Request) -> Response:
        if tickets.name(cookie_of(request.scope)):
            return RedirectResponse(target(request), 303)
        return asks("", request)

    async def login(request: fastapi.Request) -> Response:
        form = await request.form(max_files=0, max_fields=4)
        name, password = str(form.get("name", "")).strip(), str(form.get("password", ""))
        from starlette.concurrency import run_in_threadpool

        return await run_in_threadpool(check, request, name, password)

    def check(request: fastapi.Request, name: str, password: str) -> Response:
        keys = (f"name {name.lower()[:80]}", f"from {request.client.host if request.client else ''}")
        if wait := pace.wait_s(*keys):
            return asks(f"Too many failures. Try again in {wait:.0f} s.", request, 429)
        if not NAME.fullmatch(name) or not users.right(name, password):
            pace.failed(*keys)
            return asks("Name or password is wrong.", request, 401)
        pace.passed(*keys)
        response = RedirectResponse(target(request), 303)
        secure = request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"
        response.set_cookie(
            COOKIE, tickets.give(name), int(LOGGED_IN_S), httponly=True, samesite="lax", secure=secure
        )
        return response

    def logout(_: fastapi.Request) -> Response:
        response = RedirectResponse("/login", 303)
        response.delete_cookie(COOKIE)
        return response

    for path, methods, do in (("/login", "GET", ask), ("/login", "POST", login), ("/logout", "GET", logout)):
        app.add_route(path, do, [methods])
    return lambda scope: tickets.name(cookie_of(scope))


def _space_logins(app: fastapi.FastAPI, invited: Sequence[str]) -> Who:
    """Hugging Face says who somebody is; the routes are those that Gradio brings.

    Whoever comes in uses the Space's machine and its credentials, so a login alone opens nothing.
    """
    from fastapi.responses import HTMLResponse

    names = {name.lower() for name in (*invited, os.environ.get("SPACE_AUTHOR_NAME", "")) if name}

    def page(request: fastapi.Request) -> HTMLResponse:
        name = space_user(request.scope)
        told = f"{name} is not invited here. The setting app_users says who is." if name else ""
        return HTMLResponse(login_page(told, oauth=True), headers={"cache-control": "no-store"})

    def who(scope: Mapping[str, Any]) -> str | None:
        name = space_user(scope)
        return name if name in names else None

    app.add_route("/login", page, ["GET"])
    return who


def space_user(scope: Mapping[str, Any]) -> str | None:
    """The Hugging Face name of who has logged in, in small letters; None where nobody has."""
    info = (scope.get("session") or {}).get("oauth_info") or {}
    if info.get("expires_at", 0) < time.time():
        return None
    return str((info.get("userinfo") or {}).get("preferred_username", "")).lower() or None
