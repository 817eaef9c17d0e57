"""What a tool notes of one of its calls, so that after a crash it can tell how far the call came.

A small file of the session's folder, which no cell sees: written before the step that must not happen twice,
and again when it has happened.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from ml_intern.secrets.masking import mask_all


class Receipt:
    """The note of one call.

    Args:
        folder: Of the session.
        key: Idempotency key of the call.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._path = folder / "receipts" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"

    def read(self) -> dict[str, Any] | None:
        """What was noted last; None where the call came to nothing yet."""
        try:
            found: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
            return found
        except FileNotFoundError:
            return None

    def write(self, **facts: Any) -> None:
        """Note this instead, whole or not at all; it is on the disk when this returns."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        with fresh.open("w", encoding="utf-8", errors="backslashreplace") as file:
            json.dump(mask_all(facts), file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
