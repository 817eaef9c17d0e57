"""Do the rows fit into the model and below `max_length`? Read with the model's own tokenizer, without torch.

TRL leaves out what cannot be learned from: an example whose prompt alone fills `max_length` (sft, dpo), a
pair with an answer above it (reward). Where that is all of them, a training would find no rows minutes later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.jobs.recipes._conflicts import COMPLETION, LENGTH, window_problems

if TYPE_CHECKING:
    import polars as pl
    from tokenizers import Tokenizer

SAMPLE, SAMPLE_CHARS, ROW_CHARS = 1000, 4_000_000, 400_000
"""Rows that are read, evenly over the data, and characters of all of them and of one: a few seconds. What is
cut off only makes a row seem shorter than it is."""


@dataclass(frozen=True)
class Lengths:
    """Tokens of a row's columns, a row each; of a conversation at the least, as its template adds some.

    Attributes:
        rows: Of the data.
        read: Column to count of tokens, for each row that was read.
    """

    rows: int
    read: list[dict[str, int]]

    def share(self, of: list[bool]) -> str:
        """``all 3 rows``, or ``12 of 1000 rows``."""
        return f"all {self.rows} rows" if all(of) else f"{sum(of)} of {len(self.read)} rows"


def measure(folder: Path, rows: pl.DataFrame, columns: tuple[str, ...]) -> Lengths | None:
    """How long the rows are; None without a ``tokenizer.json`` that can be read."""
    tokenizer = tokenizer_of(folder)
    if tokenizer is None:
        return None
    every = max(1, -(-rows.height // SAMPLE))
    part = rows.gather_every(every).select(columns)
    part = part.head(max(1, int(SAMPLE_CHARS / max(1.0, part.estimated_size() / max(1, part.height)))))
    counted = {
        name: [len(e.ids) for e in tokenizer.encode_batch([_text(v) for v in part[name].to_list()])]
        for name in columns
    }
    return Lengths(
        rows.height, [dict(zip(counted, row, strict=True)) for row in zip(*counted.values(), strict=True)]
    )


def tokenizer_of(folder: Path) -> Tokenizer | None:
    """A model's tokenizer, which neither cuts nor pads; None without a readable ``tokenizer.json``."""
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception:  # noqa: BLE001  (the library raises nothing narrower; the job tells what is wrong with it)
        return None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def length_problems(
    method: str,
    trainer: Mapping[str, Any],
    window: int | None,
    lengths: Lengths | None,
    rotary: bool = False,
) -> list[str]:
    """What does not fit, each in a line.

    Args:
        method: The recipe, other than pretrain, whose rows are cut to fit.
        trainer: Its fields.
        window: What `window_of` found.
        lengths: What `measure` found.
        rotary: Whether positions are turned, not looked up: then a row beyond the last one does not break the
            training, and is only noted.
    """
    if method == "grpo":
        return list(_of_completions(trainer, window, lengths))
    wrong = window_problems(method, trainer, window)
    if not wrong and not rotary:
        wrong = list(_beyond(trainer, window, lengths))
    return [*wrong, *_nothing_left(method, trainer, lengths, all)]


def length_notes(
    method: str, trainer: Mapping[str, Any], window: int | None, lengths: Lengths | None
) -> list[str]:
    """What is not learned from, or learned at positions that are new to the model; nothing breaks of it."""
    if method == "grpo":
        return []
    return [*_beyond(trainer, window, lengths), *_nothing_left(method, trainer, lengths, _some)]


def _some(of: list[bool]) -> bool:
    return any(of) and not all(of)


def _beyond(fields: Mapping[str, Any], window: int | None, lengths: Lengths | None) -> Iterator[str]:
    limit = fields.get("max_length", LENGTH)
    if window is None or lengths is None or (limit is not None and limit <= window):
        return
    longest = max(sum(row.values()) for row in lengths.read)
    if longest > window:
        told = f"rows have up to {longest} tokens and the model {window} positions"
        yield f"{told}: max_length={window} cuts them, or start from a model with more"


def _nothing_left(
    method: str, fields: Mapping[str, Any], lengths: Lengths | None, when: Any
) -> Iterator[str]:
    limit = fields.get("max_length", LENGTH)
    if lengths is None or limit is None or not lengths.read:
        return
    row = lengths.read[0]
    if method == "reward":
        lost = [r.get("prompt", 0) + max(r["chosen"], r["rejected"]) > limit for r in lengths.read]
        told, need = (
            "have an answer that is longer",
            max(r.get("prompt", 0) + max(r["chosen"], r["rejected"]) for r in lengths.read),
        )
    elif "prompt" in row and fields.get("completion_only_loss") is not False:
        lost = [r["prompt"] >= limit for r in lengths.read]
        told, need = "have a prompt that fills it", max(sum(r.values()) for r in lengths.read)
    else:
        return
    if when(lost) and fields.get("truncation_mode") != "keep_end":
        left = "nothing is left to train on" if all(lost) else "they are left out"
        told = f"max_length = {limit}: {lengths.share(lost)} {told}, {left}"
        yield f"{told}; the longest need {need} tokens"


def _of_completions(fields: Mapping[str, Any], window: int | None, lengths: Lengths | None) -> Iterator[str]:
    if wrong := window_problems("grpo", fields, window):
        yield from wrong
    elif window is not None and lengths:
        length = fields.get("max_completion_length", COMPLETION) or 0
        longest = max(row["prompt"] for row in lengths.read)
        if longest + length > window:
            told = (
                f"a prompt of {longest} tokens and max_completion_length = {length} are more than the model's"
            )
            right = f"max_completion_length={window - longest}" if longest < window else "shorter prompts"
            yield f"{told} {window} tokens: {right}"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "\n".join(str(m.get("content") or "") for m in value if isinstance(m, dict))
    return "" if value is None else str(value)[:ROW_CHARS]
