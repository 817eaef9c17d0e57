"""What is wrong with a job: the cause, the evidence with numbers, and the change to try."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from ml_intern.jobs.courses import how_it_went
from ml_intern.jobs.curves import curve
from ml_intern.jobs.memory import MemoryUse
from ml_intern.jobs.model import FINISHED, JobSpec, JobStatus
from ml_intern.jobs.preflight import ALIASES
from ml_intern.jobs.rules import look
from ml_intern.jobs.runs import COLLAPSE, NOTES, Run, Seen
from ml_intern.jobs.samples import Sample, early_and_late, read_samples_of
from ml_intern.jobs.thresholds import Thresholds

FEW = 4


class Finding(BaseModel):
    """One thing seen in a job.

    Attributes:
        kind: What it is.
        message: What was seen, with its numbers.
        value: The number that says most.
        step: Where it shows.
        evidence: All numbers, by name.
        suggestion: What to do.
        change: Fields of the config to try next.
    """

    kind: Literal[
        "failed", "nan", "divergence", "overfitting", "plateau", "still_falling", "learned_little", "spikes",
        "too_short", "zero_loss", "zero_variance", "kl_blow_up", "entropy_collapse", "length_collapse",
        "cut_off", "reward_drop", "held_out_worse", "displaced", "worse",
    ]  # fmt: skip
    message: str
    value: float | None = None
    step: int | None = None
    evidence: dict[str, float] = Field(default_factory=dict)
    suggestion: str = ""
    change: dict[str, Any] = Field(default_factory=dict)


class Diagnosis(BaseModel):
    """What the rules say of a job.

    Attributes:
        healthy: Whether nothing looks wrong; what is only worth knowing counts as well.
        cause: The most likely cause in one sentence; where nothing looks wrong, how it stands, in numbers.
        evidence: The findings behind it, each with its numbers.
        change: Fields of the config to try next, each of which answers a finding.
        memory: What was estimated before the start and what was really used.
        samples: Of a policy: what it wrote at the start and at the end. Read them: what the rules do not see
            may be plain there.
        notes: What could not be judged, and how to have it judged the next time.
    """

    job: str
    state: str
    healthy: bool
    cause: str = ""
    evidence: list[str] = Field(default_factory=list)
    change: dict[str, Any] = Field(default_factory=dict)
    findings: list[Finding] = Field(default_factory=list)
    memory: MemoryUse | None = None
    samples: list[Sample] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)


_CAUSES = {
    "nan": "The numbers overflowed: the steps are too large for the loss's surface.",
    "zero_loss": "The loss measures nothing.",
    "divergence": "The training diverges: the steps are too large.",
    "overfitting": "The model learns the training rows by heart.",
    "learned_little": "The steps are too small, or the data do not hold what is to be learned.",
    "spikes": "Single batches throw the weights off.",
    "too_short": "There is too little to judge by.",
    "cut_off": "The reward favours length.",
    "displaced": "The chosen answers became less likely, too (likelihood displacement).",
}
_ADVISED = ("divergence", "displaced")
"""Kinds whose cause says what to do as well: it names a figure."""
_FOOLED = "Reward collapse: the reward is had without the task being done."
_STARVED = "Reward collapse: the rewards of a group no longer differ, so that nothing is learned."
_SATED = "The reward is at its best: the task is solved, or the reward is fooled. Nothing more is learned."
_SIGNS = {"length_collapse", "entropy_collapse", "kl_blow_up", "held_out_worse"}
_LOST = "Reward collapse: the policy has left what it could do."
_UNWATCHED = (
    "Nothing but the reward was measured, so a reward that is fooled may look well. Give held_out_texts, a "
    "dataset of texts like those that it should write, or a reward of weight 0; and read the samples."
)


def diagnose(
    status: JobStatus,
    rows: list[dict[str, Any]],
    spec: JobSpec | None = None,
    limits: Thresholds | None = None,
) -> Diagnosis:
    """Apply the rules to a job's curves, and read its failure.

    Args:
        status: How it stands.
        rows: What it measured.
        spec: What was asked; with it changes are named in figures.
        limits: When a rule speaks.
    """
    run = Run(rows, status.state in FINISHED, fields_of(spec), limits or Thresholds())
    findings = [*_failed(status), *map(_finding, look(run))]
    if not findings and len(curve(rows, "loss")) < FEW and not run.policy:
        findings.append(_too_short(len(curve(rows, "loss"))))
    alarms = [f for f in findings if f.kind not in NOTES] or findings
    return Diagnosis(
        job=status.id,
        state=status.state,
        healthy=all(f.kind in (*NOTES, "too_short") for f in findings),
        cause=_cause(alarms) or how_it_went(run, status, {f.kind for f in findings}),
        evidence=[f.message for f in alarms],
        change=as_asked(_change(alarms), spec),
        findings=findings,
        memory=status.memory,
        samples=early_and_late(read_samples_of(Path(status.output))) if run.policy and status.output else [],
        notes=[_UNWATCHED] if run.policy and not run.watched else [],
    )


def fields_of(spec: JobSpec | None) -> dict[str, Any]:
    """The fields of the config under their full names."""
    if spec is None:
        return {}
    asked = {**(spec.config.get("trainer") or {}), **(spec.config.get("asked") or {})}
    return {ALIASES.get(name, name): value for name, value in asked.items()}


def _finding(seen: Seen) -> Finding:
    value = (
        next(iter(reversed(seen.evidence.values())), None) if seen.kind != "overfitting" else float(seen.step)
    )
    return Finding(
        kind=seen.kind,
        message=seen.message,
        value=value,
        step=seen.step,
        evidence=seen.evidence,
        suggestion=seen.suggestion,
        change=seen.change,
    )


def _failed(status: JobStatus) -> list[Finding]:
    if status.failure is None or status.failure.kind == "nan":
        return []
    told = f"{status.failure.kind}: {status.failure.message}"
    numbers = {"step": float(status.step), "total_steps": float(status.total_steps)}
    if status.memory is not None and status.failure.kind in ("out_of_memory", "killed"):
        numbers |= status.memory.numbers()
    return [Finding(kind="failed", message=told, evidence=numbers, suggestion=status.failure.hint)]


def _too_short(count: int) -> Finding:
    return Finding(
        kind="too_short",
        message=f"Only {count} values of the loss: too few to judge.",
        value=count,
        suggestion="Log more often (logging_steps), or train longer.",
    )


def _cause(findings: list[Finding]) -> str:
    kinds = {f.kind for f in findings}
    if not findings:
        return ""
    if findings[0].kind == "failed":
        return findings[0].message
    if kinds & COLLAPSE:
        return _why_collapsed(findings)
    advice = f" {findings[0].suggestion}" if findings[0].kind in _ADVISED else ""
    return f"{_CAUSES.get(findings[0].kind, '')}{advice}"


def _why_collapsed(findings: list[Finding]) -> str:
    """Which collapse: a reward that rose while the rest fell is fooled."""
    kinds = {f.kind for f in findings}
    rose = any(f.evidence.get("reward", 0.0) > f.evidence.get("reward_first", float("inf")) for f in findings)
    if "reward_drop" in kinds or ("kl_blow_up" in kinds and not rose):
        return _LOST
    if rose and kinds & _SIGNS:
        return _FOOLED
    return _SATED if any(f.evidence.get("rose") for f in findings) else _STARVED


def as_asked(change: dict[str, Any], spec: JobSpec | None) -> dict[str, Any]:
    """Under the names that were asked, so that the change fits over the config: lr for learning_rate."""
    asked = spec.config.get("asked") or {} if spec else {}
    short = {full: name for name, full in ALIASES.items() if name in asked}
    return {short.get(name, name): value for name, value in change.items()}


def _change(findings: list[Finding]) -> dict[str, Any]:
    """The first finding's word on a field counts: findings are in the order of their weight."""
    merged: dict[str, Any] = {}
    for found in findings:
        merged = {**found.change, **merged}
    return merged
