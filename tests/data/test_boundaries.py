"""Prompts whose end grows into their completion: told with a tokenizer that merges, never with one of bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tokenizers import Tokenizer

from ml_intern.data.boundaries import cut_prompts
from ml_intern.jobs.recipes._tokenizer import make_tokenizer, read_order

TEXTS = [f"What is {n} + {n}? Answer: {2 * n}" for n in range(200)]


def tokenizer_of(order: Any, folder: Path) -> Tokenizer:
    make_tokenizer(read_order(order), TEXTS).save_pretrained(folder)
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


@pytest.fixture
def bpe(tmp_path: Path) -> Tokenizer:
    return tokenizer_of({"type": "bpe", "vocab_size": 400}, tmp_path)


def pairs(end: str, start: str, n: int = 50, **more: str) -> pl.DataFrame:
    rows = [
        {"prompt": f"What is {k} + {k}? Answer:{end}", "completion": f"{start}{2 * k}", **more}
        for k in range(n)
    ]
    return pl.DataFrame(rows)


def test_a_space_at_the_end_of_a_prompt_is_told_with_what_to_do(bpe: Tokenizer) -> None:
    told = cut_prompts(pairs(" ", ""), bpe)
    assert told.startswith("50 of 50 rows (rows 0, 1, 2 …) have a prompt whose end, ' ', is other tokens")
    assert "move the white space from the end of the prompts to the beginning of the completions" in told
    assert cut_prompts(pairs("", " "), bpe) == "", "what it says to do helps"


def test_only_the_rows_that_are_cut_are_counted(bpe: Tokenizer) -> None:
    rows = pl.concat([pairs("", " ", 30), pairs(" ", "", 2)])
    assert cut_prompts(rows, bpe).startswith("2 of 32 rows (rows 30, 31) have")


def test_a_prompt_that_ends_within_a_word_gets_other_advice(bpe: Tokenizer) -> None:
    rows = pl.DataFrame({"prompt": ["What is 1 + 1? Ans"], "completion": ["wer: 2"]})
    told = cut_prompts(rows, bpe)
    assert "end the prompts where a token ends" in told and "white space" not in told


@pytest.mark.parametrize("order", ["byte", "char"])
def test_a_tokenizer_that_merges_nothing_gives_no_alarm(tmp_path: Path, order: str) -> None:
    tokenizer = tokenizer_of(order, tmp_path)
    assert cut_prompts(pairs(" ", ""), tokenizer) == "" == cut_prompts(pairs("\n", "\n"), tokenizer)


def test_pairs_of_answers_are_looked_at_and_other_shapes_are_not(bpe: Tokenizer) -> None:
    rows = pairs(" ", "").rename({"completion": "chosen"}).with_columns(rejected=pl.lit(" none"))
    assert cut_prompts(rows, bpe).startswith("50 of 50 rows")
    chat = pl.DataFrame({"prompt": [[{"role": "user", "content": "a "}]], "completion": ["b"]})
    for other in (pl.DataFrame({"text": TEXTS}), chat, rows.select("prompt"), rows.head(0)):
        assert cut_prompts(other, bpe) == ""
    assert cut_prompts(pl.DataFrame({"prompt": ["a ", None], "completion": [None, "b"]}), bpe) == ""


@pytest.mark.thorough
@pytest.mark.slow
def test_it_finds_what_trl_finds(tmp_path: Path) -> None:
    from trl.data_utils import common_prefix_length

    made = make_tokenizer(read_order({"type": "bpe", "vocab_size": 400}), TEXTS)
    made.save_pretrained(tmp_path)
    reader = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    rows = pl.concat([pairs(end, start, 5) for end in ("", " ", "\n", "  ") for start in ("", " ", "\n")])
    cut = 0
    for row in rows.iter_rows(named=True):
        alone, both = made(row["prompt"])["input_ids"], made(row["prompt"] + row["completion"])["input_ids"]
        cut += common_prefix_length(alone, both) < len(alone)
    assert 0 < cut < rows.height and cut_prompts(rows, reader).startswith(f"{cut} of {rows.height} rows")
