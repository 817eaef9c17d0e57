"""``ml-intern mcp``: our tools for any assistant that speaks MCP."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.errors import UsageError

if TYPE_CHECKING:
    from ml_intern.settings import Settings


def serve(
    http: bool,
    host: str,
    port: int,
    cells: bool,
    tools: Sequence[str],
    session: str | None,
    name: str | None,
    given: dict[str, Any],
) -> int:
    """Serve until stdin closes or the person interrupts; the exit code.

    Args:
        http: Over HTTP instead of stdin and stdout.
        host: Where to listen.
        port: The same; 0 for any that is free.
        cells: Offer ``run_cell``.
        tools: Groups, names and globs of the tools that are offered; nothing: all.
        session: One to go on with, as the person calls it.
        name: A name under which the session is found again.
        given: Settings from the flags; None where a flag was not used.
    """
    if importlib.util.find_spec("mcp") is None:
        raise UsageError("The package 'mcp' is not installed.", "pip install 'ml-intern[mcp]'")
    if session and (name or http):
        raise UsageError(
            "--resume goes with neither --name nor --http.", "Over HTTP a name stands in the URL."
        )
    if name and http:
        raise UsageError("--name goes without --http: there the name stands in the URL.", "http://…/mcp/NAME")
    settings, folder = _settings(session, given)
    if http:
        from ml_intern.mcp_server.http import serve as serve_http

        return serve_http(settings, host, port, _token(), list(tools), cells)
    from ml_intern.mcp_server.names import check_name
    from ml_intern.mcp_server.seats import Seat
    from ml_intern.mcp_server.stdio import serve as serve_stdio

    return serve_stdio(Seat(settings, folder, check_name(name) if name else ""), list(tools), cells)


def words(text: str) -> list[str]:
    """What stands between commas or spaces."""
    return text.replace(",", " ").split()


def _token() -> str | None:
    from ml_intern.secrets.secrets import Secrets

    return Secrets(os.environ, Path.cwd()).env.get("ML_INTERN_MCP_TOKEN")


def _settings(session: str | None, given: Mapping[str, Any]) -> tuple[Settings, Path | None]:
    """The settings, and the folder of a session that goes on."""
    from ml_intern.router.budget import parse_budget
    from ml_intern.settings import Settings

    settings = Settings.load(**{key: value for key, value in given.items() if value is not None})
    parse_budget(settings.budget)
    if (settings.model or "").startswith("playbook"):
        raise UsageError("A playbook answers no assistant.", "Name a language model, or leave --model out.")
    if session is None:
        return settings, None
    from ml_intern.cli.sessions import find_session

    return settings, find_session(settings.state, session).folder
