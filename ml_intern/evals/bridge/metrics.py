"""The metrics of lm-eval by our names: ``lm_eval.acc`` is what lm-eval calls ``acc``."""

from __future__ import annotations

PREFIX = "lm_eval."
LOWER = frozenset(
    {
        "bits_per_byte",
        "byte_perplexity",
        "word_perplexity",
        "perplexity",
        "brier_score",
        "ter",
        "wer",
        "cer",
        "mse",
    }
)
"""Metrics of which less is better, as lm-eval itself says; all others are better when higher."""


def is_bridged(name: str) -> bool:
    """Whether lm-eval computes the metric."""
    return name.startswith(PREFIX)


def up(name: str) -> bool:
    """Which way is up, by the name alone: it has to be known wherever a score is read."""
    return name.removeprefix(PREFIX).split(",")[0] not in LOWER


def knows(name: str, higher_is_better: bool) -> bool:
    """Whether the name says which way is up as the task does."""
    return up(name) == higher_is_better
