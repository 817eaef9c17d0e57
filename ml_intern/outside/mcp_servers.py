"""The MCP servers of the settings: started when their tools are listed first, ended with the session."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from ml_intern.errors import ToolError, UsageError
from ml_intern.outside.config import read_entry
from ml_intern.outside.server import Server, prefix_of
from ml_intern.tooling import ToolSpec


class McpServers:
    """All servers of a session.

    Args:
        servers: The setting ``mcp_servers``.
        env: Where the variables that the entries name are found.

    Attributes:
        problems: What was left out and why, one line each; filled by `specs`.

    Raises:
        UsageError: An entry cannot be read; names the key.
    """

    def __init__(self, servers: Mapping[str, Any], env: Mapping[str, str] = os.environ) -> None:
        entries = {name: read_entry(name, given) for name, given in servers.items()}
        prefixes = [prefix_of(name) for name in entries]
        if twice := next((p for p in prefixes if prefixes.count(p) > 1), None):
            raise UsageError(f"Setting mcp_servers: two servers are named {twice!r}.", "Rename one.")
        if entries and importlib.util.find_spec("mcp") is None:
            raise UsageError(
                "The settings name MCP servers, but the package 'mcp' is not installed.",
                "pip install 'ml-intern[mcp]'",
            )
        self.servers = [Server(name, entry, env) for name, entry in entries.items()]
        self.problems: list[str] = []

    def specs(self) -> list[ToolSpec]:
        """The tools of all servers, started side by side. One that fails is a problem, not an error."""
        if not self.servers:
            return []
        with ThreadPoolExecutor(len(self.servers)) as pool:
            try:
                return self._collect([(s, pool.submit(s.specs)) for s in self.servers])
            except BaseException:  # a Ctrl-C in this thread: what still starts is not waited for
                for server in self.servers:
                    server.closed.set()
                raise

    def _collect(self, started: list[tuple[Server, Future[list[ToolSpec]]]]) -> list[ToolSpec]:
        found: list[ToolSpec] = []
        for server, work in started:
            try:
                found += work.result()
            except ToolError as error:
                self.problems.append(f"{error} The run goes on without its tools.")
            self.problems += server.problems
        return found

    def close(self) -> None:
        """End every server."""
        if self.servers:
            with ThreadPoolExecutor(len(self.servers)) as pool:
                list(pool.map(Server.close, self.servers))
