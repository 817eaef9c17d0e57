"""What of a session's folder may be fetched: workspace, models, report, its record in other forms.

Everything else is not even named: sealed items and labels, the journal, settings, other sessions.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from ml_intern.errors import UsageError
from ml_intern.export import FORMATS, export
from ml_intern.journal.reading import JOURNAL
from ml_intern.secrets.masking import mask
from ml_intern.session.resuming import read_card
from ml_intern.settings import FILE
from ml_intern.webapp.panels.handing_out import Counter
from ml_intern.webapp.panels.ledgers import Ledgered
from ml_intern.workspace.safe_files import opened_folder

MOST_FILES = 500
MOST_LOOKED_AT = 20_000
Kind = Literal["file", "model", "zip", "report", "export"]

EXPORTS = {
    "notebook": "The session as a notebook",
    "script": "The session as a Python script",
    "markdown": "The session in Markdown",
    "trace": "The trace, as JSON lines",
    "playbook": "A playbook that does it again",
}


@dataclass(frozen=True)
class Offer:
    """Something to fetch.

    Attributes:
        key: What a page says when somebody asks for it.
        name: For people.
        size: Bytes; None where it is made when somebody asks.
        told: What it is.
    """

    key: str
    name: str
    kind: Kind
    size: int | None = None
    told: str = ""


def workspace_of(session: Path) -> Path | None:
    """The workspace of a session, where its card names one that is there."""
    try:
        path = Path(str(read_card(session)["workspace"]))
    except (UsageError, KeyError):
        return None
    if not path.is_absolute() or not path.is_dir() or path.is_symlink():
        return None
    return None if _stamp(path) == _stamp(session.parent.parent) else path


def walked(root: Path, folder: Path, closed: Path | None = None) -> Iterator[tuple[Path, int]]:
    """The regular files below a folder with their sizes, no link followed, nothing hidden; by name.

    Args:
        root: Where no part of the path can be a stranger's link.
        folder: At or below it.
        closed: A folder that is left out, wherever it lies; those of sessions always are.
    """
    looked, out = 0, _stamp(closed)
    with ExitStack() as held:
        try:
            top = held.enter_context(opened_folder(root, folder))
        except OSError:
            return
        for inside, inner, files, fd in os.fwalk(".", dir_fd=top, follow_symlinks=False):
            here = folder / inside
            if here != folder and (JOURNAL in files or _stamp(fd) == out):
                inner.clear()
                continue
            inner[:] = sorted(name for name in inner if not name.startswith("."))
            for name in sorted(files):
                looked += 1
                if looked > MOST_LOOKED_AT:
                    return
                if (size := _size(name, fd)) is not None:
                    yield here / name, size


def _stamp(folder: Path | int | None) -> tuple[int, int]:
    """Which folder it is, by whatever path it is named."""
    try:
        found = os.stat(folder) if folder is not None else None  # noqa: PTH116 - a descriptor, too
    except OSError:
        found = None
    return (found.st_dev, found.st_ino) if found else (0, 0)


def _size(name: str, folder: int) -> int | None:
    """Bytes of a regular file that may be offered."""
    if name.startswith(".") or name == FILE:  # settings may hold keys
        return None
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def models_of(session: Path) -> list[str]:
    """The jobs that made a model."""
    found = (session / "jobs").glob("[!.]*/output/model/config.json")
    return sorted(path.parents[2].name for path in found)


def _model(session: Path, job: str) -> Iterator[tuple[Path, int]]:
    """The files of a model; a job that still runs could put a link in the place of any folder."""
    return walked(session, session / "jobs" / job / "output" / "model")


def _workspace(session: Path) -> tuple[Path, Iterator[tuple[Path, int]]] | None:
    workspace = workspace_of(session)
    return None if workspace is None else (workspace, walked(workspace, workspace, session.parent.parent))


def offers(session: Path | None, ledger: Ledgered) -> list[Offer]:
    """Everything that may be fetched of a session."""
    if session is None:
        return []
    published = {job: p.repo for e in ledger.experiments for p in e.published for job in e.jobs}
    made = []
    for job in models_of(session):
        told = f"published as {published[job]}" if job in published else "made by a job"
        size = sum(size for _, size in _model(session, job))
        if not size:
            continue
        made.append(Offer(f"model/{job}", f"{job}.zip", "model", size, told))
    found = made
    if (session / "ledger.sqlite").is_file():
        found.append(Offer("report/html", "report.html", "report", None, "The report with its pictures"))
        found.append(Offer("report/md", "report.md", "report", None, "The report in Markdown"))
    if (session / "journal.sqlite").is_file():
        found += [
            Offer(f"export/{form}", _file_of(form), "export", None, told) for form, told in EXPORTS.items()
        ]
    return found + _files(session)


def _files(session: Path) -> list[Offer]:
    found = _workspace(session)
    if found is None:
        return []
    workspace, files = found
    names = ((path.relative_to(workspace).as_posix(), size) for path, size in files)
    listed = [Offer(f"file/{name}", name, "file", size) for name, size in islice(names, MOST_FILES)]
    told = "All files of the workspace"
    return [Offer("zip/workspace", "workspace.zip", "zip", None, told), *listed] if listed else []


def fetch(session: Path, key: str, counter: Counter) -> Path:
    """Make what a page asks for; a browser may ask for anything.

    Raises:
        InternError: It is not offered, or gone.
    """
    kind, _, name = key.partition("/")
    if kind == "model" and name in models_of(session):
        model = session / "jobs" / name / "output" / "model"
        return counter.packed(f"{name}.zip", session, [path for path, _ in _model(session, name)], model)
    if kind in ("file", "zip") and (found := _workspace(session)) is not None:
        workspace, files = found
        if kind == "zip":
            return counter.packed("workspace.zip", workspace, [path for path, _ in files], workspace)
        chosen = next((path for path, _ in files if path.relative_to(workspace).as_posix() == name), None)
        if chosen is not None:
            return counter.file(workspace, chosen)
    if kind == "report" and name in ("html", "md"):
        return counter.text(f"report.{name}", report_of(session, name))
    if kind == "export" and name in EXPORTS:
        return counter.text(_file_of(name), mask(export(session, name)))
    raise UsageError("That is not offered for download.", "Pick something of the list.")


def report_of(session: Path | None, form: str = "html") -> str:
    """The report of a session, made from what is known now.

    Raises:
        InternError: There is nothing to report on.
    """
    from ml_intern.reports import read_story, report_html, report_markdown

    if session is None or not (session / "ledger.sqlite").is_file():
        raise UsageError("There is nothing to report on yet.", "It is made from jobs and experiments.")
    story = read_story(session)
    return mask(report_html(story) if form == "html" else report_markdown(story))


def _file_of(form: str) -> str:
    return f"{'playbook' if form == 'playbook' else 'session'}{FORMATS[form]}"
