"""Answers against a rubric: criteria with points, some of which code can check and the rest a judge.

A rubric is plain text, each line a criterion of one point, or JSON: a list of
``{"criterion": "…", "points": 2}``. Points below zero are for what an answer must not do. A criterion with a
``regex`` is met where that is found in the answer, and needs no judge. The score is what was earned over what
could be earned, held between 0 and 1, as HealthBench (arXiv 2505.08775) has it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ml_intern.errors import ToolError
from ml_intern.evals.apart import START_S, ask_apart
from ml_intern.evals.judging import LONGEST, Question, judge_all
from ml_intern.evals.means import Means
from ml_intern.evals.model import Item

PATTERNS = Path(__file__).with_name("patterns_child.py")
PATTERN_S = 2.0
"""Longest search for one pattern in one answer."""
MOST = 100
"""Criteria of one item."""
_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+")


class Criterion(BaseModel):
    """One thing that an answer should do, or with points below zero must not.

    Attributes:
        criterion: What is looked for, in words.
        points: What it is worth.
        regex: A pattern that, found in the answer, meets it; the judge is not asked then.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    criterion: str = Field(min_length=1)
    points: float = Field(1.0, allow_inf_nan=False)
    regex: str | None = Field(default=None, min_length=1)


_LIST = TypeAdapter(list[Criterion])


@lru_cache(maxsize=65_536)
def read_rubric(text: str, where: str = "the rubric") -> tuple[Criterion, ...]:
    """The criteria of a rubric.

    Raises:
        ToolError: There are none, too many, none with points above zero, or a pattern is broken.
    """
    found = tuple(_criteria(text, where))
    if not 1 <= len(found) <= MOST:
        raise ToolError(f"{where} has a rubric of {len(found)} criteria; there are to be 1 to {MOST}.")
    if not any(c.points > 0 for c in found):
        raise ToolError(f"{where} has a rubric in which nothing can be earned: all points are 0 or less.")
    for c in found:
        try:
            re.compile(c.regex or "")
        except re.error as error:
            raise ToolError(f"{where}: the regex {c.regex!r} of its rubric is broken: {error}.") from None
    return found


def _criteria(text: str, where: str) -> list[Criterion]:
    if not text.lstrip().startswith(("[", "{")):
        lines = (_BULLET.sub("", line).strip() for line in text.splitlines())
        return [Criterion(criterion=line, points=1) for line in lines if line]
    try:
        given = json.loads(text)
        given = given.get("criteria", given) if isinstance(given, dict) else given
        return _LIST.validate_python([{"criterion": c} if isinstance(c, str) else c for c in given])
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        at = ".".join(map(str, first["loc"]))
        raise ToolError(f"{where}: its rubric's {at} is wrong: {first['msg'].lower()}.") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise ToolError(f"{where}: its rubric looks like JSON and is none: {error}.") from None


def needs_judge(items: Sequence[Item]) -> bool:
    """Whether any criterion is for a judge to say."""
    return any(c.regex is None for item in items for c in read_rubric(item.rubric or ""))


def shares(items: Sequence[Item], answers: Sequence[str], means: Means) -> list[float]:
    """For each answer the share of its rubric's points that it earns, between 0 and 1.

    Raises:
        ToolError: There is no judge, or it gives too many answers no verdict.
    """
    rubrics = [read_rubric(item.rubric or "") for item in items]
    asked = [[at for at, c in enumerate(rubric) if c.regex is None] for rubric in rubrics]
    questions = [
        Question(item.input, answer, tuple(rubric[at].criterion for at in open_))
        for item, answer, rubric, open_ in zip(items, answers, rubrics, asked, strict=True)
    ]
    verdicts = judge_all(questions, means) if any(asked) else [()] * len(items)
    found = []
    matches = _matches(rubrics, answers, means)
    for rubric, met, open_, verdict in zip(rubrics, matches, asked, verdicts, strict=True):
        for at, said in zip(open_, verdict, strict=True):
            met[at] = said
        found.append(earned(rubric, met))
    return found


def _matches(
    rubrics: Sequence[Sequence[Criterion]], answers: Sequence[str], means: Means
) -> list[list[bool]]:
    """For each answer which patterns of its rubric are in it; what is no pattern is not."""
    pairs = [(c.regex, answer) for r, answer in zip(rubrics, answers, strict=True) for c in r]
    rows = [(pattern, answer[:LONGEST]) for pattern, answer in pairs if pattern is not None]
    said = ask_apart(PATTERNS, rows, PATTERN_S, START_S + PATTERN_S * len(rows) / 10)
    if said.lost:
        means.notes.append(f"{said.lost} of {len(rows)} patterns took too long to look for: not met.")
    lines = iter(said.lines)
    return [[c.regex is not None and next(lines) == "yes" for c in r] for r in rubrics]


def earned(rubric: Sequence[Criterion], met: Sequence[bool]) -> float:
    """Points of what is met over the points above zero, held between 0 and 1."""
    points = sum(c.points for c, yes in zip(rubric, met, strict=True) if yes)
    return min(1.0, max(0.0, points / sum(c.points for c in rubric if c.points > 0)))
