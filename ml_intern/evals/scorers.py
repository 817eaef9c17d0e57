"""How a model's outputs become numbers. Host code: nothing here runs where model-written code runs.

Every scorer gives, for each item, a numerator and a denominator; the metric is the ratio of the sums. That
one form carries bits per byte, shares and accuracies, their intervals and their paired comparisons.
"""

from __future__ import annotations

import ast
import math
import re
import unicodedata
import warnings
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ml_intern.errors import ToolError
from ml_intern.ledger.model import ItemScores
from ml_intern.tooling import did_you_mean

Asks = Literal["likelihood", "samples", "completions", "rewards"]
ScorerName = Literal["bits_per_byte", "python_parses", "exact_match", "numeric_match", "reward"]


@dataclass(frozen=True)
class Outputs:
    """What the job gave back, already checked against what it was asked.

    Attributes:
        texts: The item's texts (for a likelihood) in the order of the items.
        targets: What is right for each item; only the host has these.
        nats: Negative log-likelihood of each text; None where the tokenizer does not give the text back.
        completions: One completion for each item, or one for each sample.
        rewards: What a reward model gives the completion of each item.
    """

    texts: Sequence[str] = ()
    targets: Sequence[str] = ()
    nats: Sequence[float | None] = ()
    completions: Sequence[str] = ()
    rewards: Sequence[float] = ()


@dataclass(frozen=True)
class Scorer:
    """One metric.

    Attributes:
        name: The metric's name.
        asks: The likelihood of each text, samples from nothing, a completion of each item, or its reward.
        higher_is_better: Which way is up.
        meaning: One line for people.
        score: From the job's outputs to items.
        answer: What of a completion is its answer, so that equal ones can be counted; None: it has none.
    """

    name: str
    asks: Asks
    higher_is_better: bool
    meaning: str
    score: Callable[[Outputs], ItemScores]
    answer: Callable[[str], Hashable | None] = lambda text: _plain(text) or None

    @property
    def needs_target(self) -> bool:
        """Does an item need a right answer?"""
        return self.asks == "completions"


def bits_per_byte(outputs: Outputs) -> ItemScores:
    """Bits the model needs for the texts, over their bytes in UTF-8. Comparable between tokenizers.

    A text that the tokenizer cannot give back exactly is charged 8 bits a byte, as if it were stored plainly:
    a tokenizer that forgets must not look like a model that predicts.
    """
    sizes = np.array([len(text.encode()) for text in outputs.texts], dtype=np.float64)
    nats = np.array([math.nan if x is None else x for x in outputs.nats], dtype=np.float64)
    return ItemScores(np.where(np.isnan(nats), 8 * sizes, nats / math.log(2)), sizes)


def python_parses(outputs: Outputs) -> ItemScores:
    """Share of sampled completions that are not empty and that Python's parser accepts."""
    return _right([parses(text) for text in outputs.completions])


def exact_match(outputs: Outputs) -> ItemScores:
    """Share of completions that equal the target, white space at the ends and Unicode forms aside."""
    return _right([_plain(c) == _plain(t) for c, t in zip(outputs.completions, outputs.targets, strict=True)])


def numeric_match(outputs: Outputs) -> ItemScores:
    """Share of completions whose last number equals the target's last number; "1,250.0" is 1250."""
    pairs = zip(outputs.completions, outputs.targets, strict=True)
    return _right([(found := last_number(c)) is not None and found == last_number(t) for c, t in pairs])


def reward(outputs: Outputs) -> ItemScores:
    """Mean of what the eval's reward model gives the greedy answers."""
    return ItemScores(np.array(outputs.rewards, dtype=np.float64), np.ones(len(outputs.rewards)))


def parses(text: str) -> bool:
    """Is this Python, and more than white space and comments?"""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return bool(ast.parse(text.strip()).body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


_NUMBER = re.compile(r"-?\d+(?:,\d{3})+(?:\.\d+)?|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|-?\.\d+")


def last_number(text: str) -> float | None:
    """The last number in a text, or None."""
    found = _NUMBER.findall(text)
    return float(found[-1].replace(",", "")) if found else None


def _right(answers: Sequence[bool]) -> ItemScores:
    return ItemScores(np.array(answers, dtype=np.float64), np.ones(len(answers)))


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip()


SCORERS: dict[str, Scorer] = {
    s.name: s
    for s in (
        Scorer("bits_per_byte", "likelihood", False, "bits for held-out text, over its bytes", bits_per_byte),
        Scorer(
            "python_parses", "samples", True, "share of samples that Python's parser accepts", python_parses
        ),
        Scorer("exact_match", "completions", True, "share of answers that equal the target", exact_match),
        Scorer(
            "numeric_match",
            "completions",
            True,
            "share of answers whose last number is right",
            numeric_match,
            last_number,
        ),
        Scorer("reward", "rewards", True, "mean reward of the answers", reward),
    )
}


def scorer(name: str) -> Scorer:
    """The scorer of a name.

    Raises:
        ToolError: There is none.
    """
    if name not in SCORERS:
        raise ToolError(
            f"There is no scorer {name!r}{did_you_mean(name, SCORERS)}.", f"Scorers: {', '.join(SCORERS)}."
        )
    return SCORERS[name]
