"""What is wrong with a job: the cause, the evidence with numbers, and the change to try."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from ml_intern.jobs.curves import curve
from ml_intern.jobs.memory import MemoryUse
from ml_intern.jobs.model import FINISHED, JobSpec, JobStatus
from ml_intern.jobs.preflight import ALIASES
from ml_intern.jobs.rules import COLLAPSE, NOTES, Run, Seen, look
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
        "cut_off", "reward_drop",
    ]  # fmt: skip
    message: str
    value: float | None = None
    step: int | None = None
    evidence: dict[str, float] = Field(default_factory=dict)
    suggestion: str = ""
    change: dict[str, Any] = Field(default_factory=dict)


class Diagnosis(BaseModel):
    """What the rules say of a job. No findings: nothing looks wrong.

    Attributes:
        cause: The most likely cause in one sentence; empty where nothing looks wrong.
        evidence: The findings behind it, each with its numbers.
        change: Fields of the config to try next, each of which answers a finding.
        memory: What was estimated before the start and what was really used.
    """

    job: str
    state: str
    healthy: bool
    cause: str = ""
    evidence: list[str] = Field(default_factory=list)
    change: dict[str, Any] = Field(default_factory=dict)
    findings: list[Finding] = Field(default_factory=list)
    memory: MemoryUse | None = None


_CAUSES = {
    "nan": "The numbers overflowed: the steps are too large for the loss's surface.",
    "zero_loss": "The loss measures nothing.",
    "divergence": "The training diverges: the steps are too large.",
    "overfitting": "The model learns the training rows by heart.",
    "plateau": "It has learned what these data and this learning rate give.",
    "learned_little": "The steps are too small, or the data do not hold what is to be learned.",
    "still_falling": "Nothing is wrong; it ended before it was done.",
    "spikes": "Single batches throw the weights off.",
    "too_short": "There is too little to judge by.",
    "cut_off": "The reward favours length.",
}
_FOOLED = "Reward collapse: the reward is had without the task being done."
_STARVED = "Reward collapse: the rewards of a group no longer differ, so that nothing is learned."
_LOST = "Reward collapse: the policy has left what it could do."


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
    run = Run(rows, status.state in FINISHED, _fields(spec), limits or Thresholds())
    findings = [*_failed(status), *map(_finding, look(run))]
    if not findings and len(curve(rows, "loss")) < FEW and not run.policy:
        findings.append(_too_short(len(curve(rows, "loss"))))
    alarms = [f for f in findings if f.kind not in NOTES] or findings
    return Diagnosis(
        job=status.id,
        state=status.state,
        healthy=all(f.kind in ("still_falling", "too_short") for f in findings),
        cause=_cause(alarms),
        evidence=[f.message for f in alarms],
        change=_change(alarms),
        findings=findings,
        memory=status.memory,
    )


def _fields(spec: JobSpec | None) -> dict[str, Any]:
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
    return _CAUSES.get(findings[0].kind, "")


def _why_collapsed(findings: list[Finding]) -> str:
    """Which collapse: a reward that rose while the rest fell is fooled."""
    kinds = {f.kind for f in findings}
    rose = any(f.evidence.get("reward", 0.0) > f.evidence.get("reward_first", float("inf")) for f in findings)
    if "reward_drop" in kinds or ("kl_blow_up" in kinds and not rose):
        return _LOST
    return _FOOLED if rose and kinds & {"length_collapse", "entropy_collapse", "kl_blow_up"} else _STARVED


def _change(findings: list[Finding]) -> dict[str, Any]:
    """The first finding's word on a field counts: findings are in the order of their weight."""
    merged: dict[str, Any] = {}
    for found in findings:
        merged = {**found.change, **merged}
    return merged
