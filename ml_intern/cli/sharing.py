"""`ml-intern share`: the trace of a session into a private dataset."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ml_intern.cli.sessions import find_played
from ml_intern.cli.tables import print_json


def share(session: str | None, repo: str | None, state: Path | None, as_json: bool) -> None:
    """Upload the trace of a session, and say where it is."""
    from ml_intern.hub.client import Hub
    from ml_intern.router.budget import Budget
    from ml_intern.router.gate import Gate
    from ml_intern.secrets.secrets import Secrets
    from ml_intern.session.sharing import check_allowed, share_trace
    from ml_intern.settings import TRACES, Settings

    secrets = Secrets(os.environ, Path.cwd())
    settings = Settings.load(state=state, share_traces=repo)
    card = find_played(settings.state, session)
    wanted = settings.share_traces or TRACES
    check_allowed(Gate(settings.policy, Budget({}), settings.yes), wanted, asked=True)
    hub = Hub(settings, settings.state, secrets.env)
    try:
        shared = share_trace(card.folder, hub, wanted)
        if as_json:
            print_json({"session": card.id, **shared.to_json(), "private": True})
        else:
            click.echo(f"{shared.url} (private): {shared.path}")
    finally:
        hub.close()
