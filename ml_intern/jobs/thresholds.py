"""From when on a curve is called ill, each figure with where it comes from. Standard library only.

A setting ``alerts`` changes any of them by name: ``alerts = {kl_limit = 3}`` in ``ml-intern.toml``.
"Measured" means: chosen so that the synthetic and the real curves of ``tests/jobs/test_rules.py`` are told
apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Thresholds:
    """When a rule speaks."""

    divergence_rise: float = 0.1
    """Share of its lowest level by which a loss must have risen. PaLM (Chowdhery and others 2022, 5.1) and
    OPT (Zhang and others 2022, 2.5) restart from before spikes that do not come back; a tenth is
    measured."""
    sure: float = 5.0
    """Standard deviations of a level that a change must exceed. Two would cry wolf: rules look at a run a
    hundred times. Measured."""
    overfit_rise: float = 0.02
    """Share by which eval_loss must have risen over its minimum, for two evaluations in a row. Prechelt,
    Early Stopping - But When? (1998): generalisation loss of 2 to 5 percent. `sure` counts as well."""
    flat: float = 0.005
    """Share of the loss that a further quarter of the steps would change it by, below which it is flat.
    Measured."""
    falling: float = 0.02
    """The same share above which a finished training still fell. Measured."""
    little: float = 0.05
    """Share of its first level that a loss must lose for the training to have learned much. Measured."""
    spike: float = 20.0
    """Times the median around it that a gradient norm must reach. Measured; clipping absorbs less."""
    zero_variance: float = 0.8
    """Share of GRPO's groups whose rewards are all the same, which teach nothing: DAPO (Yu and others 2025,
    dynamic sampling) draws others in their place. The figure is measured."""
    kl_limit: float = 1.0
    """Nats a token from the reference. Gao and others (Scaling Laws for Reward Model Overoptimization, 2022)
    see the true reward fall from some distance on; where that is depends on the task. The figure is
    measured."""
    kl_growth: float = 5.0
    """Times its early level that the KL must have grown by as well. Measured."""
    entropy_left: float = 0.1
    """Share of its first level that is left of the policy's entropy when it has collapsed. Cui and others
    (The Entropy Mechanism of Reinforcement Learning, 2025): once the entropy is spent, no more is learned.
    The figure is measured."""
    length_left: float = 0.2
    """Share of the first length that is left of completions when they have collapsed. Measured, on a reward
    for text that parses, where completions shrink to nothing."""
    reward_lost: float = 0.5
    """Share of the best gain in reward that must be lost again. Measured."""
    least_rows: int = 8
    """Logged values below which nothing is said of a curve that still grows. Measured."""

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Thresholds:
        """The defaults with what is given in their place.

        Raises:
            ValueError: A name is not known, or a value is no number above zero.
        """
        known = {f.name for f in fields(cls)}
        for name, value in given.items():
            if name not in known:
                raise ValueError(f"there is no threshold {name!r}; there are {', '.join(sorted(known))}")
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise ValueError(f"the threshold {name} = {value!r} is no number above zero")
        return cls(**given)
