"""Rules that read a training's curves: what is wrong, the numbers that show it, and the change to try.

Standard library only: a job's supervisor uses it to end a training by rule. A rule compares levels (medians
of neighbours), and speaks only of what is both large enough to matter (`Thresholds`) and larger than the
curve's own noise: a healthy curve is allowed to be as noisy as it likes. All may be asked again and again
while a job runs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from ml_intern.jobs.changes import lower_rate
from ml_intern.jobs.curves import (
    Point,
    curve,
    is_number,
    last_quarter,
    level,
    lowest,
    noise,
    trend,
    uncertainty,
    window,
)
from ml_intern.jobs.policies import collapse
from ml_intern.jobs.ruins import blown_up, displaced
from ml_intern.jobs.runs import Run, Seen, sure

_WATCHED = ("loss", "grad_norm", "entropy", "kl", "reward", "eval_loss")
_STEADY = 7


def look(run: Run) -> list[Seen]:
    """Everything that the rules see, the worst first."""
    found = [*_not_finite(run)]
    if run.policy:
        found += collapse(run)
    else:
        found += displaced(run)
        found += _zero_loss(run) or blown_up(run) or _overfitting(run) or _shape(run)
    return found + _spikes(run)


def _not_finite(run: Run) -> list[Seen]:
    for row in run.table:
        for name in _WATCHED:
            if name in row and not is_number(row[name]):
                return [_nan(run, row, name)]
    return []


def _nan(run: Run, row: dict[str, Any], name: str) -> Seen:
    norms = curve(run.table, "grad_norm")
    told = f", after a gradient norm of {norms[-1][1]:.3g}" if norms else ""
    evidence = {"step": float(row["step"])} | ({"last_grad_norm": norms[-1][1]} if norms else {})
    if name == "eval_loss":
        hint = "Look for rows without a token to learn from: all of them are masked or empty."
        return Seen("nan", row["step"], f"{name} is not a number at step {row['step']}.", evidence, hint)
    hint = "Lower learning_rate by ten, or set max_grad_norm and warmup_steps."
    change = lower_rate(run, 10) | {"max_grad_norm": 1.0, "warmup_steps": 0.1}
    message = f"{name} is not a number from step {row['step']} on{told}."
    return Seen("nan", row["step"], message, evidence, hint, change)


def _zero_loss(run: Run) -> list[Seen]:
    """A loss of exactly nothing is no success: a filter has put it in the place of NaN, or all is masked."""
    points = run.curve("loss")
    if len(points) < 3 or any(value for _, value in points[-3:]):
        return []
    step = int(next((s for s, v in points if not v), points[-1][0]))
    return [
        Seen(
            "zero_loss",
            step,
            f"The loss is exactly 0 from step {step} on.",
            {"step": float(step), "loss": 0.0},
            "Either logging_nan_inf_filter hides NaN, or every token is masked: look at one batch's labels.",
        )
    ]


def _overfitting(run: Run) -> list[Seen]:
    """The loss of rows that were set apart has turned, and that of the training rows has not."""
    loss, held = run.curve("loss"), run.curve("eval_loss")
    if len(held) < 4 or len(loss) < 4:
        return []
    turned, least = min(held, key=lambda point: point[1])
    since = [value for step, value in held if step > turned]
    rise = (sum(since[-2:]) / 2 - least) if len(since) >= 2 else 0.0
    # Early on it may rise and come back; that it is best before the first step is for the end to say.
    before = [point for point in loss if point[0] <= turned] or (loss[:1] if run.over else [])
    if not before or not (
        _turned(run, held, turned)
        or (rise > _must_rise(run, held, least) and min(since[-2:]) > least * (1 + run.limits.overfit_rise))
    ):
        return []
    now, then = level(loss[-window(loss) :]), level(before[-window(loss) :])
    if now > then + 2 * uncertainty(loss, window(loss)):
        return []  # Both rise: that is no overfitting.
    last = held[-1][1]
    evidence = {
        "eval_loss_best": least,
        "best_step": turned,
        "eval_loss": last,
        "loss": now,
        "loss_then": then,
    }
    return [
        Seen(
            "overfitting",
            int(turned),
            f"eval_loss rose from {least:.3f} at step {turned:.0f} to {last:.3f}, "
            f"while the training loss went from {then:.3f} to {now:.3f}.",
            evidence,
            f"Stop at about step {turned:.0f}, or use more data, a smaller model or weight_decay."
            if turned > 1
            else "It was best before the first step: use more data, or a lower learning_rate.",
            {"max_steps": int(turned)} if turned > 1 else lower_rate(run, 10),
        )
    ]


def _turned(run: Run, held: Sequence[Point], at: float) -> bool:
    """It fell steadily, and now it has risen twice in a row, each time by more than `overfit_rise`.

    A curve that falls at an uneven pace looks noisy to second differences, though it never once rose. What
    its values stray by is told by the largest rise on its way down: both together must be `turn` times that,
    and five times `overfit_rise`, a tenth.
    """
    way, since = [v for s, v in held if s <= at], [v for s, v in held if s > at]
    if len(way) < _STEADY or len(since) < 2:
        return False
    first, second = since[-2] - min([way[-1], *since[:-2]]), since[-1] - since[-2]
    strayed = max((b - a for a, b in itertools.pairwise(way)), default=0.0)
    least, rose = run.limits.overfit_rise * way[-1], since[-1] - way[-1]
    return min(first, second) > least and rose > max(5 * least, run.limits.turn * strayed, run.settled)


def _must_rise(run: Run, held: Sequence[Point], least: float) -> float:
    """By how much the mean of two evaluations must exceed the best: the luck of a minimum counts as noise."""
    share = run.limits.overfit_rise * least
    # Of fewer points nobody can tell noise from a turn, so a turn must be plain.
    if len(held) < run.limits.least_rows:
        return 2 * share
    return max(share, 0.6 * run.limits.sure * noise(held[len(held) // 3 :]))  # Two values in a row, not one.


def _shape(run: Run) -> list[Seen]:
    points = run.curve("loss")
    if len(points) < (4 if run.over else run.limits.least_rows):
        return []
    return _divergence(run, points) or _learned_little(run, points) or _flat_or_falling(run, points)


def _divergence(run: Run, points: Sequence[Point]) -> list[Seen]:
    size = window(points)
    last, first = level(points[-size:]), level(points[:size])
    turned, least = lowest(points[:-1], size)
    doubt = math.sqrt(2) * uncertainty(points, size)
    rise, fell = last - least, max(0.0, first - least)
    enough = max(run.limits.divergence_rise * abs(least), run.limits.divergence_rise * fell)
    if least <= 0 or rise <= enough or rise <= sure(run, len(points)) * doubt:
        return []
    step = int(points[-1][0])
    return [
        Seen(
            "divergence",
            step,
            f"The loss rose from {least:.3f} at step {turned:.0f} to {last:.3f} at step {step} "
            f"(noise {doubt:.2g}).",
            {"lowest": least, "lowest_step": turned, "last": last, "ratio": last / least, "noise": doubt},
            "Lower learning_rate, or add warmup_steps.",
            lower_rate(run, 3) | {"warmup_steps": 0.1},
        )
    ]


def _learned_little(run: Run, points: Sequence[Point]) -> list[Seen]:
    if not run.late or _prefers(run):
        return []
    size = window(points)
    # One value at the start is the true start: three have learned something already.
    first = max(points[0][1], level(points[:size])) if noise(points) == 0 else level(points[:size])
    last = level(points[-size:])
    doubt = math.sqrt(2) * uncertainty(points, size)
    fell = (first - last) / first if first > 0 else 1.0
    if first <= 0 or fell + 2 * doubt / first >= run.limits.little:
        return []
    return [
        Seen(
            "learned_little",
            int(points[-1][0]),
            f"The loss fell by {fell:.1%} only, from {first:.3f} to {last:.3f}.",
            {"first": first, "last": last, "share": fell},
            "Raise learning_rate ten to a hundred times; check that the data is right.",
            lower_rate(run, 0.1),
        )
    ]


def _prefers(run: Run) -> bool:
    """Of pairs the loss begins at ln 2 and falls slowly; that the margin has left nothing says more."""
    points = run.curve("rewards/margins")
    size = window(points)
    return len(points) > 2 * size and level(points[-size:]) > run.limits.sure * uncertainty(points, size)


def _flat_or_falling(run: Run, points: Sequence[Point]) -> list[Seen]:
    rise, doubt = _share(points)
    if run.over and -rise - 2 * doubt > 0 and -rise > run.limits.falling:
        fell = -rise * level(last_quarter(points))
        return [_still_falling(points, rise / (rise - 1)) if fell > run.settled else _settled(points, fell)]
    if not _has_learned(run, points):
        return []
    for part in (0.75, 0.5):  # Half of a noisy curve may tell what a quarter of it does not.
        tail = [p for p in points if p[0] >= points[-1][0] * part]
        rise, doubt = _share(points, tail)
        if abs(rise) < run.limits.flat + doubt and abs(rise) + 2 * doubt < run.limits.falling:
            return [_plateau(points, tail, rise)]
    return []


def _share(points: Sequence[Point], tail: Sequence[Point] = ()) -> tuple[float, float]:
    """By what share of itself a further quarter of the steps would change the loss, and how sure that is.

    Of a steep fall that is more than there is left. `-rise / (1 - rise)` is the share of what stood before
    it that the last quarter has taken, and below 1.
    """
    tail = tail if len(tail) >= 3 else last_quarter(points)
    middle, width = level(tail), (points[-1][0] - points[0][0]) / 4
    if middle <= 0:
        return 0.0, math.inf
    rise, doubt = trend(tail)
    return rise * width / middle, doubt * width / middle


def _has_learned(run: Run, points: Sequence[Point]) -> bool:
    """A curve is flat at its start, too, while the learning rate warms up: that is no plateau."""
    first, last = level(points[: window(points)]), level(points[-window(points) :])
    return run.over or (len(points) >= 12 and last < first * (1 - run.limits.little))


def _still_falling(points: Sequence[Point], share: float) -> Seen:
    return Seen(
        "still_falling",
        int(points[-1][0]),
        f"The loss was still falling: by {share:.1%} over the last quarter of the steps.",
        {"share": share, "last": level(points[-window(points) :])},
        "Train longer, or use smaller batches and more steps.",
        {"max_steps": 2 * int(points[-1][0])},
    )


def _settled(points: Sequence[Point], fell: float) -> Seen:
    """By shares of itself it may fall for ever, and by next to nothing of what it came from."""
    last, since = level(points[-window(points) :]), last_quarter(points)[0][0]
    return Seen(
        "plateau",
        int(points[-1][0]),
        f"The loss has come down to {last:.3g}; from step {since:.0f} on it fell by {fell:.2g} only.",
        {"last": last, "fell": fell, "since": since},
        "More steps will not help: it has converged.",
    )


def _plateau(points: Sequence[Point], quarter: Sequence[Point], rise: float) -> Seen:
    last = level(points[-window(points) :])
    return Seen(
        "plateau",
        int(points[-1][0]),
        f"The loss has been flat since step {quarter[0][0]:.0f}, at {last:.3f} "
        f"({rise:+.2%} over {quarter[-1][0] - quarter[0][0]:.0f} steps).",
        {"last": last, "share": rise, "since": quarter[0][0]},
        "More steps will not help: change the data, the model or the learning rate.",
    )


def _spikes(run: Run) -> list[Seen]:
    norms = curve(run.table, "grad_norm")
    if len(norms) < run.limits.least_rows:
        return []
    at = max(range(len(norms)), key=lambda n: norms[n][1])
    (step, top), middle = norms[at], level(norms[max(0, at - 8) : at + 9])  # Norms shrink: neighbours count.
    if middle <= 0 or top < run.limits.spike * middle:
        return []
    return [
        Seen(
            "spikes",
            int(step),
            f"The gradient norm peaks at {top:.1f} at step {step:.0f}, {top / middle:.0f} times the median "
            "around it.",
            {"peak": top, "median": middle, "ratio": top / middle, "step": step},
            "Lower learning_rate, add warmup_steps, or look for broken rows in the data.",
            {"warmup_steps": 0.1, "max_grad_norm": 1.0},
        )
    ]
