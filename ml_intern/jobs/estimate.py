"""How long a training will take and what memory it needs, before it is started: rough, and on the safe side.

Six floating-point operations a parameter and token, forward and backward (Kaplan et al. 2020, "Scaling Laws
for Neural Language Models", section 2.1), at the share of a machine's peak that such trainings reach.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_intern.jobs.memory import shape_of, state_mb
from ml_intern.jobs.preflight import ALIASES

OPERATIONS = 6
UTILISATION = 0.3
"""Of a machine's peak. Large trainings that are well tuned reach 0.4 to 0.5, small ones less."""

CPU_TFLOPS = 0.05
"""Of one core."""

_BATCH, _LENGTH, _EPOCHS = 8, 1024, 3.0
"""What TRL and Transformers take where nothing is said."""


@dataclass(frozen=True)
class Workload:
    """What a training has to do; None where it is not known beforehand.

    Attributes:
        parameters: Of the model.
        tokens: That it sees at the most, padding included.
        steps: Of the optimizer, where the config names them.
        adapter: Whether only an adapter is trained.
    """

    parameters: float | None = None
    tokens: float | None = None
    steps: int | None = None
    adapter: bool = False

    @property
    def gigabytes(self) -> float | None:
        """Memory of a GPU for weights and optimizer."""
        return None if self.parameters is None else state_mb(self.parameters, self.adapter, "gpu") / 1024

    def seconds_on(self, tflops: float) -> float | None:
        """Time on a machine with this peak, without starting up."""
        if self.parameters is None or self.tokens is None or tflops <= 0:
            return None
        return OPERATIONS * self.parameters * self.tokens / (tflops * 1e12 * UTILISATION)


def workload(
    model: str | Mapping[str, Any], folder: Path | None, config: Mapping[str, Any], rows: int
) -> Workload:
    """What a training asks for.

    Args:
        model: As launch_training has it.
        folder: Of the model, where it is on this machine.
        config: As launch_training has it.
        rows: Of the dataset.
    """
    given = {ALIASES.get(name, name): value for name, value in config.items()}
    batch = _number(given.get("per_device_train_batch_size"), _BATCH)
    batch *= _number(given.get("gradient_accumulation_steps"), 1)
    length = _number(given.get("max_length"), _LENGTH)
    steps = _number(given.get("max_steps"), 0)
    epochs = _number(given.get("num_train_epochs"), _EPOCHS)
    tokens = steps * batch * length if steps > 0 else epochs * rows * length
    return Workload(_parameters(model, folder), tokens or None, int(steps) or None, bool(given.get("peft")))


def _parameters(model: str | Mapping[str, Any], folder: Path | None) -> float | None:
    if folder is not None:
        return _of_folder(folder)
    shape = shape_of(model)
    return shape.parameters if shape else None


def _of_folder(folder: Path) -> float | None:
    """By the bytes of the weights and their type."""
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    try:
        described = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        described = {}
    kind = str(described.get("dtype") or described.get("torch_dtype") or "float32")
    return size / (2 if "16" in kind else 4) if size else None


def _number(value: Any, default: float) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float(default)
