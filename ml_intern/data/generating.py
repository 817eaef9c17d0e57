"""Rows that a model writes: asked for in small numbers, checked one by one, counted where they are refused.

What comes back is untrusted text. A row is taken when it is an object with exactly the wanted columns, of the
wanted kinds and not empty, when it meets the user's rule, when it repeats neither a seed nor an earlier row
(but for case, digits and signs), and when it holds nothing that an evaluation holds out.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

from ml_intern.data.filtering import mask
from ml_intern.data.frames import frame
from ml_intern.data.table import GROUP_COLUMNS, is_messages, row_text, shorten
from ml_intern.data.tallies import folded
from ml_intern.errors import ToolError

if TYPE_CHECKING:
    import polars as pl

Kind = Literal["text", "number", "true or false", "messages"]
Row = dict[str, Any]

AT_ONCE = 10
"""Rows of one question: few enough that no reply is cut, many enough to pay for the instructions seldom."""
EXAMPLES, NEWEST = 4, 6
PATIENCE = 3
"""Questions in a row without a new row after which it is over."""
EXCESS = 3
"""Questions at the most, as a multiple of those that would do."""
SHOWN = 3
SHOWN_CHARS = 200

HELD_OUT = "holds a row of an evaluation"


@dataclass
class Drafts:
    """What was written: the rows that were taken, and why others were not.

    Attributes:
        rows: The rows that were taken.
        rejected: Others, by reason.
        examples: The first of each reason, shortened.
        proposed: All that were written.
        requests: Questions that were asked.
        tokens: In and out.
        usd: What they cost; None where the price is not known.
        model: Who wrote.
    """

    rows: list[Row] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    proposed: int = 0
    requests: int = 0
    tokens: list[int] = field(default_factory=lambda: [0, 0])
    usd: float | None = 0.0
    model: str = ""

    def refuse(self, why: str, row: Any) -> None:
        """Count a row that is not taken."""
        self.rejected[why] += 1
        shown = self.examples.setdefault(why, [])
        if len(shown) < SHOWN and why != HELD_OUT:
            shown.append(str(shorten(row if isinstance(row, str) else json.dumps(row), SHOWN_CHARS)))


class Writer:
    """Takes replies and says what to ask next.

    Args:
        instructions: What to write, in the user's words.
        columns: The columns of a row and what they hold.
        seeds: Rows that show the form; they are not part of the result.
        where: The user's rule, a condition as `filter_dataset` takes it.
        held_out: Positions of rows that hold what an evaluation holds out.
        seed: Decides which examples stand in which question.
    """

    def __init__(
        self,
        instructions: str,
        columns: Mapping[str, Kind],
        seeds: Sequence[Row],
        where: str | None,
        held_out: Callable[[Iterable[Row]], Mapping[int, str]],
        seed: int,
    ) -> None:
        self.instructions, self.columns, self.where = instructions, dict(columns), where
        self.drafts = Drafts()
        self._seeds = [{name: row[name] for name in columns} for row in seeds]
        self._held_out, self._seed = held_out, seed
        self._known = set(self._keys(self._seeds))
        # A rule that cannot be used is told before anything is paid.
        self._meeting([{name: _LIKE[kind] for name, kind in columns.items()}])

    def question(self, count: int) -> list[dict[str, str]]:
        """The messages that ask for so many rows."""
        drafts = self.drafts
        draw = random.Random(f"{self._seed} {drafts.requests}")
        examples = draw.sample(self._seeds, min(EXAMPLES, len(self._seeds)))
        told = {
            "instructions": self.instructions.strip(),
            "columns": {name: _KIND_WORDS[kind] for name, kind in self.columns.items()},
            "examples": [json.dumps(row, ensure_ascii=False) for row in examples],
            "newest": [json.dumps(row, ensure_ascii=False)[:SHOWN_CHARS] for row in drafts.rows[-NEWEST:]],
            "complaints": "; ".join(why for why, _ in drafts.rejected.most_common(3)),
            "count": count,
        }
        return [{"role": role, "content": _render(name, told)} for role, name in _MESSAGES]

    def take(self, reply: str, most: int) -> int:
        """Check the rows of a reply and keep at most so many; how many are new."""
        drafts, before = self.drafts, len(self.drafts.rows)
        drafts.requests += 1
        sound = []
        for row in read_rows(reply):
            drafts.proposed += 1
            if why := self._wrong(row):
                drafts.refuse(why, row)
            else:
                sound.append(row)
        held = self._held_out(sound)
        rule = self._meeting(sound)
        for at, (row, key) in enumerate(zip(sound, self._keys(sound), strict=True)):
            if at in held:
                drafts.refuse(HELD_OUT, row)
            elif not rule[at]:
                drafts.refuse(f"does not meet {self.where!r}", row)
            elif key in self._known:
                drafts.refuse("repeats a seed or an earlier row", row)
            elif len(drafts.rows) - before >= most:
                drafts.refuse("is more than was asked for", row)
            else:
                self._known.add(key)
                drafts.rows.append(row)
        return len(drafts.rows) - before

    def _wrong(self, row: Any) -> str:
        if not isinstance(row, dict):
            return "is no object of JSON"
        if set(row) != set(self.columns):
            return f"has other keys than {', '.join(self.columns)}"
        wrong = (name for name, kind in self.columns.items() if not _holds(row[name], kind))
        name = next(wrong, None)
        return f"{name!r} is empty or no {_KIND_WORDS[self.columns[name]]}" if name else ""

    def _meeting(self, rows: Sequence[Row]) -> list[bool]:
        if self.where is None or not rows:
            return [True] * len(rows)
        found: list[bool] = mask(frame("rows", list(rows), []), self.where).to_list()
        return found

    def _keys(self, rows: Sequence[Row]) -> list[str]:
        import polars as pl

        texts = pl.Series([row_text(row, list(self.columns)) for row in rows], dtype=pl.String)
        return list(folded(texts).to_list()) if rows else []


def columns_of_seeds(seeds: pl.DataFrame) -> dict[str, Kind]:
    """The columns that rows like these have.

    Raises:
        ToolError: A column holds something that a model cannot be asked for.
    """
    import polars as pl

    found: dict[str, Kind] = {}
    for name, dtype in seeds.schema.items():
        if name in GROUP_COLUMNS:
            continue
        if is_messages(seeds, name):
            found[name] = "messages"
        elif dtype == pl.Boolean:
            found[name] = "true or false"
        elif dtype == pl.String or dtype.is_numeric():
            found[name] = "text" if dtype == pl.String else "number"
        else:
            raise ToolError(
                f"The seeds' column {name!r} holds neither text, numbers nor messages.",
                "Leave it out of the seeds, or name the columns: columns={'prompt': 'text'}.",
            )
    return found


def read_rows(reply: str) -> list[Any]:
    """What a reply holds: JSON lines, a list, or either in a fence; a line that is no JSON comes as it is."""
    lines = [line for line in reply.strip().splitlines() if not line.strip().startswith("```")]
    try:
        whole = json.loads("\n".join(lines))
        return whole if isinstance(whole, list) else [whole]
    except (ValueError, RecursionError):
        return [_line(line) for line in lines if line.strip()]


def _line(line: str) -> Any:
    try:
        return json.loads(line.strip().rstrip(","))
    except (ValueError, RecursionError):
        return line.strip()


def _holds(value: Any, kind: Kind) -> bool:
    if kind == "text":
        return isinstance(value, str) and bool(value.strip())
    if kind == "true or false":
        return isinstance(value, bool)
    if kind == "number":
        return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 2**63
    return isinstance(value, list) and bool(value) and all(map(_is_message, value))


def _is_message(value: Any) -> bool:
    if not isinstance(value, dict) or set(value) != {"role", "content"}:
        return False
    content = value["content"]
    return value["role"] in ("system", "user", "assistant") and isinstance(content, str) and bool(content)


_KIND_WORDS: dict[Kind, str] = {
    "text": "text",
    "number": "number",
    "true or false": "true or false",
    "messages": 'list of {"role": "user" or "assistant", "content": text}',
}
_LIKE: dict[Kind, Any] = {
    "text": "text",
    "number": 1.0,
    "true or false": True,
    "messages": [{"role": "user", "content": "text"}],
}
_MESSAGES = (("system", "system"), ("user", "request"))


@lru_cache(maxsize=1)
def _templates() -> dict[str, str]:
    import yaml

    text = resources.files("ml_intern.prompts").joinpath("generating.yaml").read_text(encoding="utf-8")
    loaded: dict[str, str] = yaml.safe_load(text)
    return loaded


def _render(name: str, told: Mapping[str, Any]) -> str:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_templates()[name]).render(**told).strip()
