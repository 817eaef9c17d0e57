"""Answers what a client asks: tools and calls, resources, prompts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any

import mcp_types as types
from mcp import MCPError
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from ml_intern import __version__
from ml_intern.errors import InternError
from ml_intern.events import ApprovalNeeded, Notice, ToolProgress
from ml_intern.mcp_server import answers, declarations, prompts, resources
from ml_intern.mcp_server.words import INSTRUCTIONS, RUN_CELL
from ml_intern.router.calls import Outcome
from ml_intern.secrets.masking import mask

if TYPE_CHECKING:
    from ml_intern.mcp_server.running import Running
    from ml_intern.mcp_server.seats import Seat
    from ml_intern.settings import Settings
    from ml_intern.tooling import ToolSpec

Ctx = ServerRequestContext[Any, Any]
LEVELS: dict[str, types.LoggingLevel] = {"info": "info", "warning": "warning", "error": "error"}
ORDER: Sequence[types.LoggingLevel] = (
    "debug", "info", "notice", "warning", "error", "critical", "alert", "emergency",
)  # fmt: skip
QUESTION = "approval"
TOLD_S = 1.0
"""After so long an answer that was sent has arrived, or never will."""


class Answering:
    """The handlers of a server.

    Args:
        settings: Of every session.
        seat_of: The seat of the client that asks.
        wanted: Groups, names and globs of the tools that are offered; nothing: all.
        cells: Whether ``run_cell`` is.
    """

    def __init__(
        self,
        settings: Settings,
        seat_of: Callable[[Ctx], Seat],
        wanted: Sequence[str] = (),
        cells: bool = False,
    ) -> None:
        self._settings, self._seat_of, self._wanted, self._cells = settings, seat_of, wanted, cells
        self._specs: list[ToolSpec] | None = None
        self._quietest: types.LoggingLevel = "info"

    def server(self) -> Server[Any]:
        """The server, which a transport runs."""
        server: Server[Any] = Server(
            "ml-intern",
            version=__version__,
            title="ML Intern",
            instructions=INSTRUCTIONS,
            on_list_tools=self.list_tools,
            on_call_tool=self.call_tool,
            on_list_resources=self.list_resources,
            on_list_resource_templates=self.list_templates,
            on_read_resource=self.read_resource,
            on_list_prompts=self.list_prompts,
            on_get_prompt=self.get_prompt,
        )
        # Given to the constructor it would warn: newer clients ask for messages call by call.
        server.add_request_handler("logging/setLevel", types.SetLevelRequestParams, self.set_level)
        return server

    async def set_level(self, ctx: Ctx, params: types.SetLevelRequestParams) -> types.EmptyResult:
        """From which level on messages are sent."""
        self._quietest = params.level
        return types.EmptyResult()

    # Tools

    async def list_tools(
        self, ctx: Ctx, params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        """All that are offered."""
        found = [declarations.declared(spec) for spec in await self._offered(ctx)]
        return types.ListToolsResult(tools=[*found, *([declarations.run_cell()] if self._cells else [])])

    async def _offered(self, ctx: Ctx) -> list[ToolSpec]:
        if self._settings.mcp_servers:  # they are the session's: each client has its own connections
            session = await self._session(ctx)
            return declarations.chosen(session.router.specs.values(), self._wanted)
        if self._specs is None:
            from ml_intern.router.registry import load_tools

            found = await asyncio.to_thread(load_tools, self._settings)
            self._specs = declarations.chosen(found, self._wanted)
            # Whoever lists the tools calls one next: what a session needs is read meanwhile.
            threading.Thread(target=_warm, name="mcp-warm", daemon=True).start()
        return self._specs

    async def call_tool(
        self, ctx: Ctx, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        """Carry out a call, or go on with one that waits for an answer."""
        given = params.arguments or {}
        try:
            seat = self._seat_of(ctx)
            if params.request_state and (known := seat.waiting(params.request_state, params.name, given)):
                running = known
                running.can_ask = can_ask(ctx)
                _hand_over(running, params)
            else:
                await self._check(ctx, params.name)
                running = await seat.begin(params.name, given, can_ask(ctx))
        except InternError as error:
            return answers.failed(error.message, error.hint)
        return await self._serve(ctx, seat, running)

    async def _check(self, ctx: Ctx, name: str) -> None:
        """Refuse tools that are not offered; one that nobody knows is the router's to refuse.

        Raises:
            InternError: It is not offered.
        """
        if name == RUN_CELL and not self._cells:
            raise InternError("This server runs no cells.", "It does when started with --cells.")
        if self._wanted and name != RUN_CELL and name not in {s.name for s in await self._offered(ctx)}:
            raise InternError(f"{name[:100]} is not offered here.", "tools/list names what is.")

    async def _serve(
        self, ctx: Ctx, seat: Seat, running: Running
    ) -> types.CallToolResult | types.InputRequiredResult:
        """Pass on what a call tells until it has ended, or needs the person."""
        passed = Progress(ctx)
        try:
            while not isinstance(news := await running.news(), Outcome):
                if isinstance(news, ToolProgress):
                    await passed.on(news)
                elif isinstance(news, Notice):
                    await self._log(ctx, news)
                elif ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
                    return _asked(seat, running, news)
                else:
                    await _ask(ctx, running, news)
        except BaseException:  # the client has cancelled the call or is gone
            running.stop.set()
            seat.forget(running)
            raise
        seat.forget(running)
        for notice in running.session.notices():
            await self._log(ctx, notice)
        asyncio.get_running_loop().call_later(TOLD_S, running.delivered)
        return await asyncio.to_thread(answers.answered, running, news)

    async def _log(self, ctx: Ctx, notice: Notice) -> None:
        level = LEVELS.get(notice.level, "info")
        if ORDER.index(level) >= ORDER.index(self._quietest):
            params = types.LoggingMessageNotificationParams(
                level=level, data=mask(notice.text), logger="ml-intern"
            )
            await send_log(ctx, params)

    # Resources

    async def list_resources(
        self, ctx: Ctx, params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        """What can be read now."""
        there = _told(self._seat_of, ctx).there()
        return types.ListResourcesResult(resources=await asyncio.to_thread(resources.listed, there))

    async def list_templates(
        self, ctx: Ctx, params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        """What can be read of any job."""
        return types.ListResourceTemplatesResult(resource_templates=resources.templates())

    async def read_resource(
        self, ctx: Ctx, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        """The text of a resource."""
        session = await self._session(ctx)
        found = await asyncio.to_thread(_told, resources.read, session, params.uri)
        return types.ReadResourceResult(contents=[found])

    async def _session(self, ctx: Ctx) -> Any:
        return await asyncio.to_thread(_told, lambda: self._seat_of(ctx).session())

    # Prompts

    async def list_prompts(
        self, ctx: Ctx, params: types.PaginatedRequestParams | None
    ) -> types.ListPromptsResult:
        """All prompts."""
        return types.ListPromptsResult(prompts=await asyncio.to_thread(prompts.listed, self._settings))

    async def get_prompt(self, ctx: Ctx, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        """A prompt, filled in."""
        given = params.arguments or {}
        return await asyncio.to_thread(_told, prompts.filled, self._settings, params.name, given)


def _warm() -> None:
    import ml_intern.mcp_server.session  # noqa: F401


class Progress:
    """Progress of a call, as MCP wants it: a number that only grows."""

    def __init__(self, ctx: Ctx) -> None:
        self._ctx = ctx
        self._last = 0.0

    async def on(self, news: ToolProgress) -> None:
        """Report it, where the client has asked for it."""
        known = news.fraction is not None
        self._last = max(self._last + 1e-6, news.fraction or 0.0)
        with suppress(MCPError):
            await self._ctx.session.report_progress(self._last, 1.0 if known else None, mask(news.message))


def can_ask(ctx: Ctx) -> bool:
    """Whether the client shows forms to its person."""
    known = ctx.session.client_capabilities
    asks = known.elicitation if known else None
    return asks is not None and (asks.form is not None or asks.url is None)


async def _ask(ctx: Ctx, running: Running, question: ApprovalNeeded) -> None:
    """Put a question, with a request of our own."""
    from ml_intern.mcp_server.asking import form

    text, fields = form(question)
    try:
        said = await ctx.session.elicit_form(text, fields, related_request_id=ctx.request_id)
    except (MCPError, ValueError) as error:  # it has no such form, or answers with what is none
        running.answer("failed", {"reason": str(error)})
    else:
        running.answer(said.action, said.content)


def _asked(seat: Seat, running: Running, question: ApprovalNeeded) -> types.InputRequiredResult:
    """Put a question with the answer to this request; the client comes again with what was said."""
    from ml_intern.mcp_server.asking import form

    text, fields = form(question)
    asked = types.ElicitRequest(params=types.ElicitRequestFormParams(message=text, requested_schema=fields))
    state = token_urlsafe(24)
    seat.wait_for(running, state)
    return types.InputRequiredResult(input_requests={QUESTION: asked}, request_state=state)


def _hand_over(running: Running, params: types.CallToolRequestParams) -> None:
    said = (params.input_responses or {}).get(QUESTION)
    if isinstance(said, types.ElicitResult):
        running.answer(said.action, said.content)
    else:
        running.answer("cancel", None)


async def send_log(ctx: Ctx, params: types.LoggingMessageNotificationParams) -> None:
    """A message to the client, on the stream of its request."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer clients ask for it call by call, which is looked at there
        await ctx.session.send_log_message(
            params.level, params.data, params.logger, related_request_id=ctx.request_id
        )


def _told(work: Callable[..., Any], *given: Any) -> Any:
    """Do it; what goes wrong is an error of the request.

    Raises:
        MCPError: With the words of ours.
    """
    try:
        return work(*given)
    except InternError as error:
        raise MCPError(types.INVALID_PARAMS, mask(str(error))) from None
