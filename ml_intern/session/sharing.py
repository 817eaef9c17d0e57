"""A session's trace in a private dataset of a Hub, as the Hub's viewer of agent traces reads it.

Nothing is shared unless the person has said where to. One file a session, ``sessions/ID.jsonl``, in the form
of ``export --format trace``; the Hub recognises that form by itself, and the card's tag and its split make
the viewer open on it (https://huggingface.co/docs/hub/agent-traces). A repository that is public is refused,
and none is ever made public here: a trace holds whatever a cell has printed.
"""

from __future__ import annotations

import json
import tempfile
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.errors import Denied, InternError
from ml_intern.events import Notice
from ml_intern.prices import Price
from ml_intern.secrets.masking import mask, mask_all
from ml_intern.tooling import ToolSpec

if TYPE_CHECKING:
    from ml_intern.context import ToolContext
    from ml_intern.hub.client import Hub
    from ml_intern.router.gate import Gate
    from ml_intern.session.session import Session

FOLDER = "sessions"
SHARE_S = 60.0
"""How long the end of a session waits for its trace to be taken; the command waits as long as it takes."""

CARD = """\
---
pretty_name: ML Intern traces
tags:
- agent-traces
- ml-intern
configs:
- config_name: default
  data_files:
  - split: train
    path: sessions/*.jsonl
---
# Traces of ML Intern

One file a session: what was asked, what the intern wrote, the cells that it ran and what came of them, in the
form in which Claude Code keeps its sessions. A cell is the use of a tool named `python`.

Credentials that ML Intern knows, or that look like one, are replaced by `[hidden]`. Nobody has read the rest:
it may hold paths, code, data and names. Look through it before you show it to others.
"""


@dataclass(frozen=True)
class Shared:
    """A trace on a Hub."""

    repo: str
    url: str
    path: str
    commit: str

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)


def _share_trace(ctx: ToolContext, repo: str, private: bool = True) -> None:
    """What the gate decides about: it is no tool of the brain's."""


SHARE = ToolSpec("share_trace", _share_trace, "publish", ("hub:write",), "hub")


def check_allowed(gate: Gate, repo: str, *, asked: bool) -> None:
    """The gate's word, as about any other publication that is private.

    Args:
        gate: With the person's policy.
        repo: Where to.
        asked: The person has given the command: that answers a question, and lifts no denial.

    Raises:
        Denied: The policy denies it, or asks and nobody has answered.
    """
    found = gate.decide(SHARE, {"repo": repo, "private": True}, Price())
    if found.action == "deny" or (found.action == "ask" and not asked):
        way = "ml-intern share does it when you say so." if found.action == "ask" else ""
        raise Denied(f"The trace was not shared: {found.reason}.", way)


def share_trace(folder: Path, hub: Hub, repo: str, end: tuple[str, str] | None = None) -> Shared:
    """Upload the trace of a session; one that is there already is replaced.

    Args:
        folder: The session's.
        hub: Where to.
        repo: ``OWNER/NAME``, or ``NAME`` for the user's own namespace.
        end: Answer and status, where the journal does not know them yet.

    Raises:
        ToolError: The name, the rights or the repository stand in the way; it is public, say.
        UsageError: There is nothing to read.
    """
    from ml_intern.export.story import read_story
    from ml_intern.export.trace import to_trace

    story = read_story(folder)
    if end is not None:
        story.answer, story.status = end
    repo = hub.check_target(repo, "dataset", private=True)
    path = f"{FOLDER}/{folder.name}.jsonl"
    with tempfile.TemporaryDirectory(prefix="ml-intern-trace-") as scratch:
        staged = Path(scratch)
        (staged / FOLDER).mkdir()
        (staged / path).write_text(masked(to_trace(story)), encoding="utf-8", errors="replace")
        if not _has_card(hub, repo):  # the person may have written more into it
            (staged / "README.md").write_text(CARD, encoding="utf-8")
        done = hub.publish_folder(staged, repo, "dataset", True, f"Trace of session {folder.name}")
    return Shared(done.repo, done.url, path, done.commit)


def masked(trace: str) -> str:
    """The lines, each text in them without credentials; every line is JSON still."""
    from ml_intern.export.trace import json_line

    return "".join(json_line(mask_all(json.loads(line))) for line in trace.split("\n") if line)


def _has_card(hub: Hub, repo: str) -> bool:
    from huggingface_hub.errors import RepositoryNotFoundError

    with hub.reach(repo):
        try:
            return bool(hub.api.file_exists(repo, "README.md", repo_type="dataset"))
        except RepositoryNotFoundError:
            return False


def share_at_the_end(session: Session, answer: str, status: str) -> None:
    """Share the trace of a session that ends, if the person wants that; a failure is one line."""
    repo = session.settings.share_traces
    if not repo or not session.shares or status == "interrupted":
        return
    found: list[Shared | str] = []

    def work() -> None:
        try:
            found.append(share_trace(session.folder, session.services.hub, repo, (answer, status)))
        except InternError as error:
            found.append(str(error))
        except Exception as error:  # noqa: BLE001 - the top of a thread: the Hub's client raises what it likes
            found.append(str(error).partition("\n")[0] or type(error).__name__)

    try:
        check_allowed(session.router.gate, repo, asked=False)
    except Denied as error:
        session.emit(Notice("warning", str(error)))
        return
    uploading = threading.Thread(target=work, name="ml-intern-share", daemon=True)
    uploading.start()
    uploading.join(SHARE_S)
    _tell(session, found[0] if found else f"the Hub has not taken it in {SHARE_S:g} s")


def _tell(session: Session, found: Shared | str) -> None:
    if isinstance(found, Shared):
        session.journal.append("shared", found.to_json())
        session.emit(Notice("info", f"The trace of this session is in {found.url} (private)."))
    else:
        told = f"The trace was not shared: {mask(found).rstrip('.')}."
        session.emit(Notice("warning", f"{told} ml-intern share {session.id} tries again."))
