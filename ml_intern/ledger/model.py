"""The words of the ledger: an experiment, a measured value, a comparison, and a number with its source."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

Verdict = Literal["open", "kept", "discarded", "crashed", "inconclusive"]
Split = Literal["dev", "test"]
Finding = Literal["better", "worse", "inconclusive"]
Weighting = Literal["majority", "best", "weighted"]


class Measured(BaseModel):
    """A value with its 95 % interval.

    Attributes:
        value: The aggregate over all items.
        low: Lower end of the interval.
        high: Upper end of the interval.
        n: Items that were measured.
        higher_is_better: Which way is up.
    """

    value: float
    low: float
    high: float
    n: int
    higher_is_better: bool

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}], n={self.n}"

    def beats(self, other: Measured) -> bool:
        """Is the bare value on the better side of another's? A ranking, not evidence of a gain."""
        return self.value > other.value if self.higher_is_better else self.value < other.value


@dataclass(frozen=True, eq=False)
class ItemScores:
    """What each item contributed to a metric: the metric is sum(numerator) / sum(denominator).

    Attributes:
        numerator: Shape (items,).
        denominator: Shape (items,).
        groups: Cluster of each item, as integers, or None where every item stands alone.
    """

    numerator: npt.NDArray[np.float64]
    denominator: npt.NDArray[np.float64]
    groups: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.numerator)

    @property
    def right_or_wrong(self) -> bool:
        """Is every item simply right (1) or wrong (0)?"""
        return bool(np.all(self.denominator == 1) and np.all((self.numerator == 0) | (self.numerator == 1)))


class Inference(BaseModel):
    """How an answer is made of several samples. Without one a model answers once, greedily.

    Attributes:
        model: Whose weights they are: the reference that was asked with.
        n: Samples of each prompt.
        temperature: Of the samples.
        weighting: How the answer is chosen among them; see `ml_intern.evals.voting`.
        reward_model: The reference of the reward model that looked at the samples, where one did.
        reward_sha256: Its fingerprint.
    """

    model: str = ""
    n: int
    temperature: float
    weighting: Weighting
    reward_model: str | None = None
    reward_sha256: str = ""

    @property
    def judge(self) -> str | None:
        """The reference of the reward model that has a say in the answer."""
        return self.reward_model if self.weighting != "majority" else None

    def variant(self, weights: str) -> str:
        """Fingerprint of these weights answering in this way."""
        told = [weights, self.n, self.temperature, self.weighting, self.reward_sha256]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def __str__(self) -> str:
        how = {"majority": "majority vote", "best": "highest reward", "weighted": "vote weighted by reward"}
        by = f" of {self.judge}" if self.judge else ""
        return f"{self.n} samples at temperature {self.temperature:g}, {how[self.weighting]}{by}"


class VoteComparison(BaseModel):
    """A way of answering against another one, on the same items; `p_corrected` is Holm's over all of them."""

    method: str
    against: str
    difference: float
    low: float
    high: float
    p: float
    p_corrected: float
    verdict: Finding
    test: str


class VotePoint(BaseModel):
    """Shares of right answers with `n` samples a prompt."""

    n: int
    majority: float
    best: float | None = None
    weighted: float | None = None
    any_right: float


class Voting(BaseModel):
    """What several samples a prompt are worth, all ways of answering from the same samples.

    Attributes:
        methods: Share of right answers: ``greedy``, ``one_sample`` (the mean over all samples), ``majority``,
            ``best``, ``weighted``, and ``any_right``, the ceiling: some sample is right (pass@n).
        comparisons: Each of them, paired, with greedy and with majority.
        curve: The same with fewer of these samples: means over subsets of them, not the first ones.
        rewards: ``mean``, ``deviation``, and ``accuracy``: how often, in one prompt's samples, a right answer
            has a higher reward than a wrong one.
        share_without_answer: Samples in which no answer was found; they have no vote.
        says: The findings in words.
    """

    methods: dict[str, Measured]
    comparisons: list[VoteComparison]
    curve: list[VotePoint]
    rewards: dict[str, float] = Field(default_factory=dict)
    share_without_answer: float = 0.0
    says: str = ""


class Scores(BaseModel):
    """What one scoring of a model on one split found. The items stay with the host: JSON leaves them out.

    Attributes:
        eval: The evaluation.
        split: ``dev`` or ``test``.
        model: Fingerprint of the weights and the tokenizer that were scored, and of `inference`.
        weights: Fingerprint of the weights alone, where there is an `inference`.
        inference: How answers were made of several samples, where they were.
        voting: What the other ways to make them give.
        reward_model: Fingerprint of the model that gave the metric ``reward``.
        primary: The metric that decides.
        metrics: Aggregates with their intervals.
        slices: The same by slice, ``{metric: {slice: Measured}}``; slices of few items are left out.
        samples: Some of what the model wrote when it was asked for nothing in particular.
        outputs: Shape of what it wrote: mean length, share empty, share different, share cut off.
        warnings: What a reader of the numbers should know.
        seconds: Wall time of the scoring.
        queries_left: Dev scores that may still be asked of this eval.
        detectable: What difference this many items can tell, in words, before anybody trusts one.
        judge: Who judged the answers, where somebody did: `model`, `prompt_sha256`, `asked`, `usd`.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    eval: str
    split: Split
    model: str
    primary: str
    metrics: dict[str, Measured]
    slices: dict[str, dict[str, Measured]] = Field(default_factory=dict)
    samples: list[str] = Field(default_factory=list)
    outputs: dict[str, float] = Field(default_factory=dict)
    warnings: list[str] = Field(default_factory=list)
    seconds: float = 0.0
    queries_left: int | None = None
    detectable: str = ""
    judge: dict[str, Any] = Field(default_factory=dict)
    experiment: str | None = None
    weights: str = ""
    inference: Inference | None = None
    voting: Voting | None = None
    reward_model: str = ""
    items: dict[str, ItemScores] = Field(default_factory=dict, exclude=True, repr=False)

    @property
    def value(self) -> Measured:
        """The primary metric."""
        return self.metrics[self.primary]


class Comparison(BaseModel):
    """How an experiment stands against an earlier one on the same items of the dev split.

    Attributes:
        a: The earlier one, the parent as a rule.
        b: The experiment that the verdict is about.
        value_a: The metric of ``a``, the mean of its seeds.
        value_b: The metric of ``b``, the mean of its seeds.
        difference: ``value_b - value_a``.
        low: Lower end of the 95 % interval of the difference.
        high: Upper end of it.
        p: Two-sided p value of "no difference".
        n: Items (clusters, where items come in groups) that were compared.
        verdict: ``better`` means that ``b`` is better than ``a``, after the correction for `variants`.
        method: The test.
        seeds_a: Seeds of ``a``'s configuration that were measured.
        seeds_b: The same of ``b``'s.
        variants: Configurations held against ``a``'s on this metric, this one included.
        p_corrected: p after Holm's correction for so many.
        confirmed: Did the gain hold on new seeds that the host drew? None: nobody has tried, or the seeds
            are too few to tell; `confirmation` says which.
        seeds_needed: Where the seeds are too few to tell: about how many of each would be enough; 0 where
            more items would be needed.
        new_seeds: Seeds of ``b`` that the host drew to confirm it.
        detectable: The difference that would have been seen four times in five.
        luck_of_best: How much better the best of so many equal variants looks on average.
        seed_spread: Of two runs of one configuration, the standard deviation over its seeds.
        notes: What else a reader should know: other changes, one seed each, the luck of the best of many.
        says: The finding in words, notes included.
    """

    a: str
    b: str
    eval: str
    metric: str
    value_a: float
    value_b: float
    difference: float
    low: float
    high: float
    p: float
    n: int
    higher_is_better: bool
    verdict: Finding
    method: str
    seeds_a: int = 1
    seeds_b: int = 1
    variants: int = 1
    p_corrected: float | None = None
    confirmed: bool | None = None
    seeds_needed: int | None = None
    new_seeds: int = 0
    detectable: float | None = None
    luck_of_best: float | None = None
    seed_spread: float | None = None
    notes: list[str] = Field(default_factory=list)
    says: str = ""

    @property
    def pair(self) -> tuple[str, str, str, str]:
        """Of what it is: of all of one pair, eval and metric the newest stands."""
        return self.a, self.b, self.eval, self.metric

    @property
    def figures(self) -> str:
        """The difference with its interval and the seeds of both."""
        interval = f"[{self.low:+.4g}, {self.high:+.4g}]"
        return f"{self.difference:+.4g} {interval} on {self.seeds_a} and {self.seeds_b} seeds"

    @property
    def relative(self) -> float | None:
        """The difference as a share of ``value_a``."""
        return self.difference / self.value_a if self.value_a else None

    @property
    def confirmation(self) -> Literal["untried", "held", "lost", "open"]:
        """What new seeds said of the gain; ``open`` means that they are too few to tell."""
        if self.confirmed is not None:
            return "held" if self.confirmed else "lost"
        return "untried" if self.seeds_needed is None else "open"


class ReplacedComparison(Comparison):
    """What a comparison said until a later one of the same pair took its place.

    Attributes:
        replaced: When that was, seconds since the epoch.
    """

    replaced: float


class Cost(BaseModel):
    """What an experiment spent. ``usd`` is None where a price is not known, which is not zero."""

    seconds: float = 0.0
    usd: float | None = 0.0


class Publication(BaseModel):
    """A repository that an experiment was published to."""

    repo: str
    url: str
    commit: str


class Experiment(BaseModel):
    """One row of the ledger.

    Attributes:
        id: ``exp-1``, ``exp-2`` …
        hypothesis: What was expected, and why.
        change: The one thing that differs from the parent.
        parent: The experiment it is held against; None for a baseline.
        seed: Seed of the training.
        seed_by: Who chose the seed: the host, or the agent that asked for this one.
        replicates: The experiment whose configuration this one runs again on a seed that the host drew.
        also: What differs from the parent beside what `change` says.
        jobs: Its jobs, oldest first.
        config: What was run, merged over its jobs.
        data: Datasets by role: version, rows, hash.
        code_hash: Hash of the code that trained.
        environment: Versions and machine.
        facts: Other measured figures by name (parameters, tokens, final loss).
        dev: Metrics on the dev split.
        test: Metrics on the sealed test split; empty until the session froze this experiment.
        primary: The metric that decides, once something was measured.
        base: Of the model that its training began from: ``model`` (as it was asked for), and hashes of its
            ``weights``, its chat ``template`` and its ``tokenizer``, taken by the host at the launch.
        made: The hashes of ``template`` and ``tokenizer`` of the model that was scored last.
        model: Fingerprint of the weights that were scored last.
        inference: How answers are made of several samples of another experiment's model; set by best_of_n.
        frozen: Was this the experiment whose test split was opened?
        standing: How it stands among the others, in sentences; told by list_experiments, not kept.
    """

    model_config = ConfigDict(protected_namespaces=())

    id: str
    hypothesis: str
    change: str
    parent: str | None = None
    seed: int = 0
    seed_by: Literal["host", "agent"] = "host"
    replicates: str | None = None
    also: list[str] = Field(default_factory=list)
    jobs: list[str] = Field(default_factory=list)
    config: dict[str, Any] = Field(default_factory=dict)
    data: dict[str, Any] = Field(default_factory=dict)
    code_hash: str = ""
    environment: dict[str, Any] = Field(default_factory=dict)
    cost: Cost = Field(default_factory=Cost)
    facts: dict[str, float] = Field(default_factory=dict)
    dev: dict[str, Measured] = Field(default_factory=dict)
    test: dict[str, Measured] = Field(default_factory=dict)
    primary: str | None = None
    model: str = ""
    inference: Inference | None = None
    base: dict[str, str] = Field(default_factory=dict)
    made: dict[str, str] = Field(default_factory=dict)
    verdict: Verdict = "open"
    notes: str = ""
    frozen: bool = False
    published: list[Publication] = Field(default_factory=list)
    created: float = 0.0
    finished: float | None = None
    standing: list[str] = Field(default_factory=list)

    @property
    def metrics(self) -> dict[str, Measured]:
        """The dev metrics: what decisions are made from."""
        return self.dev

    @property
    def score(self) -> Measured | None:
        """The dev value of the metric that decides."""
        return self.dev.get(self.primary or "")

    def _repr_html_(self) -> str:
        from ml_intern.notebook.outcome import experiment

        return experiment(self)


class Number(NamedTuple):
    """A number that may be stated, and where it stands: ``exp-2 dev bits_per_byte``."""

    value: float
    source: str
