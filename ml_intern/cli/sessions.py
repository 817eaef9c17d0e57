"""The sessions of a state folder, and how a person points at one: by index, unique prefix or path."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ml_intern.errors import UsageError

CARD = "session.json"


@dataclass(frozen=True)
class SessionCard:
    """What is known of a session without opening its journal.

    `index` 1 is the newest; `replay_of` names the session that this one plays again.
    """

    index: int
    id: str
    prompt: str
    status: str
    model: str
    created: str
    exit_code: int | None
    folder: Path
    replay_of: str = ""

    def to_json(self) -> dict[str, Any]:
        """The card as one JSON object."""
        return asdict(self) | {"folder": str(self.folder)}


def list_sessions(state: Path) -> list[SessionCard]:
    """The sessions below a state folder, newest first. One whose card is damaged is shown as such."""
    root = state / "sessions"
    folders = [path.parent for path in root.glob(f"*/{CARD}")] if root.is_dir() else []
    # The card is written in whole seconds; within one the folder's own time decides.
    found = [(_read(folder), (folder / "journal.sqlite").exists(), folder) for folder in folders]
    found.sort(key=lambda entry: (str(entry[0].get("created", "")), _made(entry[2])), reverse=True)
    return [_card(index, data, folder) for index, (data, _, folder) in enumerate(found, 1)]


def find_session(state: Path, reference: str | None) -> SessionCard:
    """The session that a person means; nothing means the newest.

    Raises:
        UsageError: There is none, or several begin like this.
    """
    if reference and (folder := _folder(reference)):
        return _card(0, _read(folder), folder)
    cards = list_sessions(state)
    if not cards:
        raise UsageError(f"There are no sessions in {state}.", "--state DIR names another folder.")
    if reference is None:
        return cards[0]
    if reference.isdecimal() and len(reference) < 10 and 1 <= int(reference) <= len(cards):
        return cards[int(reference) - 1]
    fitting = [card for card in cards if card.id.startswith(reference)]
    exact = [card for card in fitting if card.id == reference]
    if len(exact or fitting) == 1:
        return (exact or fitting)[0]
    if fitting:
        ids = ", ".join(card.id for card in fitting[:4]) + (", …" if len(fitting) > 4 else "")
        raise UsageError(f"{len(fitting)} sessions begin with {reference!r}: {ids}.", "Write more of the id.")
    raise UsageError(f"There is no session {reference!r}.", "ml-intern sessions lists them.")


def find_unfinished(state: Path, reference: str | None) -> SessionCard:
    """The session that a person means; nothing means the newest that has not come to its end.

    Raises:
        UsageError: There is none, or several begin like this.
    """
    if reference is not None:
        return find_session(state, reference)
    own = [card for card in list_sessions(state) if not card.replay_of]
    open_ones = [card for card in own if card.status not in ("done", "damaged")]
    if not open_ones:
        raise UsageError("There is no unfinished session.", "ml-intern sessions lists all.")
    return open_ones[0]


def find_running(state: Path, reference: str | None) -> SessionCard:
    """The session that a person means; nothing means the newest that runs.

    Raises:
        UsageError: There is none, or several begin like this.
    """
    if reference is not None:
        return find_session(state, reference)
    for card in list_sessions(state):
        if card.status in ("running", "waiting"):
            return card
    raise UsageError("No session runs.", "ml-intern sessions lists all; name one to tell it for later.")


def find_played(state: Path, reference: str | None) -> SessionCard:
    """The session that a person wants to see again; nothing means the newest that is no replay itself.

    Raises:
        UsageError: There is none, or several begin like this.
    """
    own = [card for card in list_sessions(state) if not card.replay_of]
    return own[0] if reference is None and own else find_session(state, reference)


def _folder(reference: str) -> Path | None:
    """The session's folder, where the reference is the path of one."""
    try:
        path = Path(reference).expanduser()
        return path.absolute() if (path / CARD).is_file() else None
    except (OSError, RuntimeError, ValueError):  # no such user, too long for a path, a character of no path
        return None


def _read(folder: Path) -> dict[str, Any]:
    try:
        data = json.loads((folder / CARD).read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _made(folder: Path) -> int:
    return folder.stat().st_mtime_ns if folder.exists() else 0


def _card(index: int, data: dict[str, Any], folder: Path) -> SessionCard:
    code = data.get("exit_code")
    return SessionCard(
        index=index,
        id=str(data.get("id") or folder.name),
        prompt=str(data.get("prompt", "")),
        status=_status(data),
        model=str(data.get("model", "")),
        created=str(data.get("created", "")),
        exit_code=code if isinstance(code, int) else None,
        folder=folder,
        replay_of=str(data.get("replay_of") or ""),
    )


def _status(data: dict[str, Any]) -> str:
    """What the card says; a run whose process is gone has stopped, whatever its card says."""
    status, pid = str(data.get("status") or "damaged"), data.get("pid")
    gone = isinstance(pid, int) and Path("/proc").exists() and not Path(f"/proc/{pid}").exists()
    # One that waited for the next words had given its answer.
    return {"running": "stopped", "waiting": "done"}.get(status, status) if gone else status
