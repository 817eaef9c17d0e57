"""One MCP server of a session: its tools as specs, and its connection, which is made again where it broke."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from ml_intern.errors import Interrupted, ToolError
from ml_intern.outside.config import McpServer
from ml_intern.outside.results import keep_small, read_result
from ml_intern.outside.schema import properties
from ml_intern.outside.spec import OutsideSpec, declared_price
from ml_intern.outside.words import identifier, one_line
from ml_intern.secrets.credentials import Credential
from ml_intern.secrets.masking import add_secret, add_secrets_of
from ml_intern.secrets.secrets import SERVICES
from ml_intern.tooling import ToolSpec

if TYPE_CHECKING:
    from mcp_types import Tool

    from ml_intern.context import ToolContext
    from ml_intern.outside.connection import Connection

MOST_TOOLS = 100
MOST_STARTS = 10
"""Of one server in a session: one that ends with every call is not started for ever."""
POLL_S = 0.1
_LOOKS_RANDOM = re.compile(r"(?=\S*\d)(?=\S*[A-Za-z])[^\s/]{20,}")
"""A value that is hidden whatever its variable is called."""


class Server:
    """One server.

    Args:
        name: As in the settings; it stands before the names of the tools, ``name__tool``.
        entry: What the settings say.
        env: Where the variables that the entry names are found.

    Attributes:
        problems: Tools that were left out and why, one line each.
        closed: Set when the session ends; whoever waits for a start gives up.
    """

    def __init__(self, name: str, entry: McpServer, env: Mapping[str, str]) -> None:
        self.name, self.entry, self.env = name, entry, env
        self.who = f"MCP server {name!r}"
        self.problems: list[str] = []
        self._listed: dict[str, str] = {}
        self._starts = 0
        self.closed = threading.Event()
        self._lock = threading.Lock()
        self._connection: Connection | None = None

    def specs(self) -> list[ToolSpec]:
        """Start it and read its list of tools."""
        specs: list[ToolSpec] = []
        names: set[str] = set()
        offered = [tool for tool in self._connect(self.closed.is_set).tools if self.entry.offers(tool.name)]
        for tool in offered[:MOST_TOOLS]:
            if tool.name in self._listed:
                continue  # listed twice: the first counts
            name = identifier(tool.name, names, "tool")
            try:
                specs.append(self._spec(tool, f"{prefix_of(self.name)}__{name}"))
            except ToolError as error:
                self.problems.append(f"{error} It is left out.")
                continue
            names.add(name)
            self._listed[tool.name] = _fingerprint(tool)
        if len(offered) > MOST_TOOLS:
            self.problems.append(
                f"{self.who} lists {len(offered)} tools; the first {MOST_TOOLS} are taken. "
                f"Choose with mcp_servers.{self.name}.tools."
            )
        return specs

    def _spec(self, tool: Tool, name: str) -> ToolSpec:
        effect, usd = self.entry.effect(tool.name), self.entry.price(tool.name)
        return OutsideSpec(
            name=name,
            function=partial(self.call, tool.name, name),
            effect=effect,
            subject=f"mcp:{self.name}",
            origin=f"mcp:{self.name}",
            # Free unless the settings say otherwise, but what spends needs a price to be let through.
            price=declared_price(0.0 if usd is None and effect != "compute" else usd),
            repeatable=self.entry.again(tool.name),
            schema=tool.input_schema,
            returns=_unwrapped(tool.output_schema or {}),
            description=tool.description or "",
            speaker=self.who,
        )

    def call(self, tool: str, name: str, ctx: ToolContext, arguments: dict[str, Any]) -> Any:
        """Call a tool that the session was shown."""
        connection = self._connect(ctx.cancelled)
        self._check_unchanged(tool, name, connection.current_tools(ctx.cancelled))
        result = connection.call(tool, arguments, self.entry.timeout_s, ctx.cancelled, ctx.progress)
        return keep_small(read_result(result, name, self.who), ctx, name)

    def _check_unchanged(self, tool: str, name: str, tools: list[Tool]) -> None:
        """A tool that is no longer what the person and the brain were shown is not called."""
        now = next((t for t in tools if t.name == tool), None)
        if now is None:
            raise ToolError(f"{self.who} no longer has the tool behind {name}.")
        if _fingerprint(now) != self._listed[tool]:
            raise ToolError(
                f"{self.who} has changed {name} since the session began, so it is not called.",
                "A new session shows the tool as it is now.",
            )

    def close(self) -> None:
        """End it; it is not started again."""
        self.closed.set()
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connect(self, cancelled: Callable[[], bool]) -> Connection:
        with self._turn(cancelled):
            if self.closed.is_set():
                raise ToolError(f"{self.who} was closed with its session.")
            if self._connection is not None and self._connection.usable:
                return self._connection
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            if self._starts >= MOST_STARTS:
                raise ToolError(f"{self.who} has ended {self._starts} times; it is not started again.")
            self._starts += 1
            self._connection = self._open(lambda: cancelled() or self.closed.is_set())
            return self._connection

    @contextmanager
    def _turn(self, cancelled: Callable[[], bool]) -> Iterator[None]:
        """One thread at a time starts the server; the others wait for it, unless the run is stopped."""
        while not self._lock.acquire(timeout=POLL_S):
            if cancelled():
                raise Interrupted(f"The call to {self.who} was stopped.")
        try:
            yield
        finally:
            self._lock.release()

    def _open(self, cancelled: Callable[[], bool]) -> Connection:
        from ml_intern.outside.connection import Connection

        values = self._values()
        entry = self.entry
        if entry.url is not None:
            from ml_intern.outside.http import Address, reach

            headers = {name: values[variable] for name, variable in entry.headers.items()}
            if entry.token:
                headers["Authorization"] = f"Bearer {values[entry.token]}"
            address = Address(entry.url, headers)
            return Connection(
                partial(reach, address), self.who, entry.start_timeout_s, cancelled, lambda: address.refused
            )
        from ml_intern.outside.stdio import Program, run_program

        own = {"PATH": self.env.get("PATH", os.defpath)}
        own |= {name: values[variable] for name, variable in entry.env.items()}
        program = Program([self._command(own["PATH"]), *entry.args], own, entry.cwd)

        def why() -> str:
            words = program.last_words()
            return ", ".join(filter(None, [program.ended, words and f"its last words: {words}"]))

        return Connection(
            partial(run_program, program),
            self.who,
            entry.start_timeout_s,
            cancelled,
            why,
            lambda: bool(program.ended),
        )

    def _command(self, path: str) -> str:
        assert self.entry.command
        found = shutil.which(self.entry.command, path=path)
        if found is None:
            shown = one_line(self.entry.command, 100)
            raise ToolError(
                f"{self.who}: there is no program {shown!r}; see mcp_servers.{self.name}.command."
            )
        return found

    def _check_home(self, url: str) -> None:
        """The key of a known service goes to no other host, even where a settings file says so: it may be the
        file of somebody else's project."""
        foreign = next((v for v in self.entry.variables() if _is_foreign(v, url)), None)
        if foreign:
            raise ToolError(
                f"{self.who}: {foreign} belongs to another host than mcp_servers.{self.name}.url.",
                "If it really is for this server, put the value into a variable of its own and name that.",
            )

    def _values(self) -> dict[str, str]:
        """The values of the variables that the entry names, from now on hidden where texts are shown."""
        entry = self.entry
        if entry.url is not None:
            self._check_home(entry.url)
        missing = next((v for v in entry.variables() if not self.env.get(v)), None)
        if missing:
            raise ToolError(f"{self.who} needs the variable {one_line(missing, 60)}, which is not set.")
        values = {variable: self.env[variable] for variable in entry.variables()}
        add_secrets_of(values)
        sent = {*entry.headers.values(), entry.token}
        for variable, value in values.items():
            if variable in sent or _LOOKS_RANDOM.fullmatch(value):
                add_secret(value)
        return values


def _is_foreign(variable: str, url: str) -> bool:
    service = next((s for s in SERVICES.values() if variable in s.names and s.hosts), None)
    return service is not None and not Credential("", service.hosts).belongs_to(url)


def prefix_of(name: str) -> str:
    """What stands before the names of a server's tools."""
    return name.replace("-", "_")


def _unwrapped(returns: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of what a cell gets: a result that stands alone under ``result`` is taken out."""
    parts = properties(returns)
    return {**returns, **parts["result"], "title": ""} if [*parts] == ["result"] else returns


def _fingerprint(tool: Tool) -> str:
    return json.dumps([tool.name, tool.description, tool.input_schema], sort_keys=True, default=str)
