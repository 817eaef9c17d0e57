"""How much memory a training should take, and how much it took."""

from __future__ import annotations

from pydantic import BaseModel

LIBRARIES_MB = 520.0
"""Resident memory of a process that has imported torch, Transformers and TRL; measured on CPU builds."""
STATE_BYTES = 16
"""A parameter's weight, gradient and Adam's two moments in float32."""
LOGIT_COPIES = 4
"""The logits, their gradient, and what log-softmax keeps, in float32."""
LAYER_VALUES = 34
"""Values that a layer keeps for the backward pass, a token and unit of width, attention aside. Korthikanti
and others (Reducing Activation Recomputation in Large Transformer Models, 2022) count 34 bytes in half
precision; in float32 it is about twice as many bytes, and as many values of two bytes."""


class MemoryUse(BaseModel):
    """Main memory of a job, in MB (2**20 bytes).

    Attributes:
        peak_mb: The most that all its processes held together, as its supervisor measured.
        estimated_mb: What was estimated before the start; None where nothing was.
        error: The estimate's error as a share of what was used: 0.2 is a fifth too much, -0.2 too little.
    """

    peak_mb: float
    estimated_mb: float | None = None
    error: float | None = None

    def numbers(self) -> dict[str, float]:
        """The figures that are known, by name."""
        return {name: value for name, value in self.model_dump().items() if value is not None}

    def __str__(self) -> str:
        told = f"{self.peak_mb:.0f} MB at the most"
        if self.estimated_mb is None or self.error is None:
            return told
        return f"{told}; {self.estimated_mb:.0f} MB were estimated, {self.error:+.0%}"


def memory_use(peak_mb: float, estimated_mb: float | None) -> MemoryUse:
    """Hold an estimate against what was measured."""
    error = round(estimated_mb / peak_mb - 1, 3) if estimated_mb and peak_mb else None
    return MemoryUse(peak_mb=round(peak_mb, 1), estimated_mb=estimated_mb, error=error)
