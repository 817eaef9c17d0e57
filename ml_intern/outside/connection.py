"""One connection to a server: a thread with an event loop, and calls into it from other threads."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import mcp_types as types
from mcp import Client, MCPError
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from pydantic import TypeAdapter, ValidationError

from ml_intern.errors import Interrupted, ToolError
from ml_intern.outside.words import one_line

MOST_PAGES = 20
MOST_LISTED = 500
POLL_S = 0.05
CLOSE_S = 5.0
REPORT_S = 0.2
"""Between two words of progress that are passed on: a server may send thousands."""
ANSWERED = (types.INVALID_PARAMS, types.METHOD_NOT_FOUND, types.INTERNAL_ERROR)
"""Errors by which a server answers; after others nothing more is expected of the connection."""

# Its warnings would go to the terminal, in the midst of what is printed there.
logging.getLogger("mcp").addHandler(logging.NullHandler())

_RESULT: TypeAdapter[types.CallToolResult | types.InputRequiredResult] = TypeAdapter(
    types.CallToolResult | types.InputRequiredResult
)

Report = Callable[[str, float | None], None]
"""Takes words about a running call, and the part of it that is done."""

Open = Callable[[], contextlib.AbstractAsyncContextManager[tuple[Any, Any]]]


class Connection:
    """Connects when it is made.

    Args:
        open_streams: Makes the transport.
        who: What errors call the server.
        start_s: Until the tools must have been listed.
        cancelled: Whether nobody waits for that any more.
        why_ended: Tells why the transport ended, where it knows.
        has_ended: Tells whether it did.

    Raises:
        ToolError: It does not come up; one line says why.
        Interrupted: Nobody waits any more.
    """

    def __init__(
        self,
        open_streams: Open,
        who: str,
        start_s: float,
        cancelled: Callable[[], bool],
        why_ended: Callable[[], str] = str,
        has_ended: Callable[[], bool] = bool,
    ) -> None:
        self.who, self.start_s = who, start_s
        self.lost = False
        self._open, self._why_ended, self._has_ended = open_streams, why_ended, has_ended
        self._stale = False
        self._up: concurrent.futures.Future[list[types.Tool]] = concurrent.futures.Future()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._main: asyncio.Task[None] | None = None
        self._client: Client
        self._thread = threading.Thread(target=self._serve, name=f"mcp {who}", daemon=True)
        self._thread.start()
        self.tools = self._first_list(cancelled)

    # From any thread

    def _first_list(self, cancelled: Callable[[], bool]) -> list[types.Tool]:
        late = time.monotonic() + self.start_s
        while not concurrent.futures.wait([self._up], POLL_S).done:
            if cancelled():
                self.close()
                raise Interrupted(f"{self.who} was not waited for: the run is being stopped.")
            if time.monotonic() > late:
                self.close()
                told = f"{self.who} did not list its tools within {self.start_s:g} s"
                raise ToolError(f"{told}.{self._ended()}")
        return self._up.result()

    @property
    def usable(self) -> bool:
        """Whether a call can be sent."""
        return not self.lost and not self._has_ended()

    def call(
        self,
        tool: str,
        arguments: dict[str, Any],
        timeout_s: float,
        cancelled: Callable[[], bool],
        report: Report = lambda text, fraction: None,
    ) -> types.CallToolResult:
        """Call a tool.

        Args:
            tool: By the server's own name.
            arguments: By its own names.
            timeout_s: Until the call is given up.
            cancelled: Whether nobody waits any more.
            report: Takes how far the call is, as the server says.

        Raises:
            ToolError: No usable answer came; one line says why.
            Interrupted: The person stopped the run.
        """
        params = types.CallToolRequestParams(name=tool, arguments=arguments)
        # Not Client.call_tool: that one runs the regular expressions of the server's result schema here.
        request = self._send(
            types.CallToolRequest(params=params), _RESULT, timeout_s, Heard(self.who, report)
        )
        result = self._wait(request, timeout_s, cancelled)
        if isinstance(result, types.InputRequiredResult):
            # A server puts no words of its own before the person, and asks no model on the person's account.
            raise ToolError(f"{self.who} asked for more in the midst of the call, which no server is given.")
        return result  # type: ignore[no-any-return]

    def current_tools(self, cancelled: Callable[[], bool]) -> list[types.Tool]:
        """The tools, listed again where the server said that they changed."""
        if self._stale:
            self._stale = False
            self.tools = self._wait(self._list(), self.start_s, cancelled)
        return self.tools

    def close(self) -> None:
        """End the connection, and the server's process where it is ours."""
        self.lost = True
        with contextlib.suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(self._give_up)
        self._thread.join(CLOSE_S)

    def _wait(self, work: Coroutine[Any, Any, Any], timeout_s: float, cancelled: Callable[[], bool]) -> Any:
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:
            work.close()
            self.lost = True
            raise ToolError(f"{self.who} is gone.{self._ended()}") from None
        late = time.monotonic() + timeout_s
        while not concurrent.futures.wait([future], POLL_S).done:
            if cancelled():
                future.cancel()
                raise Interrupted(f"The call to {self.who} was stopped.")
            if time.monotonic() > late:
                future.cancel()
                raise ToolError(f"{self.who} did not answer within {timeout_s:g} s; the call was given up.")
            if not self._thread.is_alive():
                future.cancel()
        return self._answer(future)

    def _answer(self, future: concurrent.futures.Future[Any]) -> Any:
        try:
            return future.result()
        except MCPError as error:
            self.lost = self.lost or error.code not in ANSWERED
            ended = self._ended()
            raise ToolError(f"{self.who} did not carry out the call: {words(error)}.{ended}") from None
        except ValidationError:
            raise ToolError(f"{self.who} sent an answer that does not follow the protocol.") from None
        except (concurrent.futures.CancelledError, Exception) as error:  # noqa: BLE001 - foreign code: whatever it raises, the run goes on
            self.lost = True
            raise ToolError(f"The connection to {self.who} broke: {words(error)}.{self._ended()}") from None

    def _ended(self) -> str:
        why = self._why_ended()
        return f" {why[0].upper()}{why[1:]}." if why else ""

    # On its own thread

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._main = self._loop.create_task(self._live())
        try:
            self._loop.run_until_complete(self._main)
        except (asyncio.CancelledError, Exception) as error:  # noqa: BLE001 - top of a thread
            self._fail(error)
        finally:
            self.lost = True
            self._drop_tasks()
            self._loop.close()

    async def _live(self) -> None:
        # A server of an older kind may not answer the first question at all: the second needs its time too.
        client = Client(
            self._open(), cache=None, message_handler=self._hear, read_timeout_seconds=self.start_s / 3
        )
        async with client:
            self._client = client
            tools = await self._list()
            if self._up.set_running_or_notify_cancel():
                self._up.set_result(tools)
            watch = asyncio.create_task(self._watch())
            await self._stop.wait()
            watch.cancel()
            await asyncio.wait([watch])

    async def _watch(self) -> None:
        """Hear of changed tools: since its version of 2026 the protocol tells them only to who listens."""
        if self._client.protocol_version in HANDSHAKE_PROTOCOL_VERSIONS:
            return
        try:
            async with self._client.listen(tools_list_changed=True) as changes:
                async for _ in changes:
                    self._stale = True
        except (MCPError, SubscriptionLost, ListenNotSupportedError, TimeoutError, ValidationError):
            return  # it tells no changes; a new connection is compared in any case

    async def _list(self) -> list[types.Tool]:
        found: list[types.Tool] = []
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            page = await self._client.session.list_tools(params=types.PaginatedRequestParams(cursor=cursor))
            found += page.tools
            cursor = page.next_cursor
            if cursor is None or len(found) >= MOST_LISTED:
                break
        return found[:MOST_LISTED]

    async def _send(self, request: Any, kind: Any, timeout_s: float, heard: Heard) -> Any:
        # Later than our own limit: whoever waits is told first, and by us.
        late = timeout_s + CLOSE_S
        return await self._client.session.send_request(
            request, kind, request_read_timeout_seconds=late, progress_callback=heard
        )

    async def _hear(self, message: Any) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self._stale = True

    def _give_up(self) -> None:
        """Leave the connection; a start that still waits is cancelled."""
        self._stop.set()
        if self._main is not None and not self._up.done():
            self._main.cancel()

    def _fail(self, error: BaseException) -> None:
        if not self._up.done():
            told = f"{self.who} cannot be used: {words(error)}.{self._ended()}"
            self._up.set_exception(ToolError(told))

    def _drop_tasks(self) -> None:
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        if left:
            self._loop.run_until_complete(asyncio.wait(left, timeout=1))


class Heard:
    """Passes on what a server says of a running call: bounded, marked as its words, not too often."""

    def __init__(self, who: str, report: Report) -> None:
        self._who, self._report, self._last = who, report, 0.0

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        """Take one word of progress."""
        if time.monotonic() < self._last + REPORT_S:
            return
        self._last = time.monotonic()
        known = total is not None and 0 <= progress <= total and 0 < total < float("inf")
        said = one_line(message or "", 200)
        told = f"{self._who} says: {said}" if said else f"{self._who} works"
        self._report(told, progress / total if known and total else None)


def words(error: BaseException) -> str:
    """An error in one line, the first of a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, ValidationError):
        return "its answer does not follow the protocol"
    return one_line(str(error), 300).rstrip(".") or type(error).__name__
