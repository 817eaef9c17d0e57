"""Makes the services of a session and wires them to each other."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Callable
from pathlib import Path

from ml_intern.agent.notes import Notes
from ml_intern.context import Services
from ml_intern.data.store import DatasetStore
from ml_intern.documentation.library import Documentation
from ml_intern.evals.store import Evals
from ml_intern.events import Event
from ml_intern.hub.client import Hub
from ml_intern.jobs.hardware import slots_here
from ml_intern.jobs.local import Jobs
from ml_intern.ledger import Ledger
from ml_intern.sandbox.base import Sandbox
from ml_intern.secrets.env_file import FILE as ENV_FILE
from ml_intern.secrets.secrets import Secrets
from ml_intern.settings import FILE, Settings
from ml_intern.web.client import Web
from ml_intern.workspace.files import Files


def assemble(
    session: str,
    folder: Path,
    workspace: Path,
    settings: Settings,
    sandbox: Sandbox,
    emit: Callable[[Event], None],
    secrets: Secrets | None = None,
) -> Services:
    """Everything that tools reach through their context.

    Evaluation jobs live below the hidden ``evals`` folder, so that no cell can read the items they are given.
    """
    own = [folder / "datasets", folder / "jobs", folder / "papers"]
    closed = [settings.state, *settings.closed_dirs, Path.cwd() / FILE, Path.cwd() / ENV_FILE]
    # A folder of data that somebody has put below a closed one is meant: what users of the web app upload.
    own += [d for d in settings.data_dirs if any(c in d.absolute().parents for c in closed)]
    files = Files(workspace, Path.cwd(), settings.data_dirs, closed, own)
    hub = Hub(settings, settings.state, secrets.env if secrets else os.environ)
    ledger = Ledger(folder / "ledger.sqlite", emit)
    for name in ("datasets", "jobs", "evals"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    jobs = Jobs(folder / "jobs", sandbox, settings, emit, hub)
    hidden_jobs = Jobs(folder / "evals" / "jobs", sandbox, settings, emit)

    def find_model(named: str) -> Path:
        path = Path(named).expanduser()
        return path if (path / "config.json").is_file() else hub.download_model(named)

    evals = Evals(folder / "evals", hidden_jobs, ledger, settings, sandbox, find_model)
    return Services(
        session=session,
        folder=folder,
        settings=settings,
        files=files,
        datasets=DatasetStore(folder / "datasets", files, hub.download_dataset, evals.refuse),
        jobs=jobs,
        ledger=ledger,
        evals=evals,
        hub=hub,
        emit=emit,
        secrets=secrets,
        notes=Notes(folder / "notes.json"),
        web=Web.of(settings, secrets.env if secrets else os.environ),
        python=sandbox.python,
        docs=Documentation(settings.state / "cache", _place(session, settings, sandbox)),
    )


def _place(session: str, settings: Settings, sandbox: Sandbox) -> str:
    """Where the indexed packages are installed; a remote machine is one session's: cells can change it."""
    more = {"docker": settings.docker_image, "e2b": session}.get(sandbox.name, "")
    return f"{sandbox.name}:{more}:{sandbox.python}"


def facts(services: Services) -> str:
    """What the brain should know of this session before it begins."""
    evals = services.evals.list()
    known = ", ".join(e.name for e in evals) or "none yet"
    lines = [
        f"- It started at {_started(services.folder):%H:%M:%S}, local time.",
        f"- CPU cores: {os.cpu_count()}; jobs at one time: {slots_here(services.settings)}.",
        f"- Budget left: {services.left()}.",
        f"- Project folder: {services.files.project}. Tools such as read_file and inspect_dataset read it;"
        " open() in a cell does not see it.",
        f"- Registered evals: {known}."
        + (f" Metric that decides: {services.settings.metric}." if services.settings.metric else ""),
        f"- Models are published to: {services.hub.label}.",
    ]
    return "\n".join(lines)


def _started(folder: Path) -> datetime.datetime:
    """When the session began: a process that goes on with it began later."""
    try:
        card = json.loads((folder / "session.json").read_text(encoding="utf-8"))
        return datetime.datetime.fromisoformat(card["created"])
    except (OSError, ValueError, KeyError, TypeError):
        return datetime.datetime.now()
