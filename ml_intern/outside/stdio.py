"""A server as a child process: cleared environment, its own process group, bounded lines, errors kept short.

The SDK has such a transport too. It hands six variables of ours to the child, reads lines of any length and
logs what it cannot parse; here the child sees what its entry names, and a flood ends the connection.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from anyio.abc import ByteReceiveStream, Process
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from ml_intern.outside.words import one_line

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

LONGEST_MESSAGE = 8 << 20
MOST_STRAY_LINES = 1000
"""Lines that are no message: a banner is forgiven, a flood is not."""
KEPT_ERRORS = 4096
GRACE_S = 1.0
READ = 1 << 16


@dataclass
class Program:
    """What is started, and what became known of it.

    Attributes:
        argv: The command.
        env: All of its variables.
        cwd: Its folder.
        ended: Why the connection ended; empty while it stands.
        errors: The end of what it wrote to its error stream.
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path | None = None
    ended: str = ""
    errors: bytes = field(default=b"", repr=False)
    pid: int | None = None

    def last_words(self) -> str:
        """The last line of its error stream, as it may be shown."""
        lines = self.errors.decode("utf-8", "replace").strip().splitlines()
        return one_line(lines[-1], 200) if lines else ""


@asynccontextmanager
async def run_program(program: Program) -> AsyncIterator[tuple[Any, Any]]:
    """Start the program and carry messages; at the end nothing of its process group is left.

    Raises:
        OSError: It cannot be started.
    """
    process = await anyio.open_process(
        list(program.argv), env=dict(program.env), cwd=program.cwd, start_new_session=True
    )
    program.pid = process.pid
    arrived, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outgoing, leaving = anyio.create_memory_object_stream[SessionMessage](0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_read, process, program, arrived)
        tasks.start_soon(_write, process, program, leaving, arrived)
        tasks.start_soon(_keep_errors, process, program)
        try:
            yield incoming, outgoing
        finally:
            with anyio.CancelScope(shield=True):
                await _end(process)
            for stream in (arrived, incoming, outgoing, leaving):
                stream.close()
            tasks.cancel_scope.cancel()


async def _read(
    process: Process, program: Program, arrived: MemoryObjectSendStream[SessionMessage | Exception]
) -> None:
    assert process.stdout
    stray, waiting = 0, bytearray()
    async with arrived:
        try:
            while True:
                # Only what is new is looked through: a long message comes in many pieces.
                first, *others = (await process.stdout.receive(READ)).split(b"\n")
                waiting += first
                lines = [bytes(waiting), *others[:-1]] if others else []
                if len(waiting) > LONGEST_MESSAGE:
                    program.ended = f"it sent a message of more than {LONGEST_MESSAGE >> 20} MB"
                    return
                if others:
                    waiting = bytearray(others[-1])
                for line in lines:
                    message = _parsed(line)
                    if message is not None:
                        await arrived.send(message)
                    elif line.startswith(b"{") and b'"jsonrpc"' in line:
                        program.ended = "it sent a message that cannot be read"
                        return
                    elif line.strip():
                        stray += 1
                if stray > MOST_STRAY_LINES:
                    program.ended = "it writes lines that are no messages to its standard output"
                    return
        except (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError, ConnectionError):
            program.ended = program.ended or "it has ended"


def _parsed(line: bytes) -> SessionMessage | None:
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError:
        return None


async def _write(
    process: Process,
    program: Program,
    leaving: MemoryObjectReceiveStream[SessionMessage],
    arrived: MemoryObjectSendStream[SessionMessage | Exception],
) -> None:
    assert process.stdin
    try:
        async with leaving:
            async for sent in leaving:
                text = sent.message.model_dump_json(by_alias=True, exclude_unset=True)
                await process.stdin.send(text.encode() + b"\n")
    except (anyio.ClosedResourceError, anyio.BrokenResourceError, OSError):
        program.ended = program.ended or "it takes no more messages"
        arrived.close()


async def _keep_errors(process: Process, program: Program) -> None:
    """Read the error stream to its end, so that a child that floods it never blocks, and keep its tail."""
    assert process.stderr
    stream: ByteReceiveStream = process.stderr
    try:
        while True:
            program.errors = (program.errors + await stream.receive(READ))[-KEPT_ERRORS:]
    except (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError, ConnectionError):
        pass


async def _end(process: Process) -> None:
    """Close its input, then ask, then kill; its children too, also where it left first."""
    assert process.stdin
    try:
        await process.stdin.aclose()
    except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
        pass
    if not await _gone(process):
        _signal(process, signal.SIGTERM)
        await _gone(process)
    _signal(process, signal.SIGKILL)
    await _gone(process)
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            await stream.aclose()
    # Nothing public closes the pipes of asyncio's own, which complains where its loop is gone before them.
    transport = getattr(getattr(process, "_process", None), "_transport", None)
    if transport is not None:
        transport.close()
        await anyio.sleep(0)


async def _gone(process: Process) -> bool:
    with anyio.move_on_after(GRACE_S):
        while process.returncode is None:
            await anyio.sleep(0.01)
    return process.returncode is not None


def _signal(process: Process, number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        pass
