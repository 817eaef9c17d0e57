"""Rules that read the curves of a policy: what the reward hides, the numbers, and the change to try.

Standard library only: a job's supervisor uses it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ml_intern.jobs.changes import hold_on, kl_term, least_length, lower_rate, more
from ml_intern.jobs.curves import (
    curve,
    level,
    lowest,
    median,
    uncertainty,
    window,
)
from ml_intern.jobs.runs import BITS, Run, Seen, ends, sure

_Z = 3.0
_CUT = 0.5
_SHORT = 4.0


def collapse(run: Run) -> list[Seen]:
    """Everything that can go wrong with what a policy is rewarded for."""
    rules: tuple[Callable[[Run], list[Seen]], ...] = (
        _held_out, _unrewarded, _zero_variance, _length, _entropy, _kl, _reward_drop, _cut_off
    )  # fmt: skip
    return [seen for rule in rules for seen in rule(run)]


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
    reward, before = level(run.curve("reward")[-5:]), [value for _, value in run.curve("reward")[:3]]
    step, rose = int(points[-1][0]), reward > max(before, default=math.inf)
    told = f" The reward is {reward:.3g}, {level(run.curve('reward')[:3]):.3g} early on."
    return [
        Seen(
            "zero_variance",
            step,
            f"Since step {points[0][0]:.0f} all completions of a group earn the same in {share:.0%} of the "
            f"groups: nothing is learned from these.{told}",
            {"share": share, "steps": count, "rose": float(rose), "reward": reward},
            "If the reward is near its best, the task is solved or the reward is fooled: read samples. "
            "If not, it is too hard: use easier prompts, a finer reward, more generations or a higher "
            "temperature.",
            {} if rose else more(run, "num_generations", 2, 8),
        )
    ]


def _at_least(share: float, count: float) -> float:
    """Wilson's lower bound of a share that was seen in `count` draws."""
    spread = _Z * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    return (share + _Z**2 / (2 * count) - spread) / (1 + _Z**2 / count)


def _length(run: Run) -> list[Seen]:
    name = "completions/mean_length"
    found = ends(run, name, max)
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
            kl_term(run) | least_length(run, first),
        )
    ]


def _entropy(run: Run) -> list[Seen]:
    found = ends(run, "entropy", max)
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
            lower_rate(run, 3) | kl_term(run),
        )
    ]


def _kl(run: Run) -> list[Seen]:
    found = ends(run, "kl", median)
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
            kl_term(run) | lower_rate(run, 3),
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
    least = sure(run, len(points)) * doubt
    if gain <= least or lost <= max(run.limits.reward_lost * gain, least):
        return []
    return [
        Seen(
            "reward_drop",
            int(points[-1][0]),
            f"The reward fell from {best:.3g} at step {turned:.0f} to {last:.3g}; it began at {first:.3g}.",
            {"best": best, "best_step": turned, "last": last, "first": first},
            "Lower learning_rate, add a KL term (beta), or take the checkpoint from before the fall.",
            lower_rate(run, 3) | kl_term(run),
        )
    ]


def _held_out(run: Run) -> list[Seen]:
    """Texts like those that it should write, which it models worse than at its start.

    The same texts each time, so the values have no noise; two in a row must say it.
    """
    points = curve(run.table, BITS)
    if len(points) < 3:
        return []
    first, last = points[0][1], points[-1][1]
    if min(last, points[-2][1]) <= first * (1 + run.limits.held_out_rise):
        return []
    return [
        Seen(
            "held_out_worse",
            int(points[-1][0]),
            f"The bits for a byte of held-out texts rose from {first:.3g} to {last:.3g}, "
            f"by {last / first - 1:.0%}{_while(run)}.",
            {"first": first, "last": last, "share": last / first - 1, **_rewards(run)},
            _FORGETS,
            hold_on(run),
        )
    ]


_FORGETS = (
    "What it gains in reward it loses in what it could do. Read samples, early and late; hold the policy "
    "near its start (beta), and reward what the samples lack."
)


def _unrewarded(run: Run) -> list[Seen]:
    """A measure that it is not rewarded for and that falls while it trains."""
    return [seen for name in run.unrewarded for seen in _fell(run, name)]


def _fell(run: Run, name: str) -> list[Seen]:
    points = run.curve(name)
    if len(points) < run.limits.least_rows:
        return []
    size = window(points, 0.2)
    first, last = level(points[:size]), level(points[-size:])
    lost = first - last
    doubt = math.sqrt(2) * uncertainty(points, size)
    if lost <= max(run.limits.held_out_lost * abs(first), sure(run, len(points)) * doubt):
        return []
    return [
        Seen(
            "held_out_worse",
            int(points[-1][0]),
            f"{name}, which it is not rewarded for, fell from {first:.3g} to {last:.3g}{_while(run)}.",
            {"first": first, "last": last, **_rewards(run)},
            _FORGETS,
            hold_on(run),
        )
    ]


def _cut_off(run: Run) -> list[Seen]:
    found = ends(run, "completions/clipped_ratio", min)
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
    found = ends(run, "reward", min)
    return {"reward_first": found[0], "reward": found[1]} if found else {}


def _while(run: Run) -> str:
    """What the reward did in the same time: what rises while all else collapses is fooled."""
    rewards = _rewards(run)
    return (
        f", while the reward went from {rewards['reward_first']:.3g} to {rewards['reward']:.3g}"
        if rewards
        else ""
    )
