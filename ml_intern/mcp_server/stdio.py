"""One client, at the other end of our stdin and stdout."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from mcp.server.stdio import stdio_server

from ml_intern.errors import Interrupted
from ml_intern.mcp_server.server import Answering

if TYPE_CHECKING:
    from ml_intern.mcp_server.seats import Seat


def serve(seat: Seat, wanted: list[str], cells: bool) -> int:
    """Answer until stdin closes; the exit code.

    The stream of messages is the SDK's: while it serves, what else is printed goes to stderr.
    """
    if sys.stdin.isatty():
        sys.stderr.write("Waiting for a client on stdin: one that speaks MCP starts this (Ctrl-C ends it).\n")
    answering = Answering(seat.settings, lambda ctx: seat, wanted, cells)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda got, frame: _leave(seat))
    try:
        asyncio.run(_serve(answering))
    finally:
        seat.close()
    return 0


async def _serve(answering: Answering) -> None:
    server = answering.server()
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


def _leave(seat: Seat) -> None:
    """Put things away and go: the thread that reads stdin cannot be woken, so Python's own end would hang."""

    def work() -> None:
        try:
            seat.close()
        finally:
            os._exit(Interrupted.exit_code)

    threading.Thread(target=work, name="mcp-leaving").start()
