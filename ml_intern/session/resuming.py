"""Opening a session again: its settings, its brain, what is said where something of them is gone."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.errors import InternError, NoBrain, UsageError
from ml_intern.events import Notice
from ml_intern.journal.reading import CARD, JOURNAL
from ml_intern.router.recorded import Recorded
from ml_intern.settings import SECRET, Settings

if TYPE_CHECKING:
    from ml_intern.router.router import Approver
    from ml_intern.session.session import Session

NOT_SAVED = {*SECRET, "mcp_servers", "state"}
"""Settings that a session does not keep: keys, what may hold keys, and where it lies itself."""


class Damaged(InternError):
    """A journal that cannot be read to its end. It is left as it is."""

    @classmethod
    def of(cls, folder: Path, error: Exception) -> Damaged:
        """Say so, and write what can be read beside it."""
        from ml_intern.export import export

        told = f"The journal of the session {folder.name} is damaged ({error}) and was left as it is."
        try:
            text = export(folder, "markdown")
            path = folder / "rescued.md"
            path.write_text(text, encoding="utf-8", errors="replace")
        except (InternError, OSError) as failure:
            return cls(told, f"Nothing of it can be read: {failure}")
        return cls(told, f"What can be read of it is in {path}. Its jobs and its ledger are not touched.")


def saved_settings(settings: Settings) -> dict[str, Any]:
    """What the session's card keeps of its settings: those that somebody set, without keys."""
    saved: dict[str, Any] = settings.model_dump(mode="json", exclude_unset=True, exclude=NOT_SAVED)
    return saved


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a session.

    Raises:
        UsageError: It cannot be read.
    """
    try:
        card: dict[str, Any] = json.loads((folder / CARD).read_text(encoding="utf-8"))
        return {**card, "prompt": str(card["prompt"])}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise UsageError(
            f"The card of the session {folder.name} cannot be read.", f"It is {folder / CARD}."
        ) from None


def reopen(cls: type[Session], folder: Path, approver: Approver | None, given: Mapping[str, Any]) -> Session:
    """A session that goes on; see `Session.resume`."""
    folder = folder.absolute()
    if not (folder / JOURNAL).is_file():
        raise UsageError(f"The session {folder.name} has no journal: there is nothing to go on from.")
    card = read_card(folder)
    if of := card.get("replay_of"):
        raise UsageError(
            f"The session {folder.name} is a replay of {of}: there is nothing in it to go on with.",
            f"ml-intern replay {of} plays it again.",
        )
    if cls.brainless != (card.get("model") == "mcp:"):
        way = f"ml-intern resume {folder.name}" if cls.brainless else f"ml-intern mcp --resume {folder.name}"
        told = "has a brain of its own" if cls.brainless else "has no brain: an assistant used it over MCP"
        raise UsageError(f"The session {folder.name} {told}.", f"{way} goes on with it.")
    try:
        Recorded.in_folder(folder)  # before a brain is asked for, which may be missing, too
    except (sqlite3.DatabaseError, ValueError) as error:
        raise Damaged.of(folder, error) from None
    settings, old = settings_of(folder, card, given)
    try:
        return cls.create(settings, card["prompt"], approver, folder)
    except (UsageError, NoBrain) as error:
        current = old.model
        if given.get("model") is not None or not _about_model(error, settings) or current == settings.model:
            raise
        if current is None and isinstance(error, NoBrain):
            raise  # an outage, and nobody named another brain: what would be chosen now is none for this run
        told = f"The session's model {settings.model!r} is not there: {error.message}"
        gone = type(error)
        if current is None and isinstance(error, NoBrain):
            # An outage, and nobody named another brain: what would be chosen now is none for this run.
            raise gone(told, f"{error.hint} Or name another one with --model.".strip()) from None
    now = settings.model_copy(update={"model": current, "base_url": old.base_url})
    try:
        session = cls.create(now, card["prompt"], approver, folder)
    except (UsageError, NoBrain):
        raise gone(told, "Name another one with --model.") from None
    session.emit(Notice("warning", f"{told} {session.brain.label} goes on."))
    return session


def settings_of(folder: Path, card: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[Settings, Settings]:
    """The settings of the session, with what is given now; and those of today alone."""
    named = {name: value for name, value in given.items() if value is not None and name != "state"}
    named["state"] = folder.parent.parent
    saved = {k: v for k, v in (card.get("settings") or {}).items() if k in Settings.model_fields}
    if "model" in named and "base_url" not in named:
        saved.pop("base_url", None)  # it belongs to the model that was
    return Settings.load(**{**saved, **named}), Settings.load(**named)


def _about_model(error: InternError, settings: Settings) -> bool:
    """Whether the brain is what is missing, and not a budget, a folder or a rule."""
    from ml_intern.brains.factory import build_brain

    if isinstance(error, NoBrain):
        return True
    try:
        build_brain(settings, lambda event: None)
    except InternError:
        return True
    return False
