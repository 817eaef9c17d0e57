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
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ml_intern.errors import ToolError
from ml_intern.evals.bridge.metrics import is_bridged, up
from ml_intern.evals.final_answers import final_answer
from ml_intern.evals.means import Means
from ml_intern.evals.model import Item
from ml_intern.ledger.model import ItemScores
from ml_intern.tooling import did_you_mean

Asks = Literal["likelihood", "samples", "completions", "options", "rewards", "lm_eval"]
Part = Literal["target", "choices", "tests", "rubric"]
ScorerName = Literal[
    "bits_per_byte",
    "python_parses",
    "exact_match",
    "numeric_match",
    "math_match",
    "multiple_choice",
    "multiple_choice_normalized",
    "code_passes",
    "rubric",
    "reward",
]


@dataclass(frozen=True)
class Outputs:
    """What the job gave back, already checked against what it was asked.

    Attributes:
        texts: The item's texts (for a likelihood) in the order of the items.
        targets: What is right for each item; only the host has these.
        nats: Negative log-likelihood of each text; None where the tokenizer does not give the text back.
        completions: One completion for each item, or one for each sample.
        options: For each item the negative log-likelihood of each of its options, given the prompt.
        items: The items themselves, for scorers that read more of them.
        means: What a scorer may use beside the outputs.
        rewards: What a reward model gives the completion of each item.
        lm_eval: What items contributed by lm-eval's own metrics.
    """

    texts: Sequence[str] = ()
    targets: Sequence[str] = ()
    nats: Sequence[float | None] = ()
    completions: Sequence[str] = ()
    options: Sequence[Sequence[float]] = ()
    items: Sequence[Item] = ()
    means: Means = field(default_factory=Means)
    rewards: Sequence[float] = ()
    lm_eval: Mapping[str, ItemScores] = field(default_factory=dict)


@dataclass(frozen=True)
class Scorer:
    """One metric.

    Attributes:
        name: The metric's name.
        asks: The likelihood of each text, samples from nothing, a completion of each item, the likelihood of
            each option, or what a reward model gives the completion.
        higher_is_better: Which way is up.
        meaning: One line for people.
        score: From the job's outputs to items.
        needs: What an item must have beside its input.
        answer: What of a completion is its answer, so that equal ones can be counted; None: that is unknown.
    """

    name: str
    asks: Asks
    higher_is_better: bool
    meaning: str
    score: Callable[[Outputs], ItemScores]
    needs: tuple[Part, ...] = ()
    answer: Callable[[str], Hashable | None] | None = lambda text: _plain(text) or None

    @property
    def needs_target(self) -> bool:
        """Does an item need a right answer?"""
        return "target" in self.needs


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


def math_match(outputs: Outputs) -> ItemScores:
    """Share of completions whose answer is mathematically equal to the target's: 1/2 is 0.5."""
    from ml_intern.evals.mathematics import equal

    return _right(equal(outputs.targets, outputs.completions, outputs.means.notes))


def multiple_choice(outputs: Outputs) -> ItemScores:
    """Share of items whose right option is the likeliest, by the sum over its tokens."""
    return _chosen(outputs, lambda option: 1)


def multiple_choice_normalized(outputs: Outputs) -> ItemScores:
    """The same by the mean over an option's bytes in UTF-8, so that long options are not at a loss."""
    return _chosen(outputs, lambda option: len(option.encode()))


def code_passes(outputs: Outputs) -> ItemScores:
    """Share of answers whose code passes the item's tests, behind walls."""
    from ml_intern.evals.programs import passed

    return _right(passed(outputs.items, outputs.completions, outputs.means))


def rubric(outputs: Outputs) -> ItemScores:
    """Mean share of the rubric's points that an answer earns."""
    from ml_intern.evals.rubric import shares

    earned = shares(outputs.items, outputs.completions, outputs.means)
    return ItemScores(np.array(earned, dtype=np.float64), np.ones(len(earned)))


def _chosen(outputs: Outputs, size: Callable[[str], int]) -> ItemScores:
    """An item counts where its right option beats every other text; a tie is nobody's win."""
    right = []
    for item, nats in zip(outputs.items, outputs.options, strict=True):
        asked = outputs.means.asking.options_of(item)
        cost = [n / size(option) for n, option in zip(nats, asked, strict=True)]
        at, options = int(item.target or 0), item.choices or []
        others = [c for c, text in zip(cost, options, strict=True) if text != options[at]]
        right.append(all(cost[at] < other for other in others))
    return _right(right)


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
        Scorer(
            "exact_match",
            "completions",
            True,
            "share of answers that equal the target",
            exact_match,
            ("target",),
        ),
        Scorer(
            "numeric_match",
            "completions",
            True,
            "share of answers whose last number is right",
            numeric_match,
            ("target",),
            last_number,
        ),
        Scorer(
            "math_match",
            "completions",
            True,
            "share of answers that are mathematically right",
            math_match,
            ("target",),
            final_answer,
        ),
        Scorer(
            "multiple_choice",
            "options",
            True,
            "share of items whose right option is the likeliest",
            multiple_choice,
            ("target", "choices"),
        ),
        Scorer(
            "multiple_choice_normalized",
            "options",
            True,
            "the same by the byte of each option",
            multiple_choice_normalized,
            ("target", "choices"),
        ),
        Scorer(
            "code_passes",
            "completions",
            True,
            "share of answers whose code passes the tests",
            code_passes,
            ("tests",),
        ),
        Scorer(
            "rubric",
            "completions",
            True,
            "mean share of the rubric's points",
            rubric,
            ("rubric",),
            None,
        ),
        Scorer("reward", "rewards", True, "mean reward of the answers", reward),
    )
}


def scorer(name: str) -> Scorer:
    """The scorer of a name.

    Raises:
        ToolError: There is none.
    """
    if is_bridged(name):
        return Scorer(name, "lm_eval", up(name), "as lm-eval computes it", lambda o: o.lm_eval[name])
    if name not in SCORERS:
        raise ToolError(
            f"There is no scorer {name!r}{did_you_mean(name, SCORERS)}.", f"Scorers: {', '.join(SCORERS)}."
        )
    return SCORERS[name]
