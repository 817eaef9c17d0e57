"""The words of ``ml_intern.json``, as far as a reproduction needs them: typed and bounded, never trusted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ml_intern.errors import UsageError

FILE = "ml_intern.json"
MAX_BYTES = 16 << 20
_DEEPEST = 40
_REF = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,95}@\d{1,9}$"
_NAME = r"^[A-Za-z0-9][\w.-]{0,95}$"
_SHA = r"^(|[0-9a-f]{64})$"

Short = Annotated[str, Field(max_length=400)]
Sha = Annotated[str, Field(pattern=_SHA)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=10**12)]
Seconds = Annotated[float, Field(ge=0, le=10**9, allow_inf_nan=False)]


class _Words(BaseModel):
    model_config = ConfigDict(extra="ignore", protected_namespaces=(), strict=False)


class Value(_Words):
    """A measured value of the card with its interval."""

    value: Finite
    low: Finite
    high: Finite
    n: Count = 0
    higher_is_better: bool = True

    @model_validator(mode="after")
    def _in_order(self) -> Value:
        if self.low > self.high:
            raise ValueError("the interval ends before it begins")
        return self


class Row(_Words):
    """A dataset and how it was made."""

    id: str = Field(pattern=_REF)
    rows: Count
    rows_before: Count = 0
    operation: str = Field(pattern=r"^[a-z_]{1,40}$")
    arguments: dict[str, Any] = Field(default_factory=dict)
    source: str = Field(max_length=2000)
    sha256: Sha
    revision: str = Field(default="", pattern=r"^[\w.-]{0,100}$")
    source_sha256: str = Field(default="", max_length=4000)
    parents: list[Annotated[str, Field(pattern=_REF)]] = Field(default_factory=list, max_length=200)
    created: Finite = 0.0

    @property
    def name(self) -> str:
        """Without its version."""
        return self.id.partition("@")[0]


class Base(_Words):
    """What a training started from; one of the four is there."""

    job: str | None = Field(default=None, pattern=_NAME)
    hub: str | None = Field(default=None, pattern=r"^[\w-][\w.-]*/[\w-][\w.-]*$", max_length=200)
    revision: str = Field(default="", pattern=r"^[\w.-]{0,100}$")
    path: Short | None = None
    scratch: str | dict[str, Any] | None = None

    @model_validator(mode="after")
    def _one(self) -> Base:
        if sum(v is not None for v in (self.job, self.hub, self.path, self.scratch)) != 1:
            raise ValueError("a model starts from one thing: a job, a Hub id, a path or scratch")
        return self


class Trained(_Words):
    """A training as it was asked."""

    name: str = Field(pattern=_NAME)
    experiment: str | None = Field(default=None, max_length=100)
    method: str = Field(pattern=r"^[a-z_]{1,20}$")
    model: Base
    base_sha256: Sha = ""
    dataset: str = Field(default="", pattern=rf"^$|{_REF}")
    datasets: list[Annotated[str, Field(pattern=_REF)]] = Field(default_factory=list, max_length=200)
    config: dict[str, Any] = Field(default_factory=dict)
    seed: int = Field(default=0, ge=0, le=2**63)
    code_sha256: Sha = ""
    threads: int = Field(default=1, ge=1, le=4096)
    compute: Short = "local"
    on_cpu: bool = False
    seconds: Seconds = 0.0
    stop_when: Short | None = None
    changed: dict[str, Any] = Field(default_factory=dict)
    fingerprint: Sha = ""
    files: dict[Short, Sha] = Field(default_factory=dict, max_length=500)
    recipe_config: dict[str, Any] = Field(default_factory=dict)


class Scored(_Words):
    """An evaluation that the model was scored on."""

    name: str = Field(pattern=_NAME)
    sha256: Sha = ""
    scorers: list[Short] = Field(default_factory=list, max_length=50)
    primary: Short = ""
    splits: list[Short] = Field(default_factory=list, max_length=10)


class Published(_Words):
    """The ledger's row of the published experiment."""

    id: str = Field(pattern=_NAME)
    seed: int = Field(default=0, ge=0, le=2**63)
    config: dict[str, Any] = Field(default_factory=dict)
    code_hash: Sha = ""
    environment: dict[str, Any] = Field(default_factory=dict)
    facts: dict[Short, Finite] = Field(default_factory=dict, max_length=500)
    dev: dict[Short, Value] = Field(default_factory=dict, max_length=200)
    test: dict[Short, Value] = Field(default_factory=dict, max_length=200)
    primary: Short | None = None
    model: Sha = ""

    @field_validator("environment")
    @classmethod
    def _small(cls, given: dict[str, Any]) -> dict[str, Any]:
        packages = given.get("packages")
        if packages is not None and not isinstance(packages, dict):
            raise ValueError("packages is no table of versions")
        return given


class Card(_Words):
    """What a published model says of itself."""

    session: Short = ""
    experiment: Published
    data: list[Row] = Field(default_factory=list, max_length=1000)
    trainings: list[Trained] = Field(default_factory=list, max_length=200)
    evals: list[Scored] = Field(default_factory=list, max_length=50)
    comparisons: list[dict[str, Any]] = Field(default_factory=list, max_length=10_000)

    @model_validator(mode="after")
    def _whole(self) -> Card:
        for what, names in (
            ("dataset", [row.id for row in self.data]),
            ("training", [job.name for job in self.trainings]),
        ):
            if twice := next((n for n in names if names.count(n) > 1), None):
                raise ValueError(f"the {what} {twice!r} stands there twice")
        before: set[str] = set()
        for job in self.trainings:
            if job.model.job is not None and job.model.job not in before:
                raise ValueError(f"{job.name} starts from {job.model.job!r}, which is not trained before it")
            before.add(job.name)
        return self

    @property
    def last(self) -> Trained | None:
        """The training that made the published model."""
        return self.trainings[-1] if self.trainings else None

    def row(self, id: str) -> Row | None:
        """The dataset of that id."""
        return next((row for row in self.data if row.id == id), None)


def read_card(path: Path) -> Card:
    """Read and check a file.

    Raises:
        UsageError: It cannot be read, or is no card that `publish_model` writes. One line says what is wrong.
    """
    name = path.name
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{name} has more than {MAX_BYTES >> 20} MB: it is no card of ours.")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{str(path)!r} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UsageError(f"{name} is not text in UTF-8.") from None
    return parse_card(text, name)


def parse_card(text: str, name: str = FILE) -> Card:
    """The card in a text; see `read_card`."""
    try:
        found = json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise UsageError(f"{name} is nested too deep.") from None
    except ValueError as error:
        raise UsageError(f"{name} is not JSON: {_line(error)}.") from None
    if not isinstance(found, dict) or "experiment" not in found:
        raise UsageError(f"{name} is no card that publish_model wrote: it has no experiment.")
    if max(_depths(found)) > _DEEPEST:
        raise UsageError(f"{name} is nested too deep.")
    try:
        card = Card.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part)[:60] for part in first["loc"]) or "the whole"
        told = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"{name} is wrong in {_line(where)}: {_line(told)}.") from None
    _check_circles(card, name)
    return card


def _check_circles(card: Card, name: str) -> None:
    """Each dataset is made of others that are made without it."""
    rows = {row.id: row for row in card.data}
    state: dict[str, int] = {}
    for start in rows:
        stack = [(start, iter(rows[start].parents))]
        while stack:
            at, parents = stack[-1]
            state[at] = 1
            nxt = next((p for p in parents if p in rows and state.get(p) != 2), None)
            if nxt is None:
                state[at] = 2
                stack.pop()
            elif state.get(nxt) == 1:
                raise UsageError(f"{name} is wrong in data: {nxt!r} is made of itself.")
            else:
                stack.append((nxt, iter(rows[nxt].parents)))


def _depths(value: Any) -> Iterator[int]:
    waiting = [(value, 1)]
    while waiting:
        inner, depth = waiting.pop()
        yield depth
        children = inner.values() if isinstance(inner, dict) else inner if isinstance(inner, list) else ()
        waiting += [(child, depth + 1) for child in children]


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")


def _line(value: object) -> str:
    """One printable line, not long."""
    text = re.sub(r"[^\x20-\x7e\u00a0-\uffff]", "�", " ".join(str(value).split()))
    return text[:300].rstrip(".")
