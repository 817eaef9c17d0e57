"""Rules for a training that ruins the model that it began with: against its start, not its lowest level.

A fine-tuning begins where a model is good already, often at its lowest loss. Standard library only.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from ml_intern.jobs.curves import Point, curve, is_number, level, noise, slope, uncertainty, window
from ml_intern.jobs.runs import Run, Seen

_CHOSEN = ("eval_logps/chosen", "logps/chosen")


def blown_up(run: Run) -> list[Seen]:
    """The loss has left where it began, by far and at once, or ends above it."""
    points = curve(run.table, "loss")
    if len(points) < 2:
        return []
    start = _start(run, points)
    if start <= 0 or not (_exploded(run, points, start) or _ends_above(run, points, start)):
        return []
    peak_step, peak = max(points[1:], key=lambda point: point[1])
    step, last = int(points[-1][0]), level(points[-3:]) if run.over else points[-1][1]
    now = f"ends at {last:.3g}" if run.over else f"is {last:.3g} at step {step}"
    times = f"{last / start:,.0f}" if last > 10 * start else f"{last / start:.2g}"
    return [
        Seen(
            "divergence",
            int(peak_step),
            f"The loss went from {start:.3g} to {peak:.3g} by step {peak_step:.0f} and {now}, "
            f"{times} times where it began.",
            {"start": start, "peak": peak, "peak_step": peak_step, "last": last, "ratio": last / start},
            _slower(run),
            _slow(run) | {"warmup_steps": 0.1},
        )
    ]


def _start(run: Run, points: Sequence[Point]) -> float:
    """What it had before the first step, where rows were set apart; else its first value, one batch's."""
    held = [value for step, value in curve(run.table, "eval_loss") if step <= min(1, points[0][0])]
    return max(held[0], points[0][1] if points[0][0] <= 1 else 0.0) if held else points[0][1]


def _exploded(run: Run, points: Sequence[Point], start: float) -> bool:
    """Worse than blind guessing, in two values in a row or on the rows set apart, and not come back yet."""
    bound = max(run.limits.blind, 2 * start)
    later = points if points[0][1] > start else points[1:]
    pairs = [min(a[1], b[1]) for a, b in itertools.pairwise(later)]
    held = [value for _, value in curve(run.table, "eval_loss")[1:]]
    back = level(points[-min(3, len(points) - 1) :]) <= start * (1 + run.limits.divergence_rise)
    return max([*pairs, *held], default=0.0) > bound and not back


def _ends_above(run: Run, points: Sequence[Point], start: float) -> bool:
    """Late, it still stands above its start and does not fall any more, by more than its noise.

    Earlier it may stand there and be well: a converged model that is fine-tuned on rows of another form
    jumps at first, to fifty times its loss, and then learns.
    """
    if len(points) < run.limits.least_rows or not run.late:
        return False
    size = window(points)
    tail = points[-2 * size :]
    if not run.over and slope(tail) < 0:
        return False
    rise = level(points[-size:]) - start
    held = curve(run.table, "eval_loss")
    if len(held) > 1 and held[0][0] <= 1 and held[-1][1] <= held[0][1]:
        return False  # The rows set apart say that it is no worse.
    doubt = math.hypot(noise(points), uncertainty(points, size))
    sure = run.limits.sure * doubt
    return rise > max(sure, run.limits.divergence_rise * start, run.limits.tiny)


def _slower(run: Run) -> str:
    change = _slow(run)
    if not change:
        return "Lower learning_rate ten times at the least, or add warmup_steps."
    rate, better = float(run.fields["learning_rate"]), change["learning_rate"]
    return (
        f"learning_rate {rate:g} is too high for this, about {float(f'{rate / better:.1g}'):,.0f} times: "
        f"try {better:g}."
    )


def _slow(run: Run) -> dict[str, float]:
    """A tenth of the rate; of one that is high by any measure, the highest that is usual."""
    rate = run.fields.get("learning_rate") or 0.0
    if not is_number(rate) or rate <= 0:
        return {}
    return {"learning_rate": float(f"{min(rate / 10, run.limits.usual_rate):.3g}")}


def displaced(run: Run) -> list[Seen]:
    """Of pairs the answers that were chosen became less likely, too: the probability went elsewhere.

    Likelihood displacement (Razin and others, Unintentional Unalignment, 2024; Pal and others, Smaug: Fixing
    Failure Modes of Preference Optimisation with DPO-Positive, 2024). Loss and margin look well all along.
    """
    fell = next((found for name in _CHOSEN if (found := _fell(run, name))), None)
    if fell is None:
        return []
    name, first, last, step = fell
    margins = curve(run.table, "rewards/margins")
    told = f", while the margin grew from {margins[0][1]:.2g} to {margins[-1][1]:.2g}" if margins else ""
    reward = curve(run.table, "rewards/chosen")
    numbers = {"rewards/chosen": reward[-1][1]} if reward else {}
    return [
        Seen(
            "displaced",
            step,
            f"The log-probability of the chosen answers ({name}) fell from {first:.3g} to {last:.3g}, "
            f"to {math.exp(last - first):.2g} of what it was{told}.",
            {**numbers, "first": first, "last": last},
            f"{_gentler(run)} Or hold the chosen answers up by a term of their own: "
            'loss_type ["sigmoid", "sft"].',
            _slow(run),
        )
    ]


def _fell(run: Run, name: str) -> tuple[str, float, float, int] | None:
    points = run.curve(name)
    held = name.startswith("eval_")  # The same rows each time: such values have no noise of batches.
    if len(points) < (3 if held else run.limits.least_rows):
        return None
    first = points[0][1] if held else level(points[:3])
    last = max(points[-1][1], points[-2][1]) if held else level(points[-window(points) :])
    doubt = 0.0 if held else run.limits.sure * math.sqrt(2) * uncertainty(points, window(points))
    if first - last <= max(run.limits.displaced, run.limits.displaced_share * abs(first), doubt):
        return None
    return name, first, points[-1][1] if held else last, int(points[-1][0])


def _gentler(run: Run) -> str:
    change = _slow(run)
    return f"Lower learning_rate, to {change['learning_rate']:g}." if change else "Lower learning_rate."
