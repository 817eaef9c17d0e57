"""Are the intervals and verdicts what they say? Each is held against data whose truth is known.

    python benchmarks/simulated_statistics.py [--trials 2000]

Four tables: coverage of 95 % intervals of one model; of paired differences, with how often two equal models
are called different (nominal: 5 %); the same over several seeds, where a bootstrap of seeds and a comparison
of items alone stand beside it; and a search over many variants of which none is better. Everything is drawn
from fixed seeds, so that a table can be had again. Three to four minutes of one core.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator

import numpy as np

from ml_intern.evals.distributions import student_quantile
from ml_intern.evals.replicates import compare_runs, holm
from ml_intern.evals.statistics import compare, influence, measure
from ml_intern.ledger.model import ItemScores

Rng = np.random.Generator


def answers(right: np.ndarray) -> ItemScores:
    return ItemScores(right.astype(float), np.ones(len(right)))


def sizes(rng: Rng, n: int) -> np.ndarray:
    return rng.integers(10, 80, n).astype(float)


# One model: a function that draws a scoring, and its truth.

Draw = Callable[[Rng, int], ItemScores]


def share(p: float) -> tuple[Draw, float]:
    return lambda rng, n: answers(rng.random(n) < p), p


def grouped(p: float) -> tuple[Draw, float]:
    def draw(rng: Rng, n: int) -> ItemScores:
        skill = rng.beta(4 * p, 4 * (1 - p), n)
        right = (rng.random((n, 10)) < skill[:, None]).ravel()
        return ItemScores(right.astype(float), np.ones(10 * n), np.repeat(np.arange(n), 10))

    return draw, p


def bits(kind: str) -> tuple[Draw, float]:
    def draw(rng: Rng, n: int) -> ItemScores:
        bytes_ = rng.lognormal(3, 1, n) if kind == "texts of very different length" else sizes(rng, n)
        each = rng.lognormal(-0.125, 0.5, n) if kind == "skewed" else rng.gamma(16, 1 / 16, n)
        return ItemScores(bytes_ * 4 * each, bytes_)

    return draw, 4.0


def reward(heavy: bool) -> tuple[Draw, float]:
    def draw(rng: Rng, n: int) -> ItemScores:
        return ItemScores(rng.standard_t(3, n) if heavy else rng.normal(0, 1, n), np.ones(n))

    return draw, 0.0


ONE: dict[str, tuple[Draw, float]] = {
    "share of right answers, 0.5": share(0.5),
    "share of right answers, 0.8": share(0.8),
    "share of right answers, 0.95": share(0.95),
    "right answers in groups of 10, 0.8": grouped(0.8),
    "bits per byte": bits("even"),
    "bits per byte, skewed": bits("skewed"),
    "bits per byte, texts of very different length": bits("texts of very different length"),
    "reward": reward(False),
    "reward, heavy tails": reward(True),
}


def percentile_covers(items: ItemScores, truth: float, counts: np.ndarray) -> bool:
    """The bootstrap that most people mean, to stand beside."""
    n = len(items) if items.groups is None else len(np.unique(items.groups))
    numerator, denominator = (x.reshape(n, -1).sum(1) for x in (items.numerator, items.denominator))
    draws = (counts[:, :n] @ numerator) / (counts[:, :n] @ denominator)
    low, high = np.quantile(draws, [0.025, 0.975])
    return bool(low <= truth <= high)


def one_model(trials: int) -> Iterator[tuple[str, ...]]:
    for name, (draw, truth) in ONE.items():
        for n in (20, 50, 200):
            rng = np.random.default_rng(n)
            counts = rng.multinomial(n, np.full(n, 1 / n), size=1000).astype(float)
            ours = plain = 0
            for _ in range(trials):
                items = draw(rng, n)
                found = measure(items, True)
                ours += found.low <= truth <= found.high
                plain += percentile_covers(items, truth, counts)
            yield name, str(n), f"{ours / trials:.1%}", f"{plain / trials:.1%}"


# Two models on the same items.


def pair_of_answers(p: float, agree: float) -> Callable[[Rng, int], tuple[ItemScores, ItemScores]]:
    """Two equal models; on a share of items, `agree`, they give the same answer."""

    def draw(rng: Rng, n: int) -> tuple[ItemScores, ItemScores]:
        a = rng.random(n) < p
        b = np.where(rng.random(n) < agree, a, rng.random(n) < p)
        return answers(a), answers(b)

    return draw


def pair_of_bits(agree: float, skewed: bool) -> Callable[[Rng, int], tuple[ItemScores, ItemScores]]:
    def draw(rng: Rng, n: int) -> tuple[ItemScores, ItemScores]:
        bytes_, text = sizes(rng, n), rng.gamma(16, 1 / 4, n)

        def own() -> np.ndarray:
            noise = rng.exponential(1, n) - 1 if skewed else rng.normal(0, 1, n)
            return bytes_ * (text + math.sqrt(1 - agree) * noise)

        return ItemScores(own(), bytes_), ItemScores(own(), bytes_)

    return draw


TWO = {
    **{
        f"right or wrong, {p}, {agree:.0%} agree": pair_of_answers(p, agree)
        for p in (0.5, 0.8)
        for agree in (0.2, 0.5, 0.8)
    },
    **{f"bits per byte, correlation {agree}": pair_of_bits(agree, False) for agree in (0.2, 0.8)},
    "bits per byte, skewed differences": pair_of_bits(0.5, True),
}


def two_models(trials: int) -> Iterator[tuple[str, ...]]:
    for name, draw in TWO.items():
        for n in (20, 50, 100, 400):
            rng = np.random.default_rng(n + 1)
            found = [compare(*draw(rng, n), True) for _ in range(trials)]
            covers = np.mean([d.low <= 0 <= d.high for d in found])
            called = np.mean([d.verdict != "inconclusive" for d in found])
            yield name, str(n), f"{covers:.1%}", f"{called:.1%}"


# Several seeds of two configurations.


def runs(rng: Rng, seeds: int, shared: np.ndarray, spread: float, kind: str) -> list[ItemScores]:
    """One configuration's runs: items shared by all, own to the configuration, and own to the run."""
    n = len(shared)
    own = rng.normal(0, 0.5, n)
    found = []
    for _ in range(seeds):
        score = shared + own + rng.normal(0, spread / math.sqrt(n)) + rng.normal(0, 0.8, n)
        found.append(answers(score > 0) if kind == "right or wrong" else ItemScores(score, np.ones(n)))
    return found


def of_seeds_alone(a: list[ItemScores], b: list[ItemScores], rng: Rng) -> bool:
    """A percentile bootstrap that draws seeds and items anew; whether it calls the two different."""
    left, right = (np.stack([items.numerator for items in side]) for side in (a, b))
    n, draws = left.shape[1], []
    for _ in range(200):
        items = rng.integers(0, n, n)
        picked = [side[rng.integers(0, len(side), len(side))][:, items].mean() for side in (left, right)]
        draws.append(picked[1] - picked[0])
    low, high = np.quantile(draws, [0.025, 0.975])
    return not low <= 0 <= high


def of_items_alone(a: list[ItemScores], b: list[ItemScores]) -> bool:
    """Student's t over items, as if seeds were no luck."""
    u = np.mean([influence(i.numerator, i.denominator) for i in b], axis=0)
    u = u - np.mean([influence(i.numerator, i.denominator) for i in a], axis=0)
    n = len(u)
    error = math.sqrt(float((u**2).sum()) / (n - 1) / n)
    difference = np.mean([i.numerator.mean() for i in b]) - np.mean([i.numerator.mean() for i in a])
    return bool(abs(difference) > student_quantile(0.975, n - 1) * error)


def several_seeds(trials: int) -> Iterator[tuple[str, ...]]:
    for kind in ("right or wrong", "real"):
        for n in (20, 200):
            for count in (2, 3, 5):
                for luck in (0.0, 1.0, 3.0):
                    rng = np.random.default_rng(count)
                    called = np.zeros(3)
                    for k in range(trials):
                        shared = rng.normal(0.3, 1, n)
                        a, b = (runs(rng, count, shared, luck, kind) for _ in range(2))
                        called[0] += compare_runs(a, b, True).verdict != "inconclusive"
                        called[1] += of_items_alone(a, b)
                        called[2] += k < 400 and of_seeds_alone(a, b, rng)
                    rates = (called[0] / trials, called[1] / trials, called[2] / min(trials, 400))
                    yield kind, str(n), str(count), f"{luck:g}", *(f"{rate:.1%}" for rate in rates)


def many_variants(trials: int) -> Iterator[tuple[str, ...]]:
    for k in (1, 5, 20):
        rng = np.random.default_rng(k)
        bare = corrected = 0
        for _ in range(trials // 4):
            base = rng.random(200) < 0.5
            ps = []
            for _ in range(k):
                other = np.where(rng.random(200) < 0.5, base, rng.random(200) < 0.5)
                ps.append(compare(answers(base), answers(other), True).p)
            bare += min(ps) < 0.05
            corrected += min(holm(ps)) < 0.05
        yield str(k), f"{bare / (trials // 4):.1%}", f"{corrected / (trials // 4):.1%}"


def table(title: str, heads: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> None:
    print(f"\n{title}\n")
    print("| " + " | ".join(heads) + " |")
    print("|" + "|".join("---" for _ in heads) + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=2000)
    trials = parser.parse_args().trials
    table(
        "How often the 95 % interval of one model holds the truth",
        ("metric", "items or groups", "ours", "percentile bootstrap"),
        one_model(trials),
    )
    table(
        "Two equal models on the same items",
        ("metric", "items", "interval holds zero", "called different"),
        two_models(trials),
    )
    table(
        "Two equal configurations, called different (luck: spread of seeds over the standard error of items)",
        ("metric", "items", "seeds each", "luck", "ours", "items alone", "bootstrap of seeds and items"),
        several_seeds(trials),
    )
    table(
        "The best of k variants, none of them better, called different",
        ("k", "uncorrected", "Holm"),
        many_variants(trials),
    )


if __name__ == "__main__":
    main()
