"""``ml-intern mcp`` as a client starts it: a process at the other end of its stdin and stdout."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import Any

import pytest
from mcp import Client
from mcp_kit import CEILING_S, Place, run, text_of, wait_until


def initialize(process: subprocess.Popen[str]) -> dict[str, Any]:
    params = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "t", "version": "1"},
    }
    send(process, {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})
    answer = read(process)
    send(process, {"jsonrpc": "2.0", "method": "notifications/initialized"})
    return answer


def send(process: subprocess.Popen[str], message: dict[str, Any]) -> None:
    assert process.stdin
    process.stdin.write(json.dumps(message) + "\n")
    process.stdin.flush()


def read(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout
    answer: dict[str, Any] = json.loads(process.stdout.readline())
    return answer


def call(process: subprocess.Popen[str], number: int, tool: str, **given: Any) -> None:
    params = {"name": tool, "arguments": given}
    send(process, {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params})


def start(place: Place, *words: str) -> subprocess.Popen[str]:
    how = place.command(*words)
    return subprocess.Popen(
        [how.command, *how.args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=how.env,
    )


@pytest.mark.thorough
def test_nothing_but_protocol_comes_on_stdout_and_it_ends_with_stdin(place: Place) -> None:
    process = start(place)
    assert initialize(process)["result"]["serverInfo"]["name"] == "ml-intern"
    call(process, 2, "chatter")
    answer = read(process)
    assert answer["id"] == 2 and answer["result"]["content"][0]["text"] == "printed"
    out, errors = process.communicate(timeout=CEILING_S)
    assert process.returncode == 0 and out == ""
    assert "this is no message" in errors and "neither is this" in errors


@pytest.mark.thorough
def test_killed_in_the_middle_of_a_publication_it_is_not_done_twice(place: Place) -> None:
    process = start(place, "--name", "work", "--yes", "publish")
    initialize(process)
    call(process, 2, "chatter")  # what a tool prints is no message
    assert read(process)["result"]["content"][0]["text"] == "printed"
    call(process, 3, "deliver", what="it")
    place.until("deliver it")
    process.kill()
    process.communicate(timeout=CEILING_S)
    place.go.touch()

    async def work() -> None:
        async with Client(place.command("--name", "work", "--yes", "publish"), mode="legacy") as mcp:
            again = await mcp.call_tool("deliver", {"what": "it"})
            assert not again.is_error
            assert "delivered before" in text_of(again) and "not done a second time" in text_of(again)
            assert place.lines == ["deliver it"]
            # What was asked for after that is a new delivery.
            assert text_of(await mcp.call_tool("deliver", {"what": "it"})) == "delivered"

    run(work())
    assert place.lines == ["deliver it", "deliver it"]
    assert len(list((place.state / "sessions").iterdir())) == 1


@pytest.mark.thorough
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_ends_it_quietly(number: signal.Signals, place: Place) -> None:
    process = start(place)
    initialize(process)
    call(process, 2, "linger")
    place.until("linger begins")
    os.kill(process.pid, number)
    _, errors = process.communicate(timeout=CEILING_S)
    assert process.returncode == 130 and "Traceback" not in errors
    wait_until(lambda: "linger was stopped" in place.lines, "the stop of the call")


@pytest.mark.thorough
def test_killed_in_the_middle_of_a_cell_its_calls_are_not_made_twice(place: Place) -> None:
    words = ("--name", "work", "--yes", "publish", "--cells")
    code = "b = deliver('it')\nprint(a, b)"
    process = start(place, *words)
    initialize(process)
    call(process, 2, "run_cell", code="a = announce('me/x', private=False)")
    assert not read(process)["result"].get("isError")
    call(process, 3, "run_cell", code=code)
    place.until("deliver it")
    process.kill()
    process.communicate(timeout=CEILING_S)
    place.go.touch()

    async def work() -> None:
        async with Client(place.command(*words), mode="legacy") as mcp:
            again = await mcp.call_tool("run_cell", {"code": code})
            assert "announce me/x  False delivered before" in text_of(again)
            assert "deliver it" not in text_of(await mcp.call_tool("run_cell", {"code": "1"}))

    run(work())
    assert place.lines == ["announce me/x  False", "deliver it"]


@pytest.mark.thorough
def test_a_client_that_is_gone_leaves_nothing_that_waits(place: Place) -> None:
    process = start(place, "--name", "work")
    params = {"elicitation": {}}
    about = {
        "protocolVersion": "2025-11-25",
        "capabilities": params,
        "clientInfo": {"name": "t", "version": "1"},
    }
    send(process, {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": about})
    read(process)
    send(process, {"jsonrpc": "2.0", "method": "notifications/initialized"})
    call(process, 2, "announce", repo="me/x", private=False)
    assert read(process)["method"] == "elicitation/create"
    _, errors = process.communicate(timeout=CEILING_S)  # it closes our stdin instead of answering
    assert process.returncode == 0 and "Traceback" not in errors
    assert place.lines == []
