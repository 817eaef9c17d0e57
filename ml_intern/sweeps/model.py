"""The words of a sweep: its plan, its trials, what came of it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field


class Trial(BaseModel):
    """One training of a sweep.

    Attributes:
        number: Counted from 0.
        params: What was chosen.
        state: ``pruned`` is one that was ended early as one of the poor; ``failed`` says in `note` why.
        value: Of the metric; None where it was not measured to the end.
        step: The last step that was looked at.
        experiment: Its row of the ledger.
        job: Its job.
        note: What there is to say.
    """

    number: int
    params: dict[str, Any]
    state: Literal["running", "complete", "pruned", "failed"]
    value: float | None = None
    step: int = 0
    experiment: str = ""
    job: str = ""
    note: str = ""


class SweepPlan(BaseModel):
    """What was asked, as it is kept in the session's folder."""

    id: str
    key: str
    base: dict[str, Any]
    space: dict[str, Any]
    metric: str
    eval: str | None = None
    higher_is_better: bool = False
    trials: int = 10
    parallel: int = 1
    sampler: Literal["tpe", "random"] = "tpe"
    halving: bool = True
    parent: str | None = None
    timeout_s: float = 3 * 3600
    threads: int = 1


class Sweep(BaseModel):
    """What came of a sweep.

    Attributes:
        best: The trial with the best value.
        trials: All, the best first; those without a value last.
        next: What to do before the winner counts as one.
        notes: What else there is to know.
    """

    id: str
    metric: str
    eval: str | None = None
    higher_is_better: bool
    best: Trial | None = None
    trials: list[Trial] = Field(default_factory=list)
    next: str = ""
    notes: list[str] = Field(default_factory=list)
