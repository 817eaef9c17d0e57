"""Which option a model picks by its place alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from string import ascii_uppercase
from typing import Any

from ml_intern.evals.model import Item

ONE_SIDED, AHEAD, AT_LEAST = 0.8, 0.25, 20
"""A reader is told from such a share of one place on, so far above how often it is right, over so many."""


def positions(rows: Sequence[dict[str, Any]], items: Sequence[Item]) -> dict[str, float]:
    """Share of items by the option that is likeliest: ``{"chose_A": 0.25, …}``."""
    found = Counter(min(range(len(r["nats"])), key=lambda at: r["nats"][at]) for r in rows)
    most = max((len(item.choices or ()) for item in items), default=0)
    return {f"chose_{ascii_uppercase[at]}": found[at] / len(rows) for at in range(most)}


def one_sided(chosen: dict[str, float], items: Sequence[Item]) -> list[str]:
    """A warning where one place is nearly always picked and is not nearly always right."""
    if not chosen or len(items) < AT_LEAST:
        return []
    name = max(chosen, key=lambda key: chosen[key])
    at = ascii_uppercase.index(name[-1])
    right = sum(item.target == str(at) for item in items) / len(items)
    if chosen[name] < ONE_SIDED or chosen[name] - right < AHEAD:
        return []
    return [f"Option {name[-1]} is chosen in {chosen[name]:.0%} of the items, right in {right:.0%} of them."]
