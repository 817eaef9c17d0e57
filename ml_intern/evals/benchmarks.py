"""Benchmarks by name, as data: where each lies on the Hub and how its rows become items.

The table is ``benchmarks.toml`` beside this file. What a row of it may say is `Benchmark`; a row that says
something else is refused in one line.
"""

from __future__ import annotations

import datetime
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ml_intern.errors import UsageError
from ml_intern.evals.scorers import SCORERS
from ml_intern.tooling import did_you_mean

TABLE = Path(__file__).with_name("benchmarks.toml")
_REPOSITORY = r"[\w-][\w.-]*/[\w.-]+"
_SOURCE = rf"{_REPOSITORY}(?::[\w.-]+)?"


class Benchmark(BaseModel):
    """A row of the table. Templates name columns in braces, ``{question}`` or ``{choices.text}`` below one.

    Attributes:
        name: What ``--eval`` calls it.
        about: One line for people.
        source: The paper or page that describes it.
        checked: What its facts were held against.
        repository: ``owner/name`` of the dataset on the Hub.
        mirrors: Copies that are closed as well, ``owner/name`` or ``owner/name:split``.
        config: The dataset's configuration.
        revision: Branch, tag or commit; nothing: the newest.
        dev: The split that scores may be asked of; nothing: half of `test`, by the hash of the content.
        test: The split that is scored once.
        train: A split that is open for training. Without one the whole repository is closed.
        input: Template of what is asked.
        target: Template of what is right: a text; or, with options, their index, letter, label or text.
        choices: Templates of the options; one alone may name a column that holds a list.
        options: The options where they are the same for each row.
        labels: What the options are called, where the target says that: a template of a list, or a list.
        right: Which option is right, where that is so in each row.
        shuffle: Put the options into an order that hangs on their content alone.
        letters: Score the letters A, B, C … of the options that the prompt shows, in place of their texts.
        continues: The input is the beginning of a program, and the completion its rest.
        tests: Template of the Python source that checks an answer's program.
        rubric: Template of what a judge is told to look for.
        slice: Template of the part of the benchmark that a row belongs to.
        clean: What is done to texts beforehand: see `ml_intern.evals.shaping.CLEANERS`.
        prompt: How the model is asked, with ``{input}`` and ``{choices}``; nothing: the input alone.
        chat: Put the prompt into the model's chat template.
        stop: Completions end before these words.
        max_new_tokens: Longest completion.
        scorers: Its metrics.
        primary: The one that decides; nothing: the first.
        licence: As the dataset's card says; empty where it does not.
        gated: Whether the Hub wants its terms accepted first.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    about: str = Field(min_length=1)
    source: str = Field(pattern=r"^https://")
    checked: str = "memory"
    repository: str = Field(pattern=rf"^{_REPOSITORY}$")
    mirrors: list[str] = Field(default_factory=list)
    config: str = ""
    revision: str = ""
    dev: str = ""
    test: str
    train: str = ""
    input: str
    target: str = ""
    choices: list[str] = Field(default_factory=list)
    options: list[str] = Field(default_factory=list)
    labels: str | list[str] = ""
    right: int | None = Field(None, ge=0)
    shuffle: bool = False
    letters: bool = False
    continues: bool = False
    tests: str = ""
    rubric: str = ""
    slice: str = ""
    clean: Literal["", "after_hashes", "wikihow", "gap"] = ""
    prompt: str = ""
    chat: bool = False
    stop: list[str] = Field(default_factory=list)
    max_new_tokens: int = Field(64, ge=1)
    scorers: list[str] = Field(min_length=1)
    primary: str = ""
    licence: str = ""
    gated: bool = False

    @model_validator(mode="after")
    def _fits_together(self) -> Benchmark:
        unknown = [s for s in self.scorers if s not in SCORERS]
        if unknown:
            raise ValueError(f"there is no scorer {unknown[0]!r}{did_you_mean(unknown[0], SCORERS)}")
        if self.primary and self.primary not in self.scorers:
            raise ValueError(f"primary {self.primary!r} is not among its scorers")
        wrong = [m for m in self.mirrors if not re.fullmatch(_SOURCE, m)]
        if wrong:
            raise ValueError(f"the mirror {wrong[0]!r} is no owner/name or owner/name:split")
        if self.choices and self.options:
            raise ValueError("it has both choices and options")
        optional = bool(self.choices or self.options)
        if optional and (self.right is None) == (not self.target):
            raise ValueError("either target or right says which option is right")
        if not optional and (self.labels or self.shuffle or self.letters or self.right is not None):
            raise ValueError("labels, right, shuffle and letters need choices")
        if self.letters and "{choices}" not in self.prompt:
            raise ValueError("letters needs a prompt that shows {choices}")
        if self.dev == self.test:
            raise ValueError("dev and test are the same split; leave dev out to halve it")
        if self.train and self.train in (self.dev, self.test):
            raise ValueError("the training split is one of those that are held out")
        return self

    @property
    def decides(self) -> str:
        """The metric that decides."""
        return self.primary or self.scorers[0]

    @property
    def splits(self) -> list[str]:
        """The splits that are held out."""
        return [s for s in (self.dev, self.test) if s]

    @property
    def closed(self) -> list[str]:
        """What no dataset tool opens from now on."""
        own = [f"{self.repository}:{s}" for s in self.splits] if self.train else [self.repository]
        return [*own, *self.mirrors]

    @property
    def page(self) -> str:
        """Its page on the Hub."""
        return f"https://huggingface.co/datasets/{self.repository}"


@cache
def benchmarks(table: Path = TABLE) -> dict[str, Benchmark]:
    """All benchmarks, by name.

    Raises:
        UsageError: The table is damaged; the row and field are named.
    """
    try:
        found = tomllib.loads(table.read_text("utf-8"))
        datetime.date.fromisoformat(str(found["date"]))
        rows: dict[str, Any] = dict(found["benchmarks"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"The table of benchmarks {table} cannot be read: {error}.") from None
    return {name: _row(table, name, row) for name, row in rows.items()}


def _row(table: Path, name: str, row: Any) -> Benchmark:
    try:
        return Benchmark.model_validate({**row, "name": name})
    except (ValidationError, TypeError) as error:
        where, told = "", "it is no table"
        if isinstance(error, ValidationError):
            first = error.errors(include_url=False)[0]
            where, told = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
        raise UsageError(
            f"The benchmark {name!r} in {table.name} is wrong{f' at {where}' if where else ''}: {told}."
        ) from None


def find(name: str) -> Benchmark | None:
    """The benchmark of a name; ``GSM8K`` and ``arc_easy`` are understood as well."""
    return benchmarks().get(name.lower().replace("_", "-"))


def missing(name: str) -> UsageError:
    """What is said where there is none of that name."""
    known = benchmarks()
    told = f"There is no benchmark {name!r}{did_you_mean(name.lower(), known)}."
    return UsageError(told, f"Give a .jsonl or .csv file, lm-eval:TASK, or one of {', '.join(known)}.")
