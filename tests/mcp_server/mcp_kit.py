"""What the tests of our MCP server share: tools of a person's own, seats, and clients of the official SDK."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import mcp_types as types
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from ml_intern.mcp_server.seats import Seat
from ml_intern.mcp_server.server import Answering
from ml_intern.settings import Settings

SANDBOX = "local" if shutil.which("bwrap") else "none"
CEILING_S = 240.0
MODES = ("legacy", "auto")

SOURCE = '''
import math, os, time
from dataclasses import dataclass
from pathlib import Path

from ml_intern import tool
from ml_intern.errors import ToolError
from ml_intern.tooling import Price

RAN = Path({ran!r})
GO = Path({go!r})


def note(what):
    with RAN.open("a") as file:
        file.write(what + "\\n")
    return what


@dataclass
class Measured:
    """Numbers.

    Attributes:
        name: Whose.
        score: How good; none where nothing was measured.
    """

    name: str
    score: float
    parts: list[int]


@tool(effect="read")
def measure(ctx, name: str, score: float | None = None) -> Measured:
    """Measure something.

    Args:
        name: What.
        score: What comes out.
    """
    return Measured(name, math.nan if score is None else score, [1, 2])


@tool(effect="read")
def count(ctx) -> list[int]:
    """Count."""
    return [1, 2, 3]


@tool(effect="read")
def fail(ctx) -> str:
    """Fail."""
    raise ToolError("It did not work.", "Try something else.")


@tool(effect="read")
def long_text(ctx) -> str:
    """A lot of text."""
    return "word " * 40_000


@tool(effect="read")
def linger(ctx, steps: int = 1000) -> str:
    """Take long, and say how far it is."""
    note("linger begins")
    for step in range(steps):
        if ctx.cancelled():
            note("linger was stopped")
            raise ToolError("stopped")
        ctx.progress(f"step {{step}}", step / steps)
        time.sleep(0.02)
    return "lingered"


@tool(effect="read")
def chatter(ctx) -> str:
    """Print where protocol belongs."""
    print("this is no message")
    os.system("echo neither is this")
    return "printed"


@tool(effect="compute", price=lambda ctx, given: Price(usd=given.usd, jobs=1))
def rent(ctx, usd: float = 1.0) -> str:
    """Rent a machine."""
    return note(f"rent {{usd}}")


@tool(effect="publish")
def announce(ctx, repo: str, text: str = "", private: bool = True) -> str:
    """Tell others."""
    return note(f"announce {{repo}} {{text}} {{private}}")


def became_of(ctx, key):
    done = RAN.with_name("delivered-" + key.replace(":", "_"))
    return "delivered before" if done.exists() else None


@tool(effect="publish", reconcile=became_of)
def deliver(ctx, what: str) -> str:
    """Deliver something, and then take long to say so."""
    note(f"deliver {{what}}")
    RAN.with_name("delivered-" + ctx.key.replace(":", "_")).touch()
    while not GO.exists():
        if ctx.cancelled():
            raise ToolError("stopped")
        time.sleep(0.02)
    return "delivered"
'''


class Place:
    """A folder with tools of a person's own, and what ran of them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ran, self.go = folder, folder / "ran.txt", folder / "go"
        self.tools, self.state = folder / "own_tools", folder / "state"
        self.tools.mkdir(parents=True)
        (self.tools / "own.py").write_text(SOURCE.format(ran=str(self.ran), go=str(self.go)))
        self.ran.touch()

    @property
    def lines(self) -> list[str]:
        return self.ran.read_text().splitlines()

    def settings(self, **more: Any) -> Settings:
        return Settings.load(state=self.state, tools=[self.tools], sandbox=SANDBOX, **more)

    def until(self, line: str) -> None:
        """Wait until a tool has written that."""
        wait_until(lambda: line in self.lines, f"the line {line!r}")

    def command(self, *words: str) -> StdioServerParameters:
        """Our server as a client starts it."""
        env = {**os.environ, "ML_INTERN_TOOLS": str(self.tools)}
        fixed = ["-m", "ml_intern", "mcp", "--state", str(self.state), "--sandbox", SANDBOX]
        return StdioServerParameters(command=sys.executable, args=[*fixed, *words], env=env)


def wait_until(holds: Callable[[], bool], what: str) -> None:
    late = time.monotonic() + CEILING_S
    while not holds():
        assert time.monotonic() < late, f"{what} did not come"
        time.sleep(0.02)


def server_of(seat: Seat, wanted: tuple[str, ...] = (), cells: bool = False) -> Any:
    return Answering(seat.settings, lambda ctx: seat, wanted, cells).server()


def client(server: Any, mode: str = "legacy", **more: Any) -> Client:
    return Client(server, mode=mode, **more)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, CEILING_S))


def text_of(result: types.CallToolResult) -> str:
    return "\n".join(part.text for part in result.content if isinstance(part, types.TextContent))


Elicited = Callable[[Any, types.ElicitRequestParams], Awaitable[types.ElicitResult]]


def person(*answers: dict[str, Any] | str, asked: list[Any] | None = None) -> Elicited:
    """Somebody at a client's form: a dict fills it in, ``decline`` and ``cancel`` close it."""
    left = list(answers)

    async def answer(ctx: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        if asked is not None:
            asked.append(params)
        said = left.pop(0)
        if isinstance(said, str):
            return types.ElicitResult(action=said)
        return types.ElicitResult(action="accept", content=said)

    return answer


class Http:
    """Our server over HTTP on loopback, in this process."""

    def __init__(self, settings: Settings, token: str = "a-token-of-the-tests", cells: bool = False) -> None:
        from ml_intern.mcp_server.http import door, uvicorn_server
        from ml_intern.mcp_server.seats import Seats

        self.token = token
        self.seats = Seats(settings, most=4)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._server = uvicorn_server(door(settings, self.seats, token, "127.0.0.1", [], cells))
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],), daemon=True)
        self._thread.start()
        wait_until(lambda: bool(self._server.started), "the server")

    def url(self, name: str = "") -> str:
        return f"http://127.0.0.1:{self.port}/mcp" + (f"/{name}" if name else "")

    def client(self, name: str = "", mode: str = "auto", token: str | None = None, **more: Any) -> Client:
        import httpx2
        from mcp.client.streamable_http import streamable_http_client

        sent = {"Authorization": f"Bearer {self.token if token is None else token}"}
        http = httpx2.AsyncClient(headers=sent, timeout=CEILING_S)
        return Client(streamable_http_client(self.url(name), http_client=http), mode=mode, **more)

    def stop(self) -> None:
        self.seats.close()
        self._server.should_exit = True
        self._thread.join(60)
        self._listener.close()
