"""What a call would change, as a diff: of a file in the workspace, or of a card on a Hub."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.errors import InternError
from ml_intern.secrets.masking import mask

if TYPE_CHECKING:
    from ml_intern.events import ApprovalNeeded
    from ml_intern.hosting import Hosted
    from ml_intern.session.session import Session

MOST_BYTES = 1 << 20
HUB_S = 4.0
"""How long a Hub may take to tell the card that is there; the question does not wait longer for it."""


@dataclass(frozen=True)
class Change:
    """What is there against what would be there.

    Attributes:
        what: In words.
        lines: Of the diff.
        arguments: Those that it shows, so that they need not be shown again.
    """

    what: str
    lines: Sequence[str]
    arguments: Sequence[str] = ()


def change_of(question: ApprovalNeeded, hosted: Hosted) -> Change | None:
    """The change of a call; None where it changes no text that is there, or that cannot be known before."""
    session = hosted.session
    if session is None:
        return None
    given = question.arguments
    try:
        match question.tool:
            case "write_file":
                return _written(session, str(given["path"]), str(given["content"]))
            case "edit_file":
                return _edited(session, given)
            case "write_hub_file" if given.get("text") is not None:
                return _in_time(lambda: _uploaded(session, given))
            case "publish_model" | "publish_dataset":
                return _in_time(lambda: _card(session, question.tool.rpartition("_")[2], given))
    except (InternError, OSError, KeyError, UnicodeDecodeError):
        pass  # the call itself will tell what is wrong
    return None


def _written(session: Session, path: str, content: str) -> Change | None:
    file, before = _read(session, path)
    return Change(f"{_name(session, file)} is there: it would change so", diff(before, content), ("content",))


def _edited(session: Session, given: dict[str, Any]) -> Change | None:
    from ml_intern.workspace.editing import edit

    file, before = _read(session, str(given["path"]))
    done = edit(before, str(given["old"]), str(given["new"]), given.get("how") or "replace")
    return Change(f"{_name(session, file)} would change so", diff(before, done.text), ("old", "new"))


def _read(session: Session, path: str) -> tuple[Path, str]:
    file = session.services.files.readable(path)
    if file.stat().st_size > MOST_BYTES:
        raise OSError("too large to show")
    return file, mask(file.read_text(encoding="utf-8"))


def _name(session: Session, file: Path) -> str:
    """As it is called in the workspace, if it lies there."""
    workspace = session.services.files.workspace
    return str(file.relative_to(workspace) if workspace in file.parents else file)


def _uploaded(session: Session, given: dict[str, Any]) -> Change | None:
    repo, kind = session.services.hub.full_name(str(given["repo"])), str(given.get("kind") or "model")
    before = _on_hub(session, repo, kind, str(given["path"]))
    if before is None:
        return None
    return Change(f"{given['path']} of {repo} would change so", diff(before, str(given["text"])), ("text",))


def _card(session: Session, kind: str, given: dict[str, Any]) -> Change | None:
    """Of a dataset the new card is known before; a model's is made from what its test split says."""
    repo = session.services.hub.full_name(str(given["repo"]))
    before = _on_hub(session, repo, kind, "README.md")
    if before is None:
        return None
    if kind == "model":
        head = [f"-{line}" for line in before.splitlines()[:12]]
        return Change(f"{repo} is there: its card and its weights would be replaced. Now it begins so:", head)
    from ml_intern.hub.datacard import dataset_card

    info = session.services.datasets.info(str(given["dataset"]))
    after = dataset_card(repo, info, session.services.session)
    return Change(f"{repo} is there: its card would change so", diff(before, after))


def _on_hub(session: Session, repo: str, kind: str, path: str) -> str | None:
    """A text file of a repository; None where there is none."""
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError

    hub = session.services.hub
    try:
        found = hub.api.hf_hub_download(repo, path, repo_type=kind, cache_dir=hub.cache)
    except (EntryNotFoundError, RepositoryNotFoundError):
        return None
    return mask(Path(found).read_text(encoding="utf-8"))


def _in_time(work: Callable[[], Change | None]) -> Change | None:
    """What a Hub tells; nothing where it takes too long, or fails: the call itself will tell why."""
    found: list[Change | None] = []

    def run() -> None:
        with suppress(Exception):  # the top of a thread: whatever the library raises
            found.append(work())

    thread = threading.Thread(target=run, name="chat-card", daemon=True)
    thread.start()
    thread.join(HUB_S)
    return found[0] if found else None


def diff(before: str, after: str) -> list[str]:
    """Lines of a unified diff, without its head."""
    return list(_lines(before, after)) or ["nothing changes"]


def _lines(before: str, after: str) -> Iterator[str]:
    found = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=2)
    return (line for number, line in enumerate(found) if number > 1)
