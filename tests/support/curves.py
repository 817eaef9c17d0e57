"""Synthetic curves of trainings, healthy and ill, as a job would write them."""

from __future__ import annotations

import math
import random
from typing import Any

Rows = list[dict[str, Any]]


def noise(rng: random.Random, count: int, lasting: float) -> list[float]:
    """Normal noise of deviation 1 that partly lasts from one value to the next."""
    found, value = [], 0.0
    for _ in range(count):
        value = lasting * value + math.sqrt(1 - lasting**2) * rng.gauss(0, 1)
        found.append(value)
    return found


def healthy(seed: int, count: int, spread: float, lasting: float = 0.0, power: bool = False) -> Rows:
    """A loss that falls to a floor, slower and slower, with noise that is a share of it."""
    rng = random.Random(seed)
    height, floor, pace = rng.uniform(1, 8), rng.uniform(0.3, 4), rng.uniform(0.05, 0.4) * count
    rows = []
    for n, drawn in enumerate(noise(rng, count, lasting)):
        base = floor + height * ((1 + n) ** -0.5 if power else math.exp(-n / pace))
        row = {"step": 10 * n or 1, "total_steps": 10 * count, "loss": base * max(0.1, 1 + spread * drawn)}
        row["grad_norm"] = math.exp(rng.gauss(0, 0.5))
        if n % max(1, count // 10) == 0:
            row["eval_loss"] = base * 1.05 * (1 + 0.005 * rng.gauss(0, 1))
        rows.append(row)
    return rows


def policy(seed: int, count: int, ill: str = "") -> Rows:
    """A reward that climbs, with all that TRL's GRPO logs; `ill` names what goes wrong after two fifths."""
    rng = random.Random(seed)
    low, high, spread = rng.uniform(0, 0.3), rng.uniform(0.4, 0.95), rng.uniform(0.02, 0.1)
    length, entropy = rng.uniform(10, 60), rng.uniform(0.5, 3)
    alike, away = rng.uniform(0, 0.4), rng.uniform(0.001, 0.2)
    rows = []
    for n, drawn in enumerate(noise(rng, count, 0.2)):
        t = n / count
        climbed = 1 / (1 + math.exp(-10 * (t - 0.4)))
        late = t > 0.4
        fall = max(0.0, 1 - (t - 0.6) * 8) if ill == "reward_drop" and t > 0.6 else climbed
        same = 0.97 if ill == "zero_variance" and late else alike
        kl = (
            away * t * math.exp(rng.gauss(0, 0.4)) * (1 + 4000 * max(0, t - 0.4) ** 2 * (ill == "kl_blow_up"))
        )
        left = math.exp(-6 * climbed) if ill == "entropy_collapse" else 1 - 0.7 * climbed
        said = 1 + length * (1 - climbed) if ill == "length_collapse" else length * (1 + 0.3 * climbed)
        rows.append(
            {
                "step": n + 1,
                "total_steps": count,
                "loss": rng.gauss(0, 0.01),
                "grad_norm": math.exp(rng.gauss(0, 0.5)),
                "reward": low + (high - low) * fall + spread * drawn,
                "frac_reward_zero_std": float(rng.random() < same),
                "kl": kl,
                "entropy": entropy * left * math.exp(rng.gauss(0, 0.1)),
                "completions/mean_length": said * math.exp(rng.gauss(0, 0.15)),
                "completions/clipped_ratio": 0.2,
            }
        )
    return rows
