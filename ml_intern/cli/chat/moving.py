"""Commands that go somewhere: another session, back a turn, a stop, the end, a copy for others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ml_intern.agent.inbox import STOPS
from ml_intern.cli.chat.sharing import share
from ml_intern.cli.chat.slash import Command, Known
from ml_intern.cli.sessions import SessionCard, find_session, list_sessions
from ml_intern.errors import UsageError
from ml_intern.tooling import did_you_mean

if TYPE_CHECKING:
    from ml_intern.cli.chat.talk import Chat


def _idle(chat: Chat) -> None:
    if chat.hosted.works:
        raise UsageError("The session works.", "/stop run stops it; it can be resumed.")


def _new(chat: Chat, rest: str) -> None:
    _idle(chat)
    chat.take(None)
    chat.view.note("A new session: say what is to be done. Jobs of the one before run on.")
    if rest:
        chat.tell(rest)


def _resume(chat: Chat, rest: str) -> None:
    """Go to a session; one that has not come to its end goes on at once."""
    _idle(chat)
    here = chat.hosted.folder if rest == "." else None
    card = find_session(chat.state, str(here or rest)) if rest else _unfinished(chat)
    if card.folder != chat.hosted.folder:
        if card.replay_of:
            raise UsageError(f"{card.id} is a replay of {card.replay_of}.", f"/resume {card.replay_of}")
        chat.take(card.folder)
    chat.recall(card)
    if card.status == "done":
        chat.view.note("It has answered. Say what is next.")
        return
    chat.go_on()


def _unfinished(chat: Chat) -> SessionCard:
    own = [card for card in list_sessions(chat.state) if not card.replay_of]
    here = [card for card in own if card.folder == chat.hosted.folder]
    for card in [*here, *own]:
        if card.status not in ("done", "damaged", "running", "waiting"):
            return card
    raise UsageError("There is no unfinished session.", "/sessions lists all; /resume SESSION goes to one.")


def _sessions_known(chat: Chat, words: Sequence[str]) -> Known:
    if words:
        return []
    return [(c.id, f"{c.status}: {' '.join(c.prompt.split())[:40]}") for c in list_sessions(chat.state)[:30]]


def _undo(chat: Chat, rest: str) -> None:
    _idle(chat)
    chat.doing("undoing")
    done = chat.undo()
    turn = f"The turn {done.prompt[:60]!r}" if done.prompt else "The first turn"
    files = (
        "The workspace is as it was before." if done.workspace else "The workspace was not kept: files stay."
    )
    chat.view.note(f"{turn} is undone ({done.steps} step{'s' * (done.steps != 1)}). {files}")
    if done.stays:
        chat.view.note(f"Not taken back: {', '.join(done.stays)}.")


def _stop(chat: Chat, rest: str) -> None:
    what = next((known for known in STOPS if known == (rest or "step")), None)
    if what is None:
        raise UsageError(f"What is {rest!r}{did_you_mean(rest, STOPS)}?", "/stop [cell|step|run]")
    if not chat.stop(what):
        chat.view.note("There is nothing to stop.")


def _quit(chat: Chat, rest: str) -> None:
    chat.line.end()


COMMANDS = [
    Command("new", "[PROMPT]", "begin another session", _new, "The jobs of this one run on."),
    Command(
        "resume",
        "[SESSION]",
        "go on with a session",
        _resume,
        "SESSION is an index of /sessions, a unique prefix of the id or a path; without it the newest that"
        " has not come to its end is meant.",
        _sessions_known,
    ),
    Command(
        "undo",
        "",
        "take the last turn back",
        _undo,
        "Its brain forgets it and its files are as they were; what it spent, launched or published is named.",
    ),
    Command(
        "stop",
        "[cell|step|run]",
        "stop what is done now",
        _stop,
        "step, if nothing is said: the cell that runs, or the answer that is being written.",
        lambda chat, words: [] if words else [(what, "") for what in STOPS],
    ),
    Command(
        "share",
        "[file | OWNER/NAME]",
        "share the trace of this session",
        share,
        "It goes to a private dataset of your Hub: OWNER/NAME, else what share_traces says. file: it becomes"
        " a file of this folder. Credentials are hidden; read it before you show it to others.",
        lambda chat, words: [] if words else [("file", "a file of this folder")],
    ),
    Command("quit", "", "leave; jobs run on", _quit),
]
