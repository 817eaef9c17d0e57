"""Our tools over HTTP on loopback: the token, the host, foreign pages, clients apart from each other."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from mcp_kit import Http, Place, person, run, text_of

from ml_intern.errors import UsageError
from ml_intern.mcp_server.http import allowed_hosts, checked_token

Start = Callable[..., Http]
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}


def post(server: Http, path: str = "/mcp", body: Any = INITIALIZE, **headers: Any) -> httpx.Response:
    sent = {"accept": "application/json, text/event-stream", "authorization": f"Bearer {server.token}"}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.post(
        f"http://127.0.0.1:{server.port}{path}",
        content=content,
        headers={"content-type": "application/json", **sent, **headers},
        timeout=60,
    )


def test_who_may_come_in(http: Start) -> None:
    server = http()
    assert post(server).status_code == 200
    assert post(server, authorization="").status_code == 401
    wrong = post(server, authorization="Bearer a-token-of-the-testt")
    assert (wrong.status_code, wrong.headers["www-authenticate"]) == (401, "Bearer")
    assert post(server, authorization=f"Basic {server.token}").status_code == 401
    assert post(server, authorization="Bearer é".encode()).status_code == 401
    # A page of another site that a browser shows, under a name that leads here.
    assert post(server, host="evil.example").status_code == 421
    assert post(server, origin="http://evil.example").status_code == 403
    assert post(server, origin="null").status_code == 403
    assert post(server, origin=f"http://127.0.0.1:{server.port}").status_code == 200
    assert post(server, "/").status_code == 404
    assert post(server, "/mcp/no%20name").status_code == 404
    assert post(server, body=b"x" * (5 << 20)).status_code == 413
    assert len(server.seats._seats) == 0


def test_beyond_this_machine_a_token_of_ones_own_is_needed() -> None:
    made, own = checked_token(None, "127.0.0.1")
    assert len(made) > 30 and not own
    assert checked_token(" short ", "localhost") == ("short", True)
    for token in (None, "", "  ", "short", "with space in the middle"):
        with pytest.raises(UsageError):
            checked_token(token, "0.0.0.0")
    assert checked_token("t" * 20, "0.0.0.0") == ("t" * 20, True)
    assert "localhost" in allowed_hosts("127.0.0.1") and not allowed_hosts("0.0.0.0")


def test_two_clients_see_nothing_of_each_other(http: Start) -> None:
    server = http()

    async def work() -> None:
        async with server.client() as one, server.client() as two:
            # Without a name in the URL a session belongs to a connection, so there has to be one.
            assert (one.protocol_version, two.protocol_version) == ("2025-11-25", "2025-11-25")
            await one.call_tool("write_file", {"path": "mine.txt", "content": "secret"})
            ids = [
                json.loads((await c.read_resource("ml-intern://session")).contents[0].text)["id"]
                for c in (one, two)
            ]
            assert ids[0] != ids[1]
            files = await two.call_tool("list_files", {})
            assert "mine.txt" not in text_of(files)
            assert "mine.txt" in text_of(await one.call_tool("list_files", {}))

    run(work())


@pytest.mark.parametrize("mode", ["auto", pytest.param("legacy", marks=pytest.mark.thorough)])
def test_a_named_session_is_found_again(mode: str, http: Start) -> None:
    server = http()

    async def work() -> None:
        async with server.client("ada", mode) as mcp:
            await mcp.call_tool("write_file", {"path": "mine.txt", "content": "kept"})
        server.seats.leave("name ada")  # as after a restart
        async with server.client("ada", mode) as mcp:
            assert mcp.protocol_version == ("2025-11-25" if mode == "legacy" else "2026-07-28")
            assert "mine.txt" in text_of(await mcp.call_tool("list_files", {}))

    run(work())


@pytest.mark.parametrize("name", ["ada", pytest.param("", marks=pytest.mark.thorough)])
def test_questions_and_progress_come_over_http(name: str, http: Start, place: Place) -> None:
    server = http()
    seen: list[str] = []

    async def report(progress: float, total: float | None, message: str | None) -> None:
        seen.append(message or "")

    async def work() -> None:
        answers = person({"allow": True}, "decline")
        async with server.client(name, elicitation_callback=answers) as mcp:
            given = {"repo": "me/news", "private": False}
            assert not (await mcp.call_tool("announce", given)).is_error
            assert (await mcp.call_tool("announce", given)).is_error
            await mcp.call_tool("linger", {"steps": 2}, progress_callback=report)

    run(work())
    assert place.lines[0] == "announce me/news  False" and "step 1" in seen


@pytest.mark.thorough
def test_an_idle_client_goes_on_with_its_session(http: Start) -> None:
    server = http()

    async def work() -> None:
        async with server.client() as mcp:
            await mcp.call_tool("write_file", {"path": "mine.txt", "content": "kept"})
            server.seats.clear(0)
            assert all(seat.there() is None for seat in server.seats._seats.values())
            assert "mine.txt" in text_of(await mcp.call_tool("list_files", {}))

    run(work())


@pytest.mark.thorough
def test_more_clients_than_seats_are_told(http: Start) -> None:
    server = http()

    async def work() -> None:
        for number in range(4):
            server.seats.of(f"name n{number}", f"n{number}").session()
        async with server.client("late") as mcp:
            told = await mcp.call_tool("count", {})
            assert told.is_error and "clients have a session already" in text_of(told)

    run(work())
