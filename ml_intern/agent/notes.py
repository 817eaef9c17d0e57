"""What small tools keep between calls, in a file, so that it is there when the session goes on."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_intern.secrets.masking import mask_all


def plan_of(notes: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The plan: text and status of each item."""
    plan = notes.get("plan")
    items = plan if isinstance(plan, list) else []
    return [(str(i.get("text", "")), str(i.get("status", ""))) for i in items if isinstance(i, dict)]


class Notes(dict[str, Any]):
    """A dict that writes itself down when something is set."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._path = path
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, RecursionError, ValueError):
            found = {}  # a new session; a damaged file is no reason to stop
        self.update(found if isinstance(found, dict) else {})

    def __setitem__(self, name: str, value: Any) -> None:
        with self._lock:  # tools of one cell run side by side
            super().__setitem__(name, value)
            self._save()

    def _save(self) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps(mask_all(dict(self))), encoding="utf-8", errors="backslashreplace")
        fresh.replace(self._path)
