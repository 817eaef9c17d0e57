"""From a job's rows to scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ml_intern.evals import power
from ml_intern.evals.asking import outputs_for
from ml_intern.evals.means import Means
from ml_intern.evals.model import EvalInfo, Item
from ml_intern.evals.positions import one_sided, positions
from ml_intern.evals.power import Detectable
from ml_intern.evals.scorers import scorer
from ml_intern.evals.statistics import compare, measure, standard_error
from ml_intern.ledger.model import ItemScores, Measured, Scores, Split

SLICE_AT_LEAST = 20
"""A slice of fewer items would say too much about each."""
SHARES = (
    "python_parses",
    "exact_match",
    "numeric_match",
    "math_match",
    "multiple_choice",
    "multiple_choice_normalized",
    "code_passes",
)
"""Metrics whose items are right or wrong, as far as that is known before the first score."""
SAME_ANSWER = ("exact_match", "numeric_match", "math_match")
"""Metrics that look for one answer, each with more or less around it."""
NONE_RIGHT, MANY_RIGHT = 0.05, 0.3
"""Shares of right answers by two of these that are told: (nearly) none by the one, many by the other."""
SHOWN = 8
"""Samples that the brain may read."""
MANY_EMPTY = 0.05
"""Share of empty answers that is warned of: of a model that answers, none are."""
MANY_CUT = 0.05
"""Share of answers without an end that is warned of. Measured: of a model that was ruined by a tenth, 0.09;
before that, none."""


def scored(
    info: EvalInfo,
    split: Split,
    model: str,
    items: Sequence[Item],
    rows: dict[str, Any],
    seconds: float,
    means: Means | None = None,
) -> Scores:
    """From the job's rows to metrics, intervals and slices."""
    means = replace(means or Means(), told={}, notes=[], asking=info.asking)
    per_item = {n: scorer(n).score(outputs_for(scorer(n).asks, rows, items, means)) for n in info.scorers}
    groups = group_codes([i.group for i in items]) if info.grouped else None
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
    warnings += [*means.notes, *narrow(rows.get("completions", ()))]
    chosen = positions(rows["options"], items) if "options" in rows else {}
    warnings += one_sided(chosen, items)
    warnings += another_form({n: float(per_item[n].numerator.mean()) for n in SAME_ANSWER if n in per_item})
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
        outputs={**_shape(written), **chosen},
        warnings=[*warnings, *([] if sampled else _odd(_shape(written)))],
        seconds=seconds,
        judge=means.told,
        items=per_item,
    )


def detectable(info: EvalInfo, known: Sequence[ItemScores]) -> dict[str, Detectable]:
    """What difference of the metric that decides each split can tell.

    Args:
        info: The evaluation.
        known: What items contributed, of each model that was scored on dev; the newest last.
    """
    what = "groups" if info.grouped else "items"
    sampled = scorer(info.primary).asks == "samples"
    found = {}
    for split, rows in info.rows.items():
        n = info.asking.samples if sampled else info.groups.get(split, rows)
        if info.primary in SHARES if not known else known[-1].right_or_wrong and not info.grouped:
            found[split] = power.of_answers(n, *_shares(known), what=what)
        else:
            single, paired = (_scaled(e, info, split) for e in _errors(known))
            found[split] = power.of_errors(n, single, paired, info.primary, what)
    return found


def _shares(known: Sequence[ItemScores]) -> tuple[float, float | None]:
    """Share of right answers of the newest model, and how many only the one before it got right."""
    if not known:
        return 0.5, None
    share = round(float(known[-1].numerator.mean()), 3)
    if len(known) < 2 or len(known[-2]) != len(known[-1]):
        return share, None
    only = [int((x.numerator > y.numerator).sum()) for x, y in (known[-2:], known[:-3:-1])]
    return share, round(min(only) / len(known[-1]), 3)


def _errors(known: Sequence[ItemScores]) -> tuple[float | None, float | None]:
    """Standard errors of the newest model's score, and of its difference to the one before it."""
    if not known:
        return None, None
    single = standard_error(known[-1])
    if len(known) < 2 or len(known[-2]) != len(known[-1]):
        return single, None
    return single, compare(known[-2], known[-1], True).error or None


def _scaled(error: float | None, info: EvalInfo, split: str) -> float | None:
    """Dev's error on as many items as the split has."""
    many = info.groups or info.rows
    return error and error * (many.get("dev", many[split]) / many[split]) ** 0.5


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


def group_codes(groups: Sequence[str | None]) -> Any:
    """Groups as integers; an item without a group is one of its own."""
    names = [f"g{g}" if g is not None else f"i{k}" for k, g in enumerate(groups)]
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def narrow(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What a window that is too small for prompts and answers has done to them."""
    short = [row for row in rows if "window" in row]
    if not short:
        return []
    window, dropped = short[0]["window"], sum(row["dropped"] > 0 for row in short)
    limit = min(row["limit"] for row in short)
    lost = f", and {dropped} prompts lost their beginning" if dropped else ""
    return [
        f"The model's window has {window} tokens: {len(short)} of {len(rows)} answers could have no more "
        f"than {limit}{lost}. Give it a larger window (max_position_embeddings), or shorten the prompts."
    ]


def another_form(right: dict[str, float]) -> list[str]:
    """A warning where one metric finds nearly nothing right and another one much, in the same answers."""
    low, high = (min(right, key=right.__getitem__), max(right, key=right.__getitem__)) if right else ("", "")
    if not right or right[low] > NONE_RIGHT or right[high] < MANY_RIGHT:
        return []
    return [
        f"{low} finds {right[low]:.0%} of the answers right, {high} {right[high]:.0%}: many are right "
        f"in another form than the target's, or with more text around them. {low} says little here."
    ]


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
