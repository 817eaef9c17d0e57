"""The card of a session: what is known of it without opening its journal."""

from __future__ import annotations

import datetime
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.secrets.masking import mask_all
from ml_intern.session.resuming import saved_settings

if TYPE_CHECKING:
    from ml_intern.session.session import Session


def write_card(session: Session, status: str, code: int | None) -> None:
    """Write it anew; a reader sees the old one or the new one. Without a code the session runs."""
    card = {
        "id": session.id,
        "prompt": session.prompt,
        "status": status,
        "model": session.brain.label,
        "workspace": str(session.workspace),
        "created": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "exit_code": code,
        "pid": os.getpid() if code is None else None,
        "settings": saved_settings(session.settings),
    }
    path: Path = session.folder / "session.json"
    if path.exists():
        card["created"] = json.loads(path.read_text()).get("created", card["created"])
    _replace(path, card)


def write_setting(session: Session) -> None:
    """A setting changed while it runs: the card tells the new one, and all else as it was."""
    path: Path = session.folder / "session.json"
    card = json.loads(path.read_text())
    _replace(path, {**card, "settings": saved_settings(session.settings)})


def _replace(path: Path, card: dict[str, Any]) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(mask_all(card), indent=2))
    fresh.replace(path)
