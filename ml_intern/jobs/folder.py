"""The files of a job's folder, read and written: readers see an old file or a new one, never half of one."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_intern.jobs.model import Failure, JobSpec, JobStatus
from ml_intern.jobs.slots import is_locked


def read_status(folder: Path) -> dict[str, Any]:
    """``status.json``; where it cannot be read, that is said in its place."""
    try:
        raw: dict[str, Any] = json.loads((folder / "status.json").read_bytes())
        JobStatus.model_validate(raw)
        return raw
    except (OSError, ValueError, RecursionError):
        return _unreadable(folder)


def _unreadable(folder: Path) -> dict[str, Any]:
    """What is said of a job whose status cannot be read: that, and whether somebody still works on it."""
    raw = {"id": folder.name, "name": folder.name, "method": "unknown", "state": "running"}
    if is_locked(folder / "alive"):  # its supervisor writes the file anew
        return raw
    told = "Its status.json cannot be read: something wrote into it, or the disk was full."
    return raw | {"state": "failed", "failure": Failure(kind="lost", message=told).model_dump()}


def write_status(folder: Path, status: Mapping[str, Any]) -> None:
    """Replace ``status.json``."""
    write_json(folder / "status.json", status)


def read_json(path: Path) -> dict[str, Any]:
    """A file with a JSON object; empty where there is none yet."""
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return found if isinstance(found, dict) else {}


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Replace a file with a JSON object."""
    fresh = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}.new")
    fresh.write_text(json.dumps(value, indent=1))
    fresh.replace(path)


def read_spec(folder: Path) -> JobSpec:
    """What was asked."""
    return JobSpec.model_validate_json((folder / "spec.json").read_bytes())


def log_tail(folder: Path, size: int = 8_000) -> str:
    """The end of the job's log; nothing where it cannot be read."""
    try:
        with (folder / "log.txt").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - size))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
