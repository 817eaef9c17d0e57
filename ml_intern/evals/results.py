"""From a job's rows to scores, and from two scores to a finding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ml_intern.evals.asking import outputs_for
from ml_intern.evals.model import EvalInfo, Item
from ml_intern.evals.scorers import scorer
from ml_intern.evals.statistics import FEW, compare, measure
from ml_intern.ledger.model import Comparison, ItemScores, Measured, Scores, Split

SLICE_AT_LEAST = 20
"""A slice of fewer items would say too much about each."""
SHOWN = 8
"""Samples that the brain may read."""
MANY_EMPTY = 0.05
"""Share of empty answers that is warned of: of a model that answers, none are."""
MANY_CUT = 0.05
"""Share of answers without an end that is warned of. Measured: of a model that was ruined by a tenth, 0.09;
before that, none."""


def scored(
    info: EvalInfo, split: Split, model: str, items: Sequence[Item], rows: dict[str, Any], seconds: float
) -> Scores:
    """From the job's rows to metrics, intervals and slices."""
    per_item = {n: scorer(n).score(outputs_for(scorer(n).asks, rows, items)) for n in info.scorers}
    groups = _codes([i.group for i in items]) if info.grouped else None
    warnings = []
    slices: dict[str, dict[str, Measured]] = {}
    for name, found in per_item.items():
        up = scorer(name).higher_is_better
        if scorer(name).asks != "samples":
            per_item[name] = found = ItemScores(found.numerator, found.denominator, groups)
            slices[name] = _by_slice(found, items, up)
    lossy = sum(not r["lossless"] for r in rows.get("likelihood", ()))
    if lossy:
        warnings.append(f"The tokenizer does not give {lossy} texts back; they are charged 8 bits a byte.")
    if len(items) < 100:
        warnings.append(f"Only {len(items)} items: intervals will be wide.")
    unconditional = [r["text"] for r in rows.get("samples", ())]
    # Samples that are only read are cut so early that their shape would mislead.
    sampled = any(scorer(n).asks == "samples" for n in info.scorers)
    written = rows.get("samples" if sampled else "completions", [])
    return Scores(
        eval=info.name,
        split=split,
        model=model,
        primary=info.primary,
        metrics={n: measure(found, scorer(n).higher_is_better) for n, found in per_item.items()},
        slices={n: s for n, s in slices.items() if s},
        # Completions of held-out prompts may repeat the prompt, so only what was drawn from nothing is shown.
        samples=[text[:300] for text in unconditional[:SHOWN]] if split == "dev" else [],
        outputs=_shape(written),
        warnings=[*warnings, *([] if sampled else _odd(_shape(written)))],
        seconds=seconds,
        items=per_item,
    )


def compared(a: str, b: str, eval: str, metric: str, left: Scores, right: Scores) -> Comparison:
    """How the items of `right` (experiment `b`) stand against those of `left` (experiment `a`)."""
    up = scorer(metric).higher_is_better
    d = compare(left.items[metric], right.items[metric], up)
    unit = "items" if left.items[metric].groups is None else "groups"
    k = _decimals(d.high - d.low)
    interval = f"[{d.low:+.{k}f}, {d.high:+.{k}f}], p={d.p:.2g}, n={d.n} {unit}"
    values = (
        f"{metric} {d.value_b:.{k}f} against {d.value_a:.{k}f}, difference {d.difference:+.{k}f} {interval}"
    )
    word = {"better": "is better than", "worse": "is worse than", "inconclusive": "is not clearly apart from"}
    few = f" Fewer than {FEW} items or groups say nothing." if d.n < FEW else ""
    return Comparison(
        a=a,
        b=b,
        eval=eval,
        metric=metric,
        value_a=d.value_a,
        value_b=d.value_b,
        difference=d.difference,
        low=d.low,
        high=d.high,
        p=d.p,
        n=d.n,
        higher_is_better=up,
        verdict=d.verdict,
        method=d.method,
        says=f"{b} {word[d.verdict]} {a}: {values} ({d.method}).{few}",
    )


def _decimals(width: float) -> int:
    """Decimals for all numbers of a comparison: enough to see three digits of its interval's width."""
    return min(6, max(3, 2 - math.floor(math.log10(width)))) if width > 0 else 3


def _by_slice(found: ItemScores, items: Sequence[Item], up: bool) -> dict[str, Measured]:
    names = np.array([i.slice or "" for i in items])
    measured = {}
    for name in sorted(set(names.tolist()) - {""}):
        chosen = names == name
        if chosen.sum() >= SLICE_AT_LEAST:
            groups = None if found.groups is None else found.groups[chosen]
            measured[name] = measure(
                ItemScores(found.numerator[chosen], found.denominator[chosen], groups), up
            )
    return measured


def _codes(groups: Sequence[str | None]) -> Any:
    """Groups as integers; an item without a group is one of its own."""
    names = [f"g{g}" if g is not None else f"i{k}" for k, g in enumerate(groups)]
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def _odd(shape: dict[str, float]) -> list[str]:
    """What the shape of the answers says of the model, whatever its score: it is silent, or never ends."""
    told = []
    empty, unfinished = shape.get("share_empty", 0.0), shape.get("share_unfinished", 0.0)
    if empty >= MANY_EMPTY:
        which = "All" if empty == 1 else f"{empty:.0%} of the"
        told.append(f"{which} answers are empty: look at the training, or at the prompt's form.")
    if unfinished >= MANY_CUT:
        which = "All" if unfinished == 1 else f"{unfinished:.0%} of the"
        told.append(f"{which} answers were cut off at the limit: the model does not end them, or needs more.")
    return told


def _shape(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Enough to see collapse: length, emptiness, sameness, completions that never end."""
    if not rows:
        return {}
    texts = [r["text"] for r in rows]
    return {
        "mean_characters": round(sum(map(len, texts)) / len(texts), 2),
        "share_empty": sum(not t.strip() for t in texts) / len(texts),
        "share_different": len(set(texts)) / len(texts),
        "share_unfinished": sum(not r["finished"] for r in rows) / len(rows),
    }
