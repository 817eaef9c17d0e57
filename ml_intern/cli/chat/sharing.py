"""`/share`: the trace of a chat's session, into a private dataset or into a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ml_intern.errors import UsageError
from ml_intern.secrets.masking import mask

if TYPE_CHECKING:
    from ml_intern.cli.chat.talk import Chat


def share(chat: Chat, rest: str) -> None:
    """Share it, and say where it is."""
    folder = chat.hosted.folder
    if folder is None:
        raise UsageError("There is nothing to share yet.")
    chat.doing("sharing")
    chat.view.note(_write(folder, chat.project) if rest == "file" else _upload(chat, folder, rest))


def _upload(chat: Chat, folder: Path, repo: str) -> str:
    """The person has said so, which answers the gate's question and lifts none of its denials."""
    from ml_intern.hub.client import Hub
    from ml_intern.router.budget import Budget
    from ml_intern.router.gate import Gate
    from ml_intern.session.sharing import check_allowed, share_trace
    from ml_intern.settings import TRACES, Settings

    settings = Settings.load(**{**chat.given, "share_traces": repo or None})
    wanted = settings.share_traces or TRACES
    check_allowed(Gate(settings.policy, Budget({}), settings.yes), wanted, asked=True)
    hub = Hub(settings, settings.state, chat.env)
    try:
        found = share_trace(folder, hub, wanted)
        return f"The trace of this session is in {found.url} (private): {found.path}"
    finally:
        hub.close()


def _write(folder: Path, into: Path) -> str:
    from ml_intern.export import export

    path = into / f"ml-intern-{folder.name}.jsonl"
    try:
        path.write_text(mask(export(folder, "trace")), encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageError(f"{str(path)!r} cannot be written: {error.strerror}.") from None
    return (
        f"The trace of this session is {path} (JSON lines, credentials hidden). Read it before you share it."
    )
