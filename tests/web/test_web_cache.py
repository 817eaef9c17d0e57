"""Pages are fetched once, checked for changes, and found again without a server."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support.loopback import Answer, Asked, Loopback, Reply

from ml_intern.secrets.credentials import Credential
from ml_intern.settings import Settings
from ml_intern.web.cache import FETCHED, FILE
from ml_intern.web.client import Web, user_agent
from ml_intern.web.errors import NotCached

Serve = Callable[[Answer], Loopback]
Make = Callable[..., Web]


def test_a_page_that_keeps_is_fetched_once(serve: Serve, make_web: Make) -> None:
    server = serve(lambda asked: Reply(b"hello", headers={"Cache-Control": "max-age=600"}))
    first, second = make_web().get(server.url), make_web().get(server.url)
    assert (first.cached, second.cached, second.content) == (False, True, b"hello")
    assert len(server.asked) == 1


@pytest.mark.parametrize("header", ["ETag", "Last-Modified"])
def test_a_page_that_may_have_changed_is_asked_for_anew(header: str, serve: Serve, make_web: Make) -> None:
    value = {"ETag": '"1"', "Last-Modified": "Mon, 02 Jan 2023 10:00:00 GMT"}[header]
    condition = {"ETag": "if-none-match", "Last-Modified": "if-modified-since"}[header]

    def answer(asked: Asked) -> Reply:
        headers = {header: value, "Cache-Control": "max-age=0"}
        if asked.headers.get(condition) == value:
            return Reply(status=304, headers=headers)
        return Reply(b"hello", headers=headers)

    server = serve(answer)
    web = make_web()
    assert [web.get(server.url).content for _ in range(3)] == [b"hello"] * 3
    assert [condition in asked.headers for asked in server.asked] == [False, True, True]
    assert web.get(server.url).age_s < 60


def test_what_shall_not_be_kept_is_not(serve: Serve, make_web: Make) -> None:
    server = serve(lambda asked: Reply(b"secret", headers={"Cache-Control": "no-store"}))
    web = make_web()
    web.get(server.url), web.get(server.url)
    assert len(server.asked) == 2
    assert b"secret" not in b"".join(p.read_bytes() for p in web.engine.cache.path.parent.glob("pages*"))


def test_a_question_by_post_is_asked_once(serve: Serve, make_web: Make) -> None:
    server = serve(lambda asked: Reply({"got": asked.json}))
    web = make_web()
    answers = [web.ask_json(server.url, {"ids": ids}).data for ids in ([1], [2], [1])]
    assert answers == [{"got": {"ids": [1]}}, {"got": {"ids": [2]}}, {"got": {"ids": [1]}}]
    assert [asked.method for asked in server.asked] == ["POST", "POST"]


def test_offline_the_cache_answers_and_says_its_age(serve: Serve, make_web: Make) -> None:
    server = serve(
        lambda asked: (
            Reply({"a": 1}, headers={"Cache-Control": "max-age=0"})
            if asked.path == "/b"
            else Reply(status=302, headers={"Location": "/b"})
        )
    )
    make_web().get_json(f"{server.url}/a")
    count = len(server.asked)
    web = make_web(offline=True)
    page = web.get_json(f"{server.url}/a")
    assert page.data == {"a": 1} and page.cached
    assert page.note.startswith("offline: this is a copy from the cache, ")
    with pytest.raises(NotCached, match="cannot be asked offline, and the cache does not hold"):
        web.get(f"{server.url}/other")
    assert len(server.asked) == count


@pytest.mark.parametrize("status", [429, 500])
def test_an_older_copy_stands_in_for_a_server_that_fails(status: int, serve: Serve, make_web: Make) -> None:
    def answer(asked: Asked) -> Reply:
        if len(server.asked) > 1:
            return Reply(status=status)
        return Reply(b"old", headers={"Cache-Control": "max-age=0", "ETag": '"1"'})

    server = serve(answer)
    web = make_web(tries=1)
    web.get(server.url)
    page = web.get(server.url)
    assert page.content == b"old" and page.cached
    assert f"status {status}" in page.note and "a copy from the cache" in page.note


def test_an_older_copy_stands_in_for_an_answer_that_cannot_be_read(serve: Serve, make_web: Make) -> None:
    headers = {"Cache-Control": "max-age=0"}
    server = serve(lambda asked: Reply(b'{"a": 1}' if len(server.asked) == 1 else b'{"a": ', headers=headers))
    web = make_web()
    web.get_json(server.url)
    page = web.get_json(server.url)
    assert page.data == {"a": 1} and "cannot be read" in page.note
    assert len(server.asked) == 4


def test_an_older_copy_stands_in_where_nobody_answers(make_web: Make) -> None:
    web = make_web(tries=0)
    with Loopback(
        lambda asked: Reply(b"old", headers={"Cache-Control": "max-age=0", "Connection": "close"})
    ) as server:
        web.get(server.url)
    page = web.get(server.url)
    assert page.content == b"old" and "gives no answer" in page.note


def test_threads_that_ask_the_same_at_once_make_one_request(serve: Serve, make_web: Make) -> None:
    server = serve(lambda asked: Reply(b"x", headers={"Cache-Control": "no-store"}, delay_s=0.5))
    web = make_web()
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(web.get(server.url).content)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [b"x"] * 8
    assert len(server.asked) == 1


def test_one_who_leaves_does_not_take_the_page_from_the_others(serve: Serve, make_web: Make) -> None:
    server = serve(lambda asked: Reply(b"x", delay_s=0.6))
    web = make_web()
    gone = threading.Event()
    threading.Timer(0.2, gone.set).start()
    leaver = threading.Thread(target=lambda: _ignore(web.for_call(gone.is_set, print).get, server.url))
    leaver.start()
    assert web.get(server.url).content == b"x"
    leaver.join()
    assert len(server.asked) == 1


def _ignore(get: Callable[[str], object], url: str) -> None:
    try:
        get(url)
    except Exception:
        pass


@pytest.mark.thorough
def test_the_cache_keeps_its_size(serve: Serve, make_web: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(
        lambda asked: Reply(asked.path.encode() * 20_000, headers={"Cache-Control": "max-age=600"})
    )
    web = make_web(size=1_000_000)
    web.engine.cache.storage.soft_delete_ttl = 0  # what was just read may go at once
    for number in range(30):
        web.get(f"{server.url}/{number:06}")
    web.engine.close()
    assert web.engine.cache.path.stat().st_size < 3_000_000
    count = len(server.asked)
    assert make_web().get(f"{server.url}/000029").cached
    make_web().get(f"{server.url}/000000")
    assert len(server.asked) == count + 1


def test_a_damaged_cache_is_set_aside(serve: Serve, make_web: Make, tmp_path: Path) -> None:
    server = serve(lambda asked: Reply(b"hello"))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / FILE).write_bytes(b"no database" * 1000)
    web = make_web()
    assert web.get(server.url).content == b"hello"
    assert web.get(server.url).cached


def test_a_cache_that_cannot_be_written_is_done_without(serve: Serve, make_web: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    server = serve(lambda asked: Reply(b"hello"))
    web = make_web(folder=tmp_path / "file" / "cache")
    assert web.get(server.url).content == web.get(server.url).content == b"hello"
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_session_that_reads_no_page_leaves_no_trace(make_web: Make, tmp_path: Path) -> None:
    make_web().engine.close()
    assert not (tmp_path / "cache").exists()


_CHILD = """
import sys
from pathlib import Path
from ml_intern.web.client import Engine, Web
web = Web(Engine(Path(sys.argv[1]), private=["127.0.0.1"]))
for number in range(40):
    assert web.get(f"{sys.argv[2]}/{number % 10}").content == str(number % 10).encode()
"""


def test_several_processes_share_one_cache(serve: Serve, tmp_path: Path) -> None:
    server = serve(lambda asked: Reply(asked.path[1:], headers={"Cache-Control": "max-age=600"}))
    arguments = [sys.executable, "-c", _CHILD, str(tmp_path / "cache"), server.url]
    children = [subprocess.Popen(arguments, stderr=subprocess.PIPE) for _ in range(3)]
    errors = [child.communicate(timeout=120)[1] for child in children]
    assert [child.returncode for child in children] == [0, 0, 0], errors
    assert 10 <= len(server.asked) <= 30


def test_what_came_with_a_key_is_found_with_this_key_only(serve: Serve, make_web: Make) -> None:
    server = serve(lambda asked: Reply(asked.headers.get("authorization", "nobody")))
    mine = Credential("a-long-secret-1", (server.url,))
    other = Credential("a-long-secret-2", (server.url,))
    web = make_web()
    found = [web.get(server.url, credential=key).text for key in (mine, None, other, mine)]
    assert found == ["Bearer a-long-secret-1", "nobody", "Bearer a-long-secret-2", "Bearer a-long-secret-1"]
    assert len(server.asked) == 3


def test_a_key_is_not_written_down(serve: Serve, make_web: Make, tmp_path: Path) -> None:
    server = serve(lambda asked: Reply(b"answer", headers={"Vary": "Authorization"}))
    web = make_web()
    web.get(server.url, credential=Credential("a-long-secret", (server.url,)))
    assert server.asked[0].headers["authorization"] == "Bearer a-long-secret"
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"answer" in written and b"a-long-secret" not in written


def test_a_key_does_not_follow_a_redirect(serve: Serve, make_web: Make) -> None:
    other = serve(lambda asked: Reply(b"other"))
    server = serve(lambda asked: Reply(status=302, headers={"Location": other.url}))
    make_web().get(server.url, credential=Credential("a-long-secret", (server.url,), "x-api-key", ""))
    assert server.asked[0].headers["x-api-key"] == "a-long-secret"
    assert "x-api-key" not in other.asked[0].headers


def test_who_we_are_is_said_and_cannot_break_the_header(serve: Serve, make_web: Make) -> None:
    server = serve(lambda asked: Reply(b""))
    make_web(contact="mailto:me@example.org\r\nX-Evil: 1").get(server.url)
    assert server.asked[0].headers["user-agent"].startswith("ml-intern/")
    assert "mailto:me@example.org" in server.asked[0].headers["user-agent"]
    assert "x-evil" not in server.asked[0].headers
    assert user_agent() == user_agent("")


@pytest.mark.parametrize(("value", "offline"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_the_hubs_own_variable_means_offline(value: str, offline: bool) -> None:
    assert Web.of(Settings(), {"HF_HUB_OFFLINE": value}).offline is offline
    assert Web.of(Settings(offline=True), {}).offline


def test_our_own_header_says_when_it_was_fetched(serve: Serve, make_web: Make) -> None:
    server = serve(lambda asked: Reply(b"x", headers={FETCHED: "1"}))
    web = make_web()
    web.get(server.url)
    assert web.get(server.url).age_s < 60  # not what the server claims
