"""The same functions on public data, where it is at hand (a sibling folder of the checkout)."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_intern.data.audit import audit
from ml_intern.data.formats import reformat
from ml_intern.data.sources import read_path
from ml_intern.data.splitting import split, texts_of

DATA = Path(__file__).parents[3] / "shared" / "data"


def _at_hand(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"the public data set {name} is not at hand")
    return path


def test_a_play_is_read_by_paragraphs() -> None:
    table = read_path(_at_hand("tinyshakespeare/input.txt"), "play")
    assert (table.unit, table.rows.height) == ("paragraphs", 7222)
    assert table.rows["text"][0].startswith("First Citizen:\nBefore we proceed")


def test_names_are_read_by_lines_and_split_without_a_name_on_both_sides() -> None:
    table = read_path(_at_hand("names/names.txt"), "names")
    assert (table.unit, table.rows.height) == ("lines", 32033)
    assert audit(table.rows, "names").python_parse_share is None
    parts = split(table.rows, {"train": 0.9, "dev": 0.05, "test": 0.05})
    names = [set(part["text"]) for part in parts.rows.values()]
    assert sum(map(len, names)) == len(set.union(*names)) == 29494


def test_school_problems_have_splits_without_leaks() -> None:
    folder = _at_hand("gsm8k")
    train, test = read_path(folder, "gsm8k"), read_path(folder, "gsm8k", "test")
    assert (train.rows.height, test.rows.height) == (7473, 1319)
    pairs, _ = reformat(train.rows, "prompt_completion")
    assert pairs.height == 7473
    known = {found[0] for found in texts_of(pairs)}
    assert not known & {found[0] for found in texts_of(reformat(test.rows, "prompt_completion")[0])}
