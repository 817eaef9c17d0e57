"""Shows jobs in Trackio's dashboard, where the person asks for it: ``metrics.jsonl`` stays the truth.

The rows are written into a folder of Trackio's on this machine by a process of the host's own, with no
credential, never by the job. Each row and each alert has a name that follows from the job and the step, so
that telling it again adds nothing. ``TRACKIO_DIR=<state>/trackio trackio show`` opens the dashboard.

    python -m ml_intern.jobs.tracking JOB_FOLDER PROJECT
"""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_intern
from ml_intern.jobs.curves import is_number, rows
from ml_intern.jobs.model import FINISHED, JobStatus
from ml_intern.jobs.rules import look
from ml_intern.jobs.runs import NOTES, Run
from ml_intern.jobs.thresholds import Thresholds

if TYPE_CHECKING:
    from ml_intern.settings import Settings

PAUSE_S = 15.0
"""Between two looks at a job that runs."""
LIMIT_S = 120.0
MARK = "tracked"
_FIXED = ("step", "time")
_last: dict[str, float] = {}


def track(settings: Settings, folder: Path, status: JobStatus) -> None:
    """Bring a job's rows to Trackio: now and then while it runs, and once more when it has ended.

    Args:
        settings: Whether it is wanted, and the state folder.
        folder: The job's; the project's name is that of the session.
        status: How the job stands.
    """
    over, now = status.state in FINISHED, time.monotonic()
    done = (folder / MARK).exists() and (folder / MARK).read_text() == str(status.ended)
    if not settings.trackio or done or (not over and now < _last.get(str(folder), 0.0)):
        return
    _last[str(folder)] = now + PAUSE_S
    env = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(settings.state / "trackio"),
        "PYTHONPATH": str(Path(ml_intern.__file__).parents[1]),
        "TRACKIO_DIR": str(settings.state / "trackio"),
        "HF_HUB_OFFLINE": "1",
        "ML_INTERN_LIMITS": json.dumps(settings.alerts),
    }
    (settings.state / "trackio").mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "ml_intern.jobs.tracking", str(folder), folder.parents[1].name]
    try:
        told = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return
    (folder / "tracking.log").write_text(told.stderr[-4_000:])
    if told.returncode == 0 and over:
        (folder / MARK).write_text(str(status.ended))


def main(folder: Path, project: str) -> None:
    """Write what a job measured so far, and what the rules say of it, into Trackio's folder."""
    from trackio.sqlite_storage import SQLiteStorage

    place = Path(os.environ["TRACKIO_DIR"])
    with (place / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # Two jobs of a session share a file.
        table, over = rows(folder / "metrics.jsonl"), _is_over(folder)
        whole = [row for row in table if over or row is not table[-1]]  # The last one may still grow.
        measured = [row for row in whole if any(is_number(v) for k, v in row.items() if k not in _FIXED)]
        SQLiteStorage.bulk_log(
            project,
            folder.name,
            [{k: v for k, v in row.items() if k not in _FIXED and is_number(v)} for row in measured],
            steps=[row["step"] for row in measured],
            timestamps=[_when(row) for row in measured],
            config=_config(folder),
            log_ids=[f"{folder.name}-{row['step']}" for row in measured],
        )
        _alerts(folder, project, table, over)


def _alerts(folder: Path, project: str, table: list[dict[str, Any]], over: bool) -> None:
    from trackio.sqlite_storage import SQLiteStorage

    limits = Thresholds.of(json.loads(os.environ.get("ML_INTERN_LIMITS", "{}")))
    found = [s for s in look(Run(table, over, limits=limits)) if s.kind not in NOTES] if table else []
    if found:
        SQLiteStorage.bulk_alert(
            project,
            folder.name,
            [s.kind.replace("_", " ") for s in found],
            [f"{s.message} {s.suggestion}" for s in found],
            ["warn"] * len(found),
            [s.step for s in found],
            alert_ids=[f"{folder.name}-{s.kind}" for s in found],
        )


def _is_over(folder: Path) -> bool:
    return json.loads((folder / "status.json").read_text())["state"] in FINISHED


def _config(folder: Path) -> dict[str, Any]:
    spec = json.loads((folder / "spec.json").read_text())
    asked = spec["config"].get("asked") or {}
    return {"method": spec["method"], "experiment": spec["experiment"], **asked}


def _when(row: dict[str, Any]) -> str:
    at = row.get("time")
    seconds = float(at) if is_number(at) and 0 < float(at) < 1e11 else 0.0  # type: ignore[arg-type]
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
