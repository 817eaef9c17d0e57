"""Rules that read a training's curves: each finding has a number and says what to do about it."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import BaseModel, Field

from ml_intern.jobs.metrics import last_quarter, slope
from ml_intern.jobs.model import FINISHED, JobStatus

RISE = 1.1
"""A loss that ends this many times above its own minimum has turned: an early sign of divergence."""
FALLING = 0.02
"""Share of the loss that a further quarter of the steps would take off, above which it is still falling."""
FLAT = 0.005
"""The same share below which a curve is flat."""
OVERFIT = 1.02
"""A validation loss this many times above its own minimum, while the training loss still falls, overfits."""
LITTLE = 0.05
"""Share of its first value that a loss must lose for the training to have learned anything to speak of."""
FEW = 4


class Finding(BaseModel):
    """One thing seen in a curve."""

    kind: Literal[
        "failed",
        "nan",
        "divergence",
        "overfitting",
        "plateau",
        "still_falling",
        "learned_little",
        "spikes",
        "too_short",
    ]
    message: str
    value: float | None = None
    suggestion: str = ""


class Diagnosis(BaseModel):
    """What the rules say of a job. No findings: nothing looks wrong."""

    job: str
    state: str
    healthy: bool
    findings: list[Finding] = Field(default_factory=list)


def diagnose(status: JobStatus, rows: list[dict[str, Any]]) -> Diagnosis:
    """Apply the rules to a job's loss and gradient norm."""
    findings = [*_failed(status), *_not_finite(rows)]
    loss = [(float(r["step"]), float(r["loss"])) for r in rows if _finite(r.get("loss"))]
    if len(loss) < FEW:
        few = Finding(
            kind="too_short",
            message=f"Only {len(loss)} values of the loss: too few to judge.",
            value=len(loss),
            suggestion="Log more often (logging_steps), or train longer.",
        )
        findings += [few] if not findings else []
    else:
        over = status.state in FINISHED
        findings += _overfitting(rows, loss) or _shape(loss, over)
        findings += _spikes(rows)
    healthy = all(f.kind in ("still_falling", "too_short") for f in findings)
    return Diagnosis(job=status.id, state=status.state, healthy=healthy, findings=findings)


def _failed(status: JobStatus) -> list[Finding]:
    if status.failure is None or status.failure.kind == "nan":
        return []
    told = f"{status.failure.kind}: {status.failure.message}"
    return [Finding(kind="failed", message=told, suggestion=status.failure.hint)]


def _not_finite(rows: list[dict[str, Any]]) -> list[Finding]:
    for row in rows:
        for name in ("loss", "grad_norm"):
            if name in row and not _finite(row[name]):
                return [
                    Finding(
                        kind="nan",
                        message=f"{name} is not a number from step {row['step']} on.",
                        value=row["step"],
                        suggestion="Lower learning_rate by ten, or set max_grad_norm and warmup_steps.",
                    )
                ]
    return []


def _overfitting(rows: list[dict[str, Any]], loss: list[tuple[float, float]]) -> list[Finding]:
    """The loss of rows that were set apart has turned, and that of the training rows has not."""
    held = [(float(r["step"]), float(r["eval_loss"])) for r in rows if _finite(r.get("eval_loss"))]
    if len(held) < FEW:
        return []
    turned, least = min(held, key=lambda point: point[1])
    before = [point for point in loss if point[0] <= turned]
    last = held[-1][1]
    if last <= OVERFIT * least or not before or _smooth(loss) >= _smooth(before):
        return []
    return [
        Finding(
            kind="overfitting",
            message=f"eval_loss rose from {least:.3f} at step {turned:.0f} to {last:.3f}, "
            f"while the training loss fell to {_smooth(loss):.3f}.",
            value=turned,
            suggestion=f"Stop at about step {turned:.0f}, or use more data, a smaller model or weight_decay.",
        )
    ]


def _shape(loss: list[tuple[float, float]], over: bool) -> list[Finding]:
    first, last = loss[0][1], _smooth(loss)
    least = min(value for _, value in loss)
    share = _expected_fall(loss)
    if least > 0 and last > RISE * least and last > least + 0.1:
        return [
            Finding(
                kind="divergence",
                message=f"The loss rose from {least:.3f} to {last:.3f} after its lowest point.",
                value=last / least,
                suggestion="Lower learning_rate, or add warmup_steps.",
            )
        ]
    found = []
    fell = (first - last) / first if first else 0.0
    if first > 0 and fell < LITTLE:
        found.append(
            Finding(
                kind="learned_little",
                message=f"The loss fell by {fell:.1%} only, from {first:.3f} to {last:.3f}.",
                value=fell,
                suggestion="Raise learning_rate ten to a hundred times; check that the data is right.",
            )
        )
    elif share > FALLING and over:
        found.append(
            Finding(
                kind="still_falling",
                message=f"The loss was still falling: by {share:.1%} over the last quarter of the steps.",
                value=share,
                suggestion="Train longer, or use smaller batches and more steps.",
            )
        )
    elif abs(share) < FLAT:
        found.append(
            Finding(
                kind="plateau",
                message=f"The loss has been flat over the last quarter, at {last:.3f}.",
                value=last,
                suggestion="More steps will not help: change the data, the model or the learning rate.",
            )
        )
    return found


def _spikes(rows: list[dict[str, Any]]) -> list[Finding]:
    norms = sorted(float(r["grad_norm"]) for r in rows if _finite(r.get("grad_norm")))
    if len(norms) < 8:
        return []
    middle, top = norms[len(norms) // 2], norms[-1]
    if middle <= 0 or top < 20 * middle:
        return []
    return [
        Finding(
            kind="spikes",
            message=f"The gradient norm peaks at {top:.1f}, {top / middle:.0f} times its median.",
            value=top / middle,
            suggestion="Lower learning_rate, add warmup_steps, or look for broken rows in the data.",
        )
    ]


def _smooth(points: list[tuple[float, float]]) -> float:
    """The mean of the last three values: one value is the luck of one batch."""
    tail = [value for _, value in points[-3:]]
    return sum(tail) / len(tail)


def _expected_fall(points: list[tuple[float, float]]) -> float:
    quarter = last_quarter(points)
    level = sum(value for _, value in quarter) / len(quarter)
    width = quarter[-1][0] - quarter[0][0]
    return -slope(quarter) * width / level if level else 0.0


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
