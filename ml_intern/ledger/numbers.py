"""Every number that the ledger can vouch for, each with the place it stands."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

from ml_intern.ledger.model import Comparison, Experiment, Measured, Number, Scores

# "0.3M", "2e-5", "statements@2": what was run is often written inside a word.
_IN_TEXT = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?:[kKMBG](?!\w))?|(?<=@)\d+")
_SCALES = {"k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9, "G": 1e9}


def numbers_of(experiment: Experiment) -> Iterator[Number]:
    """The numbers of one experiment. Hypothesis and notes are the brain's words, so theirs do not count."""
    e = experiment
    yield Number(e.seed, f"{e.id} seed")
    yield Number(e.cost.seconds, f"{e.id} cost seconds")
    if e.cost.usd is not None:
        yield Number(e.cost.usd, f"{e.id} cost usd")
    yield Number(len(e.jobs), f"{e.id} number of jobs")
    # Of the machine, its sizes and the names of its processors; versions would vouch for any small number.
    machine = {k: v for k, v in e.environment.items() if k in ("cpu", "gpu") or not isinstance(v, str | dict)}
    parts = {"config": e.config, "data": e.data, "environment": machine, "facts": e.facts}
    parts["inference"] = e.inference.model_dump(exclude={"reward_sha256"}) if e.inference else {}
    for name, part in parts.items():
        yield from _inside(part, f"{e.id} {name}")
    for split, metrics in (("dev", e.dev), ("test", e.test)):
        for metric, measured in metrics.items():
            yield from _of_measured(measured, f"{e.id} {split} {metric}")


def numbers_of_scores(scores: Scores) -> Iterator[Number]:
    """What one scoring measured, slices and shape of the outputs included."""
    where = f"{scores.experiment or 'model ' + scores.model[:12]} {scores.split} of {scores.eval}"
    yield Number(scores.seconds, f"{where} seconds")
    yield from _inside(scores.outputs, f"{where} outputs")
    if scores.inference and scores.voting:
        yield from _inside(scores.voting.model_dump(exclude={"says"}), f"{where} with {scores.inference}")
    for metric, measured in scores.metrics.items():
        yield from _of_measured(measured, f"{where} {metric}")
    for metric, slices in scores.slices.items():
        for name, measured in slices.items():
            yield from _of_measured(measured, f"{where} {metric} of {name}")


def numbers_of_comparison(c: Comparison) -> Iterator[Number]:
    """A paired difference, its interval, p, n and the difference relative to the older value."""
    where = f"{c.b} against {c.a} {c.metric}"
    for name in ("difference", "low", "high", "p", "n", "value_a", "value_b"):
        yield Number(getattr(c, name), f"{where} {name}")
    more = ("seeds_a", "seeds_b", "new_seeds", "seeds_needed", "variants", "p_corrected")
    for name in (*more, "detectable", "luck_of_best", "seed_spread"):
        if (value := getattr(c, name)) is not None:
            yield Number(value, f"{where} {name}")
    if c.relative is not None:
        yield Number(c.relative, f"{where} relative difference")


def totals(experiments: list[Experiment]) -> Iterator[Number]:
    """Counts and sums over the whole ledger."""
    yield Number(len(experiments), "number of experiments")
    yield Number(len({job for e in experiments for job in e.jobs}), "number of jobs")
    yield Number(math.fsum(e.cost.seconds for e in experiments), "cost seconds of all experiments")
    for verdict in ("kept", "discarded", "crashed", "inconclusive", "open"):
        yield Number(sum(e.verdict == verdict for e in experiments), f"number of experiments {verdict}")
    seeds: Iterable[int] = {e.seed for e in experiments}
    yield Number(len(list(seeds)), "number of seeds")


def _of_measured(measured: Measured, where: str) -> Iterator[Number]:
    yield Number(measured.value, where)
    yield Number(measured.low, f"{where} low")
    yield Number(measured.high, f"{where} high")
    yield Number(measured.n, f"{where} n")


def _inside(value: Any, where: str) -> Iterator[Number]:
    """Walk what JSON can carry; booleans are no numbers, numbers inside strings are."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _inside(inner, f"{where} {key}")
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            yield from _inside(inner, f"{where} [{i}]")
    elif isinstance(value, bool) or value is None:
        return
    elif isinstance(value, int | float):
        yield Number(value, where)
    elif isinstance(value, str) and len(value) <= 400:
        for found in _IN_TEXT.findall(value):
            scale = _SCALES.get(found[-1], 1.0)
            yield Number(float(found.rstrip("kKMBG")) * scale, where)
