"""What a scorer may use beside a model's outputs: walls to run code in, a judge to ask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.evals.model import Asking

if TYPE_CHECKING:
    from ml_intern.evals.judging import Judge
    from ml_intern.sandbox.base import Sandbox


@dataclass(frozen=True)
class Means:
    """The host's own; an evaluation takes what its scorers need.

    Attributes:
        sandbox: Walls for code that a model wrote.
        folder: Hidden, for what such code needs while it runs.
        judge: Who is asked about rubrics.
        verdicts: Hidden: what the judge has said already.
        judged: The folder of the model that is scored.
        cancelled: Whether the person has stopped the call.
        asking: How the answers were asked for.
        told: Filled by scorers: who judged, and what that cost.
        notes: Filled by scorers: what a reader of the score should know.
    """

    sandbox: Sandbox | None = None
    folder: Path | None = None
    judge: Judge | None = None
    verdicts: Path | None = None
    judged: Path | None = None
    cancelled: Callable[[], bool] = lambda: False
    asking: Asking = field(default_factory=Asking)
    told: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
