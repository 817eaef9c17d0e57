"""Real services of a session below a folder; a second process that calls it finds the same session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ml_intern.context import Services
from ml_intern.data.store import DatasetStore, Lineage
from ml_intern.evals.store import Evals
from ml_intern.jobs.local import Jobs
from ml_intern.ledger import Ledger
from ml_intern.settings import Settings
from ml_intern.workspace.files import Files

SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
TINY = {"config": {**SMALL, "num_key_value_heads": 2, "vocab_size": 300}}


def services_in(root: Path, slots: int = 2) -> Services:
    settings = Settings(state=root / "state", job_slots=slots)
    folder = settings.state / "session"
    (folder / "workspace").mkdir(parents=True, exist_ok=True)
    files = Files(folder / "workspace", root)
    jobs = Jobs(folder / "jobs", None, settings, lambda event: None)
    ledger = Ledger(folder / "ledger.sqlite", lambda event: None)
    evals = Evals(folder / "evals", Jobs(folder / "evals" / "jobs", None, settings, print), ledger, settings)
    store = DatasetStore(folder / "datasets", files)
    if not store.list():
        rows = [{"text": f"x_{n} = {n} + {n * n}"} for n in range(200)]
        store.save("train", rows, Lineage(source="t", operation="t"))
    hub: Any = None
    return Services("s", folder, settings, files, store, jobs, ledger, evals, hub, lambda event: None)
