"""What the dataset tools answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from ml_intern.data.units import Unit


class DatasetView(BaseModel):
    """What a source holds.

    Attributes:
        format: The name of TRL's format that it has.
        methods: Training methods that take it as it is.
        group: Column whose groups a split keeps whole.
        sample: Rows, long values shortened.
        more: How to read on.
    """

    source: str
    split: str | None
    splits: list[str]
    rows: int
    columns: dict[str, str]
    unit: Unit | None
    group: str | None
    format: str
    methods: list[str]
    sample: list[dict[str, Any]]
    more: str
    notes: list[str] = Field(default_factory=list)


class MadeDataset(BaseModel):
    """A new dataset of the session. `id` is what other tools take; `path` is its file of JSON lines.

    Cells may read the file, until a split holds out some of its rows.
    """

    id: str
    rows_before: int
    rows: int
    columns: dict[str, str]
    format: str
    methods: list[str]
    path: Path
    notes: list[str] = Field(default_factory=list)


class FilteredDataset(MadeDataset):
    """A new dataset of the session, of some of the rows; with `left_out` they are `rows_before`.

    Attributes:
        left_out: Rows that were not kept, by why.
        pass_rates: Rows by the share of right samples, where a model was asked.
    """

    left_out: dict[str, int] = Field(default_factory=dict)
    pass_rates: dict[str, int] = Field(default_factory=dict)


class MixedPart(BaseModel):
    """One part of a mixture.

    Attributes:
        source: What was asked for.
        available: Rows that it has.
        rows: Rows of the mixture that come from it.
        different: Different rows among them.
        most: How often a row of it stands there at the most.
        share: Of the mixture.
    """

    source: str
    available: int
    rows: int
    different: int
    most: int
    share: float


class Mixture(MadeDataset):
    """A new dataset of the session, made of others."""

    parts: list[MixedPart] = Field(default_factory=list)


class GeneratedDataset(MadeDataset):
    """A new dataset of the session that a model wrote. `rows_before` are all rows that it wrote.

    Attributes:
        rejected: Rows that were left out, by reason.
        rejected_examples: Some of them, shortened.
        requests: Questions that were asked.
        tokens: In and out together.
        usd: What it cost; None where the price is not known.
        model: Who wrote.
    """

    rejected: dict[str, int] = Field(default_factory=dict)
    rejected_examples: dict[str, list[str]] = Field(default_factory=dict)
    requests: int = 0
    tokens: int = 0
    usd: float | None = None
    model: str = ""


class SplitResult(BaseModel):
    """What a split made. The rows of all splits and `left_out` together are `rows_before`.

    Attributes:
        train: Id of the dataset to train on.
        path: Its file of JSON lines, which cells may read.
        eval: Name of the sealed evaluation, for `evaluate`; None where nothing was sealed.
        rows_before: Rows of the source, with the held-out splits that it came with.
        rows: Rows of each split.
        left_out: Rows that went nowhere, by where they would have gone and why not.
        record: Where each row went, as JSON lines; None where rows were sealed: then the host keeps it.
        datasets: Ids of held-out splits that were not sealed.
        dropped_duplicates: Training rows left out because they repeat a held-out one.
        group: Column whose groups were kept whole.
        scorers: How the evaluation scores.
        primary: The scorer that decides.
    """

    train: str
    path: Path
    eval: str | None
    rows_before: int
    rows: dict[str, int]
    left_out: dict[str, int] = Field(default_factory=dict)
    record: Path | None = None
    datasets: dict[str, str] = Field(default_factory=dict)
    dropped_duplicates: int
    group: str | None
    scorers: list[str] = Field(default_factory=list)
    primary: str | None = None
    notes: list[str] = Field(default_factory=list)
