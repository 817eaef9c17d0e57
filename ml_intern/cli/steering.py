"""Words to a session from another terminal: say, stop, undo."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ml_intern.cli.sessions import SessionCard, find_played, find_session
from ml_intern.errors import UsageError
from ml_intern.inbox import STOPS, Inbox, What


def say(session: str, words: str, state: Path | None) -> None:
    """Leave a message for a session."""
    card = _card(session, state)
    Inbox(card.folder).say(words)
    if card.status == "running":
        click.echo(f"Session {card.id} is told before its brain answers the next time.")
    else:
        click.echo(f"Session {card.id} does not run. It is told when it goes on: ml-intern resume {card.id}")


def stop(session: str | None, what: What, state: Path | None) -> None:
    """Stop the cell, the step or the run of a session that another process runs."""
    card = _card(session, state)
    if card.status != "running":
        raise UsageError(f"The session {card.id} does not run: it is {card.status}.")
    Inbox(card.folder).stop(what)
    click.echo(f"Asked session {card.id} to stop its {what}.")


def what(word: str | None) -> What:
    """What shall stop; nothing named: the run."""
    return next((known for known in STOPS if known == word), "run")


def undo(session: str | None, as_json: bool, state: Path | None) -> None:
    """Undo the last turn of a session that does not run."""
    from ml_intern.undoing import undo as undo_turn

    card = _played(session, state)
    done = undo_turn(card.folder, _workspace(card))
    if as_json:
        click.echo(json.dumps({"session": card.id, **done.__dict__}))
        return
    turn = f"The turn {done.prompt[:60]!r}" if done.prompt else "The first turn"
    files = (
        "Its workspace is as it was before." if done.workspace else "Its workspace was not kept: files stay."
    )
    click.echo(f"{turn} of session {card.id} is undone ({done.steps} steps). {files}")
    if done.stays:
        click.echo(f"Not taken back: {', '.join(done.stays)}.")


def _workspace(card: SessionCard) -> Path:
    try:
        told = json.loads((card.folder / "session.json").read_text(encoding="utf-8"))["workspace"]
    except (OSError, ValueError, KeyError):
        raise UsageError(f"The card of the session {card.id} cannot be read.") from None
    return Path(told)


def _card(session: str | None, state: Path | None) -> SessionCard:
    from ml_intern.settings import Settings

    return find_session(Settings.load(state=state).state, session)


def _played(session: str | None, state: Path | None) -> SessionCard:
    from ml_intern.settings import Settings

    return find_played(Settings.load(state=state).state, session)
