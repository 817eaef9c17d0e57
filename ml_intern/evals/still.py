"""A model that cells can write is scored from a copy: nobody swaps weights between hash and score."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ml_intern.hub.staging import stage_model

if TYPE_CHECKING:
    from ml_intern.evals.store import Evals


@contextmanager
def still(evals: Evals, model: Path, workspace: Path) -> Iterator[Path]:
    """The model itself, or a copy where no cell reaches it if it lies in the workspace."""
    if workspace not in model.resolve().parents:
        yield model
        return
    home = evals.folder / "models"
    home.mkdir(parents=True, exist_ok=True)
    apart = Path(tempfile.mkdtemp(dir=home))
    kept = apart / model.name  # errors name it as the person does
    try:
        stage_model(model, kept)
        yield kept
    finally:
        shutil.rmtree(apart, ignore_errors=True)
