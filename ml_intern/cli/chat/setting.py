"""Commands that set something for the session: its model, its budget, what needs no question, its context."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from ml_intern.cli.chat.slash import Command, Known
from ml_intern.durations import show_duration
from ml_intern.errors import UsageError
from ml_intern.router.budget import UNITS, parse_budget
from ml_intern.router.policy import YES_WORDS, read_yes

if TYPE_CHECKING:
    from ml_intern.cli.chat.talk import Chat

SCHEMES = {
    "openai:": "an OpenAI-compatible endpoint (--base-url)",
    "hf:": "Hugging Face's inference providers",
    "transformers:": "a model in this process",
    "litellm:": "any provider that LiteLLM knows",
    "playbook:": "cells written ahead, no language model",
}
EXAMPLES = ("5 usd", "2 gpu-hours", "1h", "500k tokens", "20 jobs")


def _model(chat: Chat, rest: str) -> None:
    if not rest:
        session = chat.hosted.session
        named = session.brain.label if session else chat.given.get("model") or chat.settings().model
        chat.view.note(
            f"model {named or 'chosen when the session begins: a token chooses hf:, else a playbook'}"
        )
        return
    chat.doing(f"asking for {rest}")
    _try_model(chat, rest)
    chat.change("model", rest, lasting=True)
    chat.anew = chat.hosted.state != "new"
    when = {"new": "the first turn", "working": "the turn after this one"}.get(
        chat.hosted.state, "the next turn"
    )
    chat.view.note(f"model {rest} from {when} on")


def _try_model(chat: Chat, name: str) -> None:
    """Before it is taken: whether it can be had.

    Raises:
        UsageError: The name is not understood.
        NoBrain: It does not answer.
    """
    from ml_intern.brains.factory import build_brain
    from ml_intern.settings import Settings

    brain = build_brain(Settings.load(**{**chat.hosted.given, "model": name}), lambda event: None, chat.env)
    if brain.language_model:
        brain.prepare("")


def _models_known(chat: Chat, words: Sequence[str]) -> Known:
    from ml_intern.cli.sessions import list_sessions

    if words:
        return []
    used = dict.fromkeys(card.model for card in list_sessions(chat.state)[:30] if ":" in card.model)
    return [*((name, "used before") for name in used), *SCHEMES.items()]


def _budget(chat: Chat, rest: str) -> None:
    if rest:
        parse_budget(rest)
        chat.change("budget", rest)
        if (session := chat.hosted.session) is not None:
            session.set_budget(rest)
    if (session := chat.hosted.session) is not None:
        chat.view.print(_spent(session.budget.summary()))
    else:
        text = chat.given.get("budget") or chat.settings().budget
        chat.view.note(f"budget {text}" if text else "no ceiling; /budget 5 usd, 1h sets one")


def _spent(summary: dict[str, dict[str, float | None]]) -> Table:
    table = Table.grid(padding=(0, 2))
    for unit in UNITS:
        use = summary[unit]
        cap, reserved = use["cap"], use["reserved"] or 0.0
        of = f"of {_amount(unit, cap)}" if cap is not None else "no ceiling"
        held = f"{_amount(unit, reserved)} reserved" if reserved else ""
        name = {"seconds": "time", "gpu_hours": "gpu-hours"}.get(unit, unit)
        table.add_row(
            Text(f"  {name}", style="bold"), _amount(unit, use["spent"] or 0.0), of, Text(held, style="dim")
        )
    return table


def _amount(unit: str, value: float) -> str:
    if unit == "seconds":
        return show_duration(value)
    return f"{value:,.0f}" if unit in ("tokens", "jobs") else f"{value:.4g}"


def _approve(chat: Chat, rest: str) -> None:
    words = rest.replace(",", " ").split()
    if not words or words == ["list"]:
        _allowed(chat)
    elif words[0] == "revoke":
        _revoke(chat, words[1:])
    else:
        _set_yes(chat, sorted({*chat.yes(), *read_yes(words)}))
        chat.view.note(
            f"Needs no question in this session: {', '.join(chat.yes())}. /approve revoke takes it back."
        )


def _revoke(chat: Chat, words: Sequence[str]) -> None:
    """All that was allowed, or what is named."""
    gone = read_yes(words) if words else frozenset(YES_WORDS)
    _set_yes(chat, [word for word in chat.yes() if word not in gone])
    if not words and (session := chat.hosted.session) is not None:
        session.revoke()
    elif not words and chat.hosted.folder:
        _revoke_in(chat.hosted.folder)
    chat.view.note(f"Needs no question now: {', '.join(chat.yes()) or 'nothing'}.")


def _revoke_in(folder: Path) -> None:
    """In the journal of a session that no process works on: it is asked again once it goes on."""
    from ml_intern.journal.journal import Journal
    from ml_intern.session.lock import SessionLock

    lock = SessionLock(folder)
    try:
        journal = Journal(folder / "journal.sqlite")
        journal.append("revoked", {}, durable=True)
        journal.close()
    finally:
        lock.release()


def _set_yes(chat: Chat, words: list[str]) -> None:
    chat.change("yes", words)
    if (session := chat.hosted.session) is not None:
        session.allow(words)


def _allowed(chat: Chat) -> None:
    chat.view.note(f"Needs no question in this session: {', '.join(chat.yes()) or 'nothing'}.")
    session = chat.hosted.session
    for standing in session.router.gate.always if session else ():
        chat.view.note(f"  always: {standing}")
    chat.view.note(f"/approve EFFECTS allows more ({', '.join(YES_WORDS)}); /approve revoke takes it back.")


def _approve_known(chat: Chat, words: Sequence[str]) -> Known:
    effects = [(word, "needs no question then") for word in YES_WORDS if word not in words]
    return effects if words else [*effects, ("list", "what is allowed"), ("revoke", "take it back")]


def _compact(chat: Chat, rest: str) -> None:
    session = chat.hosted.session
    if session is None:
        raise UsageError("There is no running session whose context could be shorter.")
    session.compact()
    chat.view.note("The context is made shorter before the next question to the model.")


COMMANDS = [
    Command(
        "model",
        "[SCHEME:NAME]",
        "show the model, or take another one",
        _model,
        "A session that works goes on with its model to the end of its turn.",
        _models_known,
    ),
    Command(
        "budget",
        "[WORDS]",
        "show what is spent, or set the ceiling",
        _budget,
        'WORDS such as "5 usd, 2 gpu-hours, 1h, 500k tokens, 20 jobs"; what was spent counts.',
        lambda chat, words: [] if words else [(text, "") for text in EXAMPLES],
    ),
    Command(
        "approve",
        "[EFFECTS | list | revoke]",
        "what needs no question in this session",
        _approve,
        f"EFFECTS are some of {', '.join(YES_WORDS)}, as with --yes. revoke takes all back,"
        " revoke EFFECTS some.",
        _approve_known,
    ),
    Command("compact", "", "make the context shorter now", _compact),
]
