"""What several samples a prompt give: the score of the chosen answers, beside that of the other choices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ml_intern.evals import voting
from ml_intern.evals.drawing import Drawn
from ml_intern.evals.model import EvalInfo, Item
from ml_intern.evals.replicates import holm
from ml_intern.evals.results import MANY_CUT, group_codes
from ml_intern.evals.statistics import compare, measure
from ml_intern.evals.voting import Floats
from ml_intern.evals.ways import Way, metric_of
from ml_intern.ledger.model import (
    Inference,
    ItemScores,
    Measured,
    Scores,
    Split,
    VoteComparison,
    VotePoint,
    Voting,
)

ALIKE = 0.05
"""Weights with a smaller standard deviation hardly differ from one vote each."""
MANY_SILENT = 0.2
"""Share of samples without an answer that is warned of."""


def scores_of(
    info: EvalInfo,
    split: Split,
    items: Sequence[Item],
    weights: str,
    way: Way,
    drawn: Drawn,
    seconds: float,
) -> Scores:
    """What the samples give; beside the dev score of this way also those of the others."""
    metric, inference = metric_of(info), way.inference
    groups = group_codes([i.group for i in items]) if info.grouped else None
    ones = np.ones(len(items))

    def share(marks: Floats) -> ItemScores:
        return ItemScores(marks, ones, groups)

    def chosen(rule: str) -> ItemScores:
        at = voting.choose(rule, drawn.answers, drawn.rewards)
        return share(drawn.right[np.arange(len(items)), at])

    rules = ["majority", *(["best", "weighted"] if drawn.rewards is not None else [])]
    by_rule = {rule: chosen(rule) for rule in rules}
    led = by_rule[inference.weighting]
    told: dict[str, Any] = {}
    if way.greedy is not None:
        ceiling = share(voting.any_right(drawn.right, inference.n))
        ways = {"greedy": way.greedy, "one_sample": share(drawn.right.mean(axis=1)), **by_rule}
        told["voting"] = _voting({**ways, "any_right": ceiling}, drawn, info, metric, inference)
    return Scores(
        eval=info.name,
        split=split,
        model=inference.variant(weights),
        weights=weights,
        inference=inference,
        primary=metric,
        metrics={metric: measure(led, True)},
        outputs=drawn.outputs,
        warnings=_warnings(drawn, len(items)),
        seconds=seconds,
        reward_model=inference.reward_sha256,
        items={metric: led, **{f"{metric} by {rule}": found for rule, found in by_rule.items()}}
        if way.greedy is not None
        else {metric: led},
        **told,
    )


def _voting(
    ways: dict[str, ItemScores], drawn: Drawn, info: EvalInfo, metric: str, inference: Inference
) -> Voting:
    methods = {name: measure(found, True) for name, found in ways.items()}
    comparisons = compared(ways)
    silent = float((drawn.answers < 0).mean())
    return Voting(
        methods=methods,
        comparisons=comparisons,
        curve=_curve(drawn, info.asking.seed),
        rewards=_of_rewards(drawn),
        share_without_answer=silent,
        says=_says(methods, comparisons, metric, inference),
    )


def compared(ways: dict[str, ItemScores]) -> list[VoteComparison]:
    """All but the ceiling, with greedy and with majority, corrected for how many comparisons these are."""
    pairs = [
        (name, against)
        for against in ("greedy", "majority")
        for name in ways
        if name not in ("greedy", "any_right", against)
    ]
    found = [compare(ways[against], ways[name], True) for name, against in pairs]
    corrected = holm([f.p for f in found])
    return [
        VoteComparison(
            method=name,
            against=against,
            difference=f.difference,
            low=f.low,
            high=f.high,
            p=f.p,
            p_corrected=p,
            verdict=f.verdict if p < 0.05 else "inconclusive",
            test=f.method,
        )
        for (name, against), f, p in zip(pairs, found, corrected, strict=True)
    ]


def _curve(drawn: Drawn, seed: int) -> list[VotePoint]:
    n = drawn.right.shape[1]
    rules = ("majority",) if drawn.rewards is None else ("majority", "best", "weighted")
    lines = {r: voting.curve(r, drawn.answers, drawn.rewards, drawn.right, seed) for r in rules}
    return [
        VotePoint(
            n=k,
            any_right=float(voting.any_right(drawn.right, k).mean()),
            **{rule: line[place] for rule, line in lines.items()},
        )
        for place, k in enumerate(voting.sizes(n))
    ]


def _of_rewards(drawn: Drawn) -> dict[str, float]:
    if drawn.rewards is None:
        return {}
    accuracy = voting.reward_accuracy(drawn.rewards, drawn.right)
    found = {"mean": float(drawn.rewards.mean()), "deviation": float(drawn.rewards.std())}
    return found | ({"accuracy": accuracy} if accuracy is not None else {})


def _warnings(drawn: Drawn, items: int) -> list[str]:
    told = [f"Only {items} items: intervals will be wide."] if items < 100 else []
    silent = float((drawn.answers < 0).mean())
    if silent >= MANY_SILENT:
        told.append(f"{silent:.0%} of the samples have no answer, and so no vote: look at the prompt's form.")
    if (open_ := drawn.outputs["share_unfinished"]) >= MANY_CUT:
        told.append(f"{open_:.0%} of the samples were cut off at the limit of the eval.")
    if drawn.cut:
        told.append(f"{drawn.cut} prompts were too long for the reward model: it read the end of them alone.")
    told += dict.fromkeys(drawn.notes)
    if drawn.rewards is not None and voting.sigmoid(drawn.rewards).std() < ALIKE:
        told.append(
            f"The rewards (mean {drawn.rewards.mean():.3g}, deviation {drawn.rewards.std():.2g}) give nearly "
            "equal weights, so the weighted vote is nearly the majority's: take the best, or train the "
            "reward model with center_rewards_coefficient."
        )
    return told


def _says(
    methods: dict[str, Measured], comparisons: list[VoteComparison], metric: str, inference: Inference
) -> str:
    lead = inference.weighting
    first = [lead, *(name for name in methods if name != lead)]
    values = ", ".join(f"{name} {methods[name].value:.3f}" for name in first)
    words = {"better": "better than", "worse": "worse than", "inconclusive": "not clearly apart from"}
    ours = [
        f"{lead} is {words[c.verdict]} {c.against} ({c.difference:+.3f} [{c.low:+.3f}, {c.high:+.3f}], "
        f"p={c.p_corrected:.2g} corrected)"
        for c in comparisons
        if c.method == lead
    ]
    return f"{metric} of {inference} on {methods[lead].n} items: {values}. {'; '.join(ours)}."
