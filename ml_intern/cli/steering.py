"""Words to a session from another terminal: say, stop, undo."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import click

from ml_intern.agent.inbox import STOPS, Inbox, What
from ml_intern.cli.calm import count
from ml_intern.cli.sessions import SessionCard, find_played, find_running, find_session
from ml_intern.cli.tables import print_json
from ml_intern.errors import UsageError

_ID = re.compile(r"\d{8}-")
"""How the ids of sessions begin."""


def say(words: Sequence[str], as_json: bool, state: Path | None) -> None:
    """Leave a message for a session.

    Args:
        words: The message; before it the session, where another than the newest that runs is meant.
        as_json: One JSON document in place of a line.
        state: The state folder.
    """
    card, text = _addressed(list(words), _state(state))
    Inbox(card.folder).say(text)
    if as_json:
        print_json({"session": card.id, "status": card.status, "said": text})
    elif card.status == "running":
        click.echo(f"Session {card.id} is told before its brain answers the next time.")
    else:
        click.echo(f"Session {card.id} does not run. It is told when it goes on: ml-intern resume {card.id}")


def _addressed(words: list[str], state: Path) -> tuple[SessionCard, str]:
    """The session and the message. A first word that names no session belongs to the message."""
    if len(words) > 1:
        try:
            return find_session(state, words[0]), " ".join(words[1:])
        except UsageError:
            if _ID.match(words[0]):  # meant as one, and mistyped
                raise
    return find_running(state, None), " ".join(words)


def stop(session: str | None, what: What, as_json: bool, state: Path | None) -> None:
    """Stop the cell, the step or the run of a session that another process runs."""
    card = find_running(_state(state), session)
    if card.status not in ("running", "waiting"):
        raise UsageError(f"The session {card.id} does not run: it is {card.status}.")
    Inbox(card.folder).stop(what)
    if as_json:
        print_json({"session": card.id, "stop": what})
    else:
        click.echo(f"Asked session {card.id} to stop its {what}.")


def what(word: str | None) -> What:
    """What shall stop; nothing named: the run."""
    return next((known for known in STOPS if known == word), "run")


def undo(session: str | None, as_json: bool, state: Path | None) -> None:
    """Undo the last turn of a session that does not run."""
    from ml_intern.session.undoing import undo as undo_turn

    card = find_played(_state(state), session)
    done = undo_turn(card.folder, _workspace(card))
    if as_json:
        print_json({"session": card.id, **done.__dict__})
        return
    turn = f"The turn {done.prompt[:60]!r}" if done.prompt else "The first turn"
    files = (
        "Its workspace is as it was before." if done.workspace else "Its workspace was not kept: files stay."
    )
    click.echo(f"{turn} of session {card.id} is undone ({count(done.steps, 'step')}). {files}")
    if done.stays:
        click.echo(f"Not taken back: {', '.join(done.stays)}.")


def _workspace(card: SessionCard) -> Path:
    try:
        told = json.loads((card.folder / "session.json").read_text(encoding="utf-8"))["workspace"]
        return Path(told)
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(
            f"The card of the session {card.id} cannot be read.", f"It is {card.folder / 'session.json'}."
        ) from None


def _state(state: Path | None) -> Path:
    from ml_intern.settings import Settings

    return Settings.load(state=state).state
