"""`ml-intern web`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ml_intern.errors import UsageError


def serve(host: str, port: int, users: Path | None, add_user: str | None, given: Mapping[str, Any]) -> None:
    """Serve until Ctrl-C, or add a user."""
    if add_user is not None:
        _add(users, add_user)
        return
    from ml_intern.webapp import serving

    try:
        serving.serve({k: v for k, v in given.items() if v is not None}, host, port, users, click.echo)
    except KeyboardInterrupt:
        click.echo("Closed.")


def _add(file: Path | None, name: str) -> None:
    from ml_intern.webapp.users import NAME, Users

    if file is None:
        raise UsageError("Which file?", f"ml-intern web --users FILE --add-user {name}")
    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name for a user.", "Take letters, digits, - and _, at most 39.")
    users = Users(file.expanduser().absolute())
    known = file.expanduser().exists() and name.lower() in users.names()
    users.add(name, _password(name))
    click.echo(f"{name} has another password now." if known else f"{name} may log in now ({file}).")


def _password(name: str) -> str:
    """Asked for twice at a terminal; elsewhere the first line of stdin."""
    if sys.stdin.isatty():
        return str(click.prompt(f"Password of {name}", hide_input=True, confirmation_prompt=True, err=True))
    return sys.stdin.readline().rstrip("\r\n")
