"""The door, and the house behind it: which requests are turned away, and whose sessions a user reaches."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ml_intern.errors import UsageError
from ml_intern.hosting import Hosted
from ml_intern.settings import Settings
from ml_intern.webapp.door import COOKIE, Door, cookie_of, login_page
from ml_intern.webapp.house import House, Shown
from ml_intern.webapp.pages import Pages
from ml_intern.webapp.where import Where

ADA = {"cookie": f"{COOKIE}=ada"}


def ask(
    door: Door, path: str, headers: Mapping[str, str] | None = None, method: str = "GET", query: str = ""
) -> tuple[int, dict[str, str]]:
    told: list[Any] = []

    async def send(message: Any) -> None:
        told.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    given = {"host": "127.0.0.1:7860", **(headers or {})}
    scope = {
        "type": "http", "method": method, "path": path, "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }  # fmt: skip
    asyncio.run(door(scope, receive, send))
    return told[0]["status"], {k.decode(): v.decode() for k, v in told[0]["headers"]}


async def behind(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"in"})


@pytest.fixture
def closed() -> Door:
    return Door(behind, lambda scope: cookie_of(scope) or None)


@pytest.mark.parametrize(
    "path",
    ["/config", "/gradio_api/queue/join", "/gradio_api/queue/data", "/gradio_api/file=/etc/passwd",
     "/gradio_api/upload", "/gradio_api/heartbeat/x", "/gradio_api/cancel", "/gradio_api/reset", "/theme.css",
     "/gradio_api/component_server", "/assets/index.js", "//login", "/login/", "/Login"],
)  # fmt: skip
def test_nothing_but_the_login_page_is_open(closed: Door, path: str) -> None:
    assert ask(closed, path)[0] in (401, 404)
    assert ask(closed, "/login")[0] == 200


def test_the_page_itself_leads_to_the_login_and_back(closed: Door) -> None:
    status, headers = ask(closed, "/", query="session=x")
    assert status == 303 and headers["location"] == "/login?session=x"
    assert ask(closed, "/", ADA)[0] == 200


@pytest.mark.parametrize(
    "path",
    ["/gradio_api/proxy=http://x", "/gradio_api/call/tick", "/gradio_api/run/predict", "/gradio_api/info",
     "/gradio_api/stream/x/y/z/playlist.m3u8", "/gradio_api/mcp/", "/monitoring", "/gradio_api/openapi.json"],
)  # fmt: skip
def test_what_the_page_does_not_use_is_not_there(closed: Door, path: str) -> None:
    assert ask(closed, path, ADA)[0] == 404


def test_the_events_of_a_page_go_to_its_own_user(closed: Door) -> None:
    bob = {"cookie": f"{COOKIE}=bob"}
    assert ask(closed, "/gradio_api/queue/data", ADA, query="session_hash=h1")[0] == 200
    assert ask(closed, "/gradio_api/queue/data", bob, query="session_hash=h1")[0] == 403
    assert ask(closed, "/gradio_api/heartbeat/h1", bob)[0] == 403
    assert ask(closed, "/gradio_api/queue/data", bob, query="session_hash=h2")[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1:7860", ""])
def test_without_users_a_foreign_name_is_not_answered(host: str) -> None:
    assert ask(Door(behind, None), "/", {"host": host})[0] == 403


@pytest.mark.parametrize("host", ["localhost:7860", "127.0.0.1:1", "[::1]:7860"])
def test_without_users_this_machine_is_answered(host: str) -> None:
    status, headers = ask(Door(behind, None), "/", {"host": host})
    assert status == 200
    assert "connect-src 'self'" in headers["content-security-policy"]
    assert "img-src 'self' data: blob:" in headers["content-security-policy"]


@pytest.mark.parametrize(
    "headers",
    [{"origin": "https://evil.example"}, {"origin": "null"}, {"origin": "http://127.0.0.1:9999"},
     {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}],
    ids=["foreign", "null", "another-port", "cross-site", "same-site"],
)  # fmt: skip
def test_a_foreign_page_changes_nothing(closed: Door, headers: dict[str, str]) -> None:
    assert ask(closed, "/gradio_api/queue/join", {**ADA, **headers}, "POST")[0] == 403
    assert ask(closed, "/gradio_api/queue/join", {**ADA, "origin": "http://127.0.0.1:7860"}, "POST")[0] == 200


def test_the_login_page_writes_nothing_of_others_into_itself() -> None:
    assert "<script" not in login_page("<script>", '"><script>')


def made(state: Path, session: str, prompt: str) -> Path:
    folder = state / "sessions" / session
    folder.mkdir(parents=True)
    card = {"id": session, "prompt": prompt, "status": "done", "model": "m", "created": "2026-01-01T00:00:00"}
    (folder / "session.json").write_text(json.dumps(card))
    return folder


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(Settings.load(state=tmp_path), {}, apart=True)


@pytest.mark.parametrize(
    "reference", ["{id}", "../../ada/sessions/{id}", "{state}/users/ada/sessions/{id}", "..", "", "\x00", "."]
)
def test_another_users_session_is_not_there(house: House, tmp_path: Path, reference: str) -> None:
    made(tmp_path / "users" / "ada", "s1", "a secret")
    with pytest.raises(UsageError, match="no such session"):
        house.home("bob").open(reference.format(id="s1", state=tmp_path))
    news = Pages(house).look("bob", "p", Where(session=reference.format(id="s1", state=tmp_path)))
    assert "a secret" not in news.payload and json.loads(news.payload)["session"] == ""


@pytest.mark.parametrize("user", [None, "", "..", "a/b", "../ada"])
def test_who_is_nobody_has_no_sessions(house: House, user: str | None) -> None:
    with pytest.raises(UsageError, match="not logged in"):
        house.home(user)


def test_a_user_lists_only_their_own(house: House, tmp_path: Path) -> None:
    made(tmp_path / "users" / "ada", "s1", "a secret")
    made(tmp_path / "users" / "bob", "s2", "of bob")
    told = json.loads(Pages(house).look("bob", "p", Where()).payload)["rows"]
    assert "of bob" in told and "a secret" not in told


def test_every_users_sessions_are_kept_from_reading_the_others(house: House, tmp_path: Path) -> None:
    given = house.home("ada").given
    assert given["closed_dirs"] == [tmp_path] and given["state"] == tmp_path / "users" / "ada"
    assert given["data_dirs"] == [tmp_path / "users" / "ada" / "uploads"]


def test_users_choose_from_the_servers_models(tmp_path: Path) -> None:
    settings = Settings.load(state=tmp_path, model="playbook:", app_models="openai:a")
    pages = Pages(House(settings, {}, apart=True))
    news = pages.act(
        "ada", "p", Where(), lambda home: pages.say(home, "", "hello", {"model": "transformers:/etc"})
    )
    assert "is not offered here" in json.loads(news.payload)["error"]


class Busy(Hosted):
    """A session that works or waits, without the work."""

    def __init__(self, state: str) -> None:
        super().__init__({})
        self.now = state

    @property
    def state(self) -> Any:
        return self.now

    def rest(self) -> None:
        self.now = "over"


def test_a_session_that_waits_makes_room_and_one_that_works_does_not(tmp_path: Path) -> None:
    house = House(Settings.load(state=tmp_path, app_sessions=2), {}, apart=True)
    working, waiting = Busy("working"), Busy("waiting")
    house.home("ada")._keep("a", Shown(working))
    house.home("bob")._keep("b", Shown(waiting))
    house.make_room()
    assert (working.now, waiting.now) == ("working", "over")
    house.make_room()  # there is room now
    house.home("bob")._keep("c", Shown(Busy("working")))
    with pytest.raises(UsageError, match="2 sessions are at work"):
        house.make_room()
