"""Commands that serve: the embedded Hub, the tools over MCP, the web app."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ml_intern.cli.front import COMPUTES, SANDBOXES, folder_option, front, state_option


@front.group("hub")
def hub_group() -> None:
    """The embedded Hub."""


@hub_group.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8765, show_default=True, type=click.IntRange(0, 65535), help="0: any that is free."
)
@folder_option("--root", "Folder of the repositories; nothing: that of the sessions' own Hub.")
@click.option(
    "--token", envvar="ML_INTERN_HUB_TOKEN", help="What clients must send; needed beyond this machine."
)
@state_option
def serve_command(**given: Any) -> None:
    """Serve what sessions have published, for any Hub client (HF_ENDPOINT)."""
    from ml_intern.cli import commands

    commands.serve_hub(**given)


@front.command("mcp")
@click.option("--http", is_flag=True, help="Over HTTP instead of stdin and stdout; needs a token.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8766, show_default=True, type=click.IntRange(0, 65535), help="0: any that is free."
)
@click.option("--cells", is_flag=True, help="Offer run_cell, too: Python in the sandbox, with the tools.")
@click.option("--tools", metavar="NAMES", help="Only these groups, tools or globs, commas between.")
@click.option("--resume", "session", metavar="SESSION", help="Go on with a session of before.")
@click.option("--name", help="Keep the session under this name: started again, it goes on.")
@click.option("--model", metavar="SCHEME:NAME", help="Answers tools that need a language model.")
@click.option("--base-url", metavar="URL", help="An OpenAI-compatible endpoint for it.")
@click.option("--sandbox", type=click.Choice(SANDBOXES), help="Where cells and commands run.")
@click.option("--compute", type=click.Choice(COMPUTES), help="Where jobs run.")
@click.option("--budget", metavar="TEXT", help='Ceiling: "5 usd, 2 gpu-hours, 20 jobs"; a client each.')
@click.option("--yes", metavar="EFFECTS", help="Effects that need no question: compute,publish,destroy.")
@click.option("--eval", "eval", metavar="FILE_OR_NAME", help="The evaluation that decides.")
@click.option("--metric", metavar="NAME", help="The metric that decides.")
@folder_option("--workspace", "Folder that the session works in.")
@state_option
def mcp_command(
    http: bool,
    host: str,
    port: int,
    cells: bool,
    tools: str | None,
    session: str | None,
    name: str | None,
    yes: str | None,
    **given: Any,
) -> int:
    """Offer the tools to an assistant over MCP (Claude, Cursor, VS Code …), under the gate and a budget.

    Without --http the client starts this command and speaks over stdin and stdout. With it, clients send the
    token of ML_INTERN_MCP_TOKEN; without one, a token is made and shown.
    """
    from ml_intern.cli import mcp

    given["yes"] = None if yes is None else mcp.words(yes)
    return mcp.serve(http, host, port, cells, mcp.words(tools or ""), session, name, given)


@front.command("web")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=7860, show_default=True, type=click.IntRange(0, 65535), help="0: any that is free."
)
@click.option(
    "--users",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Who may log in; needed beyond this machine. Each user's sessions and files are apart.",
)
@click.option("--add-user", metavar="NAME", help="Add a user to the file, or give one another password.")
@click.option("--model", metavar="SCHEME:NAME", help="Brain of new sessions.")
@click.option("--base-url", metavar="URL", help="An OpenAI-compatible endpoint.")
@click.option("--sandbox", type=click.Choice(SANDBOXES), help="Where cells run.")
@click.option("--compute", type=click.Choice(COMPUTES), help="Where jobs run.")
@click.option("--budget", metavar="TEXT", help="Ceiling of each new session.")
@state_option
def web_command(host: str, port: int, users: Path | None, add_user: str | None, **given: Any) -> None:
    """Serve the web app: sessions, approvals, jobs, curves and experiments in a browser."""
    from ml_intern.cli import web

    web.serve(host, port, users, add_user, given)
