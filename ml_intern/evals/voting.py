"""One answer out of several samples of a prompt: the votes, the ceiling, and how they grow with the samples.

- ``majority``: the answer that most samples give (self-consistency, Wang et al. 2022, arXiv 2203.11171).
- ``best``: the sample with the highest reward (best-of-N).
- ``weighted``: the answer whose samples have the largest sum of rewards (weighted best-of-N: Li et al. 2022,
  arXiv 2206.02336; Snell et al. 2024, arXiv 2408.03314; Beeching, Tunstall and Rush 2024, "Scaling test-time
  compute with open models"). There the rewards are probabilities. Those of a model that was trained on pairs
  are logits, and may be negative, so that each further vote would count against an answer: their logistic
  sigmoid is summed, which by the model of Bradley and Terry is the chance of winning against an answer of
  reward 0. It hangs on where 0 is, which pairs alone do not say; other weights can be better (Kuang et al.
  2025, arXiv 2510.13918), and none are fitted here.
- ``any_right``: some sample is right: pass@k, by the unbiased estimator of Chen et al. 2021, arXiv
  2107.03374.

A tie goes to what was drawn first. A sample without an answer has no vote; `best` may still choose it.
"""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SUBSETS = 64
"""Random subsets of a prompt's samples over which a point of the curve is a mean, where there are more."""


def vote(answers: Ints, weights: Floats) -> Ints:
    """For each row the first sample of the answer with the largest sum of weights.

    Args:
        answers: Shape (rows, samples); equal numbers of a row are one answer, negative ones are none.
        weights: Of each sample, the same shape.
    """
    same = answers[:, :, None] == answers[:, None, :]
    sums = np.einsum("ijk,ik->ij", same, weights)
    # argmax takes the first of equals, and samples stand in the order in which they were drawn.
    chosen: Ints = np.where(answers < 0, -np.inf, sums).argmax(axis=1)
    return chosen


def sigmoid(rewards: Floats) -> Floats:
    """What a sample's vote weighs."""
    weights: Floats = 1 / (1 + np.exp(-np.clip(rewards, -500, 500)))
    return weights


def choose(weighting: str, answers: Ints, rewards: Floats | None) -> Ints:
    """For each row the sample that is the answer, by one of the rules above; shapes as in `vote`."""
    if weighting == "majority":
        return vote(answers, np.ones(answers.shape))
    if rewards is None:
        raise ValueError(f"{weighting} needs rewards")
    if weighting == "best":
        best: Ints = rewards.argmax(axis=1)
        return best
    return vote(answers, sigmoid(rewards))


def any_right(right: Floats, k: int) -> Floats:
    """For each row the chance that of k of its samples, drawn without putting back, at least one is right."""
    n = right.shape[1]
    wrong = n - right.sum(axis=1).astype(int)
    none = [math.comb(w, k) / math.comb(n, k) for w in range(n + 1)]
    chances: Floats = 1 - np.array(none)[wrong]
    return chances


def sizes(n: int) -> list[int]:
    """The points of the curve: 1, 2, 4 … and n."""
    return [*(2**k for k in range(n.bit_length()) if 2**k < n), n]


def curve(weighting: str, answers: Ints, rewards: Floats | None, right: Floats, seed: int) -> list[float]:
    """Share of right answers at each of `sizes`: the mean over subsets of the samples, all or `SUBSETS`."""
    return [_at(weighting, answers, rewards, right, k, seed) for k in sizes(answers.shape[1])]


def _at(weighting: str, answers: Ints, rewards: Floats | None, right: Floats, k: int, seed: int) -> float:
    n = answers.shape[1]
    if k == 1:
        return float(right.mean())
    rng, shares = np.random.default_rng(seed), []
    for row in range(len(answers)):
        some = _subsets(n, k, rng)
        chosen = choose(weighting, answers[row][some], None if rewards is None else rewards[row][some])
        shares.append(right[row][some[np.arange(len(some)), chosen]].mean())
    return float(np.mean(shares))


def _subsets(n: int, k: int, rng: np.random.Generator) -> Ints:
    """Shape (subsets, k), each in the order in which its samples were drawn."""
    if math.comb(n, k) <= SUBSETS:
        return np.array(list(combinations(range(n), k)))
    return np.sort(rng.random((SUBSETS, n)).argsort(axis=1)[:, :k], axis=1)


def reward_accuracy(rewards: Floats, right: Floats) -> float | None:
    """How often a right sample of a prompt has a higher reward than a wrong one of it; ties count half.

    Each prompt that has both counts the same; None where there is none.
    """
    found = []
    for values, marks in zip(rewards, right > 0.5, strict=True):
        if marks.any() and not marks.all():
            apart = values[marks][:, None] - values[~marks][None, :]
            found.append(float(((apart > 0) + 0.5 * (apart == 0)).mean()))
    return float(np.mean(found)) if found else None
