"""Rules that read a training's curves: what is wrong, the numbers that show it, and the change to try.

Standard library only: a job's supervisor uses it to end a training by rule. A rule compares levels (medians
of neighbours), and speaks only of what is both large enough to matter (`Thresholds`) and larger than the
curve's own noise: a healthy curve is allowed to be as noisy as it likes. All may be asked again and again
while a job runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ml_intern.jobs.curves import (
    Point,
    curve,
    is_number,
    last_quarter,
    level,
    lowest,
    median,
    noise,
    thinned,
    trend,
    uncertainty,
    window,
)
from ml_intern.jobs.thresholds import Thresholds

Kind = Literal[
    "nan", "divergence", "overfitting", "plateau", "learned_little", "still_falling", "spikes", "zero_loss",
    "zero_variance", "kl_blow_up", "entropy_collapse", "length_collapse", "cut_off", "reward_drop",
]  # fmt: skip
COLLAPSE: frozenset[str] = frozenset(
    {"zero_variance", "kl_blow_up", "entropy_collapse", "length_collapse", "reward_drop"}
)
"""What the reward of a policy can go wrong by, together "reward collapse"."""
NOTES: frozenset[str] = frozenset({"still_falling", "plateau"})
"""What is worth knowing and no alarm."""

Rows = Sequence[dict[str, Any]]
_WATCHED = ("loss", "grad_norm", "entropy", "kl", "reward", "eval_loss")
_Z = 3.0
_CUT = 0.5
_SHORT = 4.0


@dataclass(frozen=True)
class Seen:
    """One thing that a rule saw.

    Attributes:
        kind: Which rule.
        step: Where it shows.
        message: What was seen, with the numbers.
        evidence: The numbers by name.
        suggestion: What to do about it.
        change: Fields of the config to try next; empty where no field helps.
    """

    kind: Kind
    step: int
    message: str
    evidence: dict[str, float]
    suggestion: str
    change: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """What the rules look at.

    Attributes:
        table: The rows of its metrics.
        over: Whether it has ended.
        fields: Of its config, as they were asked, under their full names.
        limits: When a rule speaks.
    """

    table: Rows
    over: bool = False
    fields: dict[str, Any] = field(default_factory=dict)
    limits: Thresholds = field(default_factory=Thresholds)

    def curve(self, name: str) -> Sequence[Point]:
        """A metric by step; a long one thinned."""
        return thinned(curve(self.table, name))

    @property
    def policy(self) -> bool:
        """Whether a reward is what it climbs; the loss of such a run says nothing."""
        return any("reward" in row for row in self.table)

    @property
    def late(self) -> bool:
        """Whether it has ended or half of it is done: before that warmup may hide what it learns."""
        total = max((row.get("total_steps") or 0 for row in self.table), default=0)
        return self.over or bool(total and self.table[-1]["step"] >= total / 2)


def look(run: Run) -> list[Seen]:
    """Everything that the rules see, the worst first."""
    found = [*_not_finite(run)]
    if run.policy:
        found += _collapse(run)
    else:
        found += _zero_loss(run) or _overfitting(run) or _shape(run)
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
    change = _lower_rate(run, 10) | {"max_grad_norm": 1.0, "warmup_steps": 0.1}
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
    before = [point for point in loss if point[0] <= turned]
    if (
        not before
        or rise <= _must_rise(run, held, least)
        or min(since[-2:]) <= least * (1 + run.limits.overfit_rise)
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
            f"Stop at about step {turned:.0f}, or use more data, a smaller model or weight_decay.",
            {"max_steps": int(turned)},
        )
    ]


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
    if least <= 0 or rise <= enough or rise <= _sure(run, len(points)) * doubt:
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
            _lower_rate(run, 3) | {"warmup_steps": 0.1},
        )
    ]


def _sure(run: Run, count: int) -> float:
    """Standard deviations that a change must exceed: more where few points tell what the noise is."""
    return run.limits.sure * (1 + 6 / count)


def _learned_little(run: Run, points: Sequence[Point]) -> list[Seen]:
    if not run.late:
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
            _lower_rate(run, 0.1),
        )
    ]


def _flat_or_falling(run: Run, points: Sequence[Point]) -> list[Seen]:
    rise, doubt = _share(points)
    if run.over and -rise - 2 * doubt > 0 and -rise > run.limits.falling:
        return [_still_falling(points, -rise)]
    if not _has_learned(run, points):
        return []
    for part in (0.75, 0.5):  # Half of a noisy curve may tell what a quarter of it does not.
        tail = [p for p in points if p[0] >= points[-1][0] * part]
        rise, doubt = _share(points, tail)
        if abs(rise) < run.limits.flat + doubt and abs(rise) + 2 * doubt < run.limits.falling:
            return [_plateau(points, tail, rise)]
    return []


def _share(points: Sequence[Point], tail: Sequence[Point] = ()) -> tuple[float, float]:
    """By what share of itself a further quarter of the steps would change the loss, and how sure that is."""
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


# The reward of a policy


def _collapse(run: Run) -> list[Seen]:
    rules: tuple[Callable[[Run], list[Seen]], ...] = (
        _zero_variance, _length, _entropy, _kl, _reward_drop, _cut_off
    )  # fmt: skip
    return [seen for rule in rules for seen in rule(run)]


def _ends(run: Run, name: str, start: Callable[[list[float]], float]) -> tuple[float, float, int] | None:
    """Where a metric began, its newest level and step; None where it is too short to say.

    The start is one of the first three values: a collapse may take no more than ten steps, and a level of
    more would be that of the ruin.
    """
    points = run.curve(name)
    if len(points) < run.limits.least_rows:
        return None
    return (
        start([value for _, value in points[:3]]),
        level(points[-window(points, 0.2) :]),
        int(points[-1][0]),
    )


def _zero_variance(run: Run) -> list[Seen]:
    """Groups whose completions all earn the same have no advantage, and so no gradient."""
    points = curve(run.table, "frac_reward_zero_std")[-20:]
    if len(points) < 2:
        return []
    # A row averages the steps since the last one; each of these drew one group at the least.
    count = points[-1][0] - points[0][0] + 1
    share = sum(value for _, value in points) / len(points)
    if share < run.limits.zero_variance or _at_least(share, count) <= 0.5:
        return []
    reward = level(run.curve("reward")[-5:])
    step = int(points[-1][0])
    told = f" The reward is {reward:.3g}."
    return [
        Seen(
            "zero_variance",
            step,
            f"Since step {points[0][0]:.0f} all completions of a group earn the same in {share:.0%} of the "
            f"groups: nothing is learned from these.{told}",
            {"share": share, "reward": reward, "steps": count},
            "If the reward is near its best, the task is solved or the reward is fooled: read completions. "
            "If not, it is too hard: use easier prompts, a finer reward, more generations or a higher "
            "temperature.",
            _more(run, "num_generations", 2, 8),
        )
    ]


def _at_least(share: float, count: float) -> float:
    """Wilson's lower bound of a share that was seen in `count` draws."""
    spread = _Z * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    return (share + _Z**2 / (2 * count) - spread) / (1 + _Z**2 / count)


def _length(run: Run) -> list[Seen]:
    name = "completions/mean_length"
    found = _ends(run, name, max)
    if found is None:
        return []
    first, last, step = found
    cut = level(curve(run.table, "completions/clipped_ratio")[:3])
    learned_to_end = cut >= _CUT and last > _SHORT
    if last > run.limits.length_left * first or learned_to_end:
        return []
    return [
        Seen(
            "length_collapse",
            step,
            f"Completions shrank from {first:.1f} to {last:.1f} tokens{_while(run)}.",
            {"first": first, "last": last, **_rewards(run)},
            "The reward can be had by saying next to nothing. Read completions; reward a minimum length, and "
            "hold the policy near its start with a KL term (beta).",
            _kl_term(run) | {"rewards": [*_asked_rewards(run), {"type": "length", "min": round(first / 2)}]},
        )
    ]


def _entropy(run: Run) -> list[Seen]:
    found = _ends(run, "entropy", max)
    if found is None or found[0] <= 0:
        return []
    first, last, step = found
    if last > run.limits.entropy_left * first:
        return []
    return [
        Seen(
            "entropy_collapse",
            step,
            f"The policy's entropy fell from {first:.3g} to {last:.3g} nats a token, "
            f"{last / first:.0%} of its start{_while(run)}.",
            {"first": first, "last": last, "share": last / first, **_rewards(run)},
            "It writes the same again and again and finds nothing new: lower learning_rate, add a KL term "
            "(beta), raise temperature, or stop here if the held-out measure is good.",
            _lower_rate(run, 3) | _kl_term(run),
        )
    ]


def _kl(run: Run) -> list[Seen]:
    found = _ends(run, "kl", median)
    if found is None:
        return []
    early, last, step = found
    if last <= run.limits.kl_limit or last <= run.limits.kl_growth * max(early, 1e-6):
        return []
    return [
        Seen(
            "kl_blow_up",
            step,
            f"The policy is {last:.3g} nats a token away from its start, {early:.2g} early on{_while(run)}.",
            {"early": early, "last": last, **_rewards(run)},
            "Raise beta, or lower learning_rate: what it gains in reward it may lose in everything else.",
            _kl_term(run) | _lower_rate(run, 3),
        )
    ]


def _reward_drop(run: Run) -> list[Seen]:
    points = run.curve("reward")
    if len(points) < run.limits.least_rows:
        return []
    size = window(points, 0.2)
    first, last = level(points[:size]), level(points[-size:])
    turned, best = lowest([(step, -value) for step, value in points], size)
    best = -best
    gain, lost = best - first, best - last
    doubt = math.sqrt(2) * uncertainty(points, size)
    sure = _sure(run, len(points)) * doubt
    if gain <= sure or lost <= max(run.limits.reward_lost * gain, sure):
        return []
    return [
        Seen(
            "reward_drop",
            int(points[-1][0]),
            f"The reward fell from {best:.3g} at step {turned:.0f} to {last:.3g}; it began at {first:.3g}.",
            {"best": best, "best_step": turned, "last": last, "first": first},
            "Lower learning_rate, add a KL term (beta), or take the checkpoint from before the fall.",
            _lower_rate(run, 3) | _kl_term(run),
        )
    ]


def _cut_off(run: Run) -> list[Seen]:
    found = _ends(run, "completions/clipped_ratio", min)
    if found is None or found[0] >= _CUT or found[1] < 0.9:
        return []
    first, last, step = found
    return [
        Seen(
            "cut_off",
            step,
            f"{last:.0%} of the completions are cut off at the length limit, {first:.0%} at the start.",
            {"first": first, "last": last},
            "The reward favours length: bound it, or mask what is cut (mask_truncated_completions).",
            {"mask_truncated_completions": True},
        )
    ]


def _rewards(run: Run) -> dict[str, float]:
    found = _ends(run, "reward", min)
    return {"reward_first": found[0], "reward": found[1]} if found else {}


def _while(run: Run) -> str:
    """What the reward did in the same time: what rises while all else collapses is fooled."""
    rewards = _rewards(run)
    return (
        f", while the reward went from {rewards['reward_first']:.3g} to {rewards['reward']:.3g}"
        if rewards
        else ""
    )


# Changes to try


def _lower_rate(run: Run, times: float) -> dict[str, Any]:
    rate = run.fields.get("learning_rate")
    if not isinstance(rate, int | float) or not is_number(rate) or rate <= 0:
        return {}
    return {"learning_rate": float(f"{rate / times:.3g}")}


def _asked_rewards(run: Run) -> list[Any]:
    asked = run.fields.get("rewards") or []
    return list(asked) if isinstance(asked, list) else [asked]


def _kl_term(run: Run) -> dict[str, Any]:
    beta = run.fields.get("beta") or 0.0
    return {"beta": float(f"{max(0.04, 2 * beta):.3g}")}


def _more(run: Run, name: str, times: float, default: int) -> dict[str, Any]:
    return {name: int(times * (run.fields.get(name) or default))}
