"""The change of a config to try next, in the names and figures of what was asked.

Standard library only: a job's supervisor uses it.
"""

from __future__ import annotations

from typing import Any

from ml_intern.jobs.curves import (
    is_number,
)
from ml_intern.jobs.runs import Run, ends


def lower_rate(run: Run, times: float) -> dict[str, Any]:
    """A learning rate so many times lower; nothing where none was asked for."""
    rate = run.fields.get("learning_rate")
    if not isinstance(rate, int | float) or not is_number(rate) or rate <= 0:
        return {}
    return {"learning_rate": float(f"{rate / times:.3g}")}


def _asked_rewards(run: Run) -> list[Any]:
    asked = run.fields.get("rewards") or []
    return list(asked) if isinstance(asked, list) else [asked]


def kl_term(run: Run) -> dict[str, Any]:
    """Twice the weight of the KL term, or a first one."""
    return {"beta": float(f"{max(0.04, 2 * _beta(run)):.3g}")}


def hold_on(run: Run) -> dict[str, Any]:
    """A KL term that is felt, and a minimum length where completions have become less than half as long."""
    beta = {"beta": float(f"{max(run.limits.kl_term, run.limits.kl_term_times * _beta(run)):.3g}")}
    found = ends(run, "completions/mean_length", max)
    return beta | (least_length(run, found[0]) if found and found[1] < found[0] / 2 else {})


def least_length(run: Run, first: float) -> dict[str, Any]:
    """Half of what it wrote at first. A minimum that is asked for already is left as it is."""
    asked = _asked_rewards(run)
    if any(isinstance(r, dict) and r.get("type") == "length" and r.get("weight", 1) for r in asked):
        return {}
    return {"rewards": [*asked, {"type": "length", "min": max(1, round(first / 2))}]}


def _beta(run: Run) -> float:
    beta = run.fields.get("beta") or 0.0
    return float(beta) if is_number(beta) else 0.0


def more(run: Run, name: str, times: float, default: int) -> dict[str, Any]:
    """So many times what a field was, or its default."""
    return {name: int(times * (run.fields.get(name) or default))}
