"""Files of JSON lines that the host writes for a job, and reads back."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def write_lines(file: Path, rows: Iterable[Any]) -> Path:
    """Write rows beside and rename, so that the file is whole or not there; a job may read it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f"{file.name}.new")
    fresh.write_text("".join(json.dumps(row) + "\n" for row in rows))
    fresh.chmod(0o644)
    fresh.replace(file)
    return file


def read_lines(file: Path) -> list[Any]:
    """The rows of a file.

    Raises:
        ValueError: A line is no JSON.
        OSError: It cannot be read.
    """
    return [json.loads(line) for line in file.read_text().splitlines() if line.strip()]
