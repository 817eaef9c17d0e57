"""What measures a model was never near what trained it."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_intern.data.splitting import assign, split, texts_of
from ml_intern.data.table import normalise
from ml_intern.errors import ToolError

THREE = {"train": 0.8, "dev": 0.1, "test": 0.1}
words = st.text(alphabet="abcdé \n", min_size=1, max_size=6).filter(str.strip)


def _rows(texts: list[str], files: list[str] | None = None) -> pl.DataFrame:
    return pl.DataFrame({"text": texts, **({"file": files} if files else {})})


@settings(deadline=None)
@given(st.lists(st.tuples(words, st.integers(0, 12)), min_size=5, max_size=200), st.integers(0, 5))
def test_no_text_and_no_group_is_in_two_splits(found: list[tuple[str, int]], seed: int) -> None:
    rows = _rows([text for text, _ in found], [f"f{number}" for _, number in found])
    try:
        parts = split(rows, THREE, seed=seed, group="file")
    except ToolError as error:
        assert "groups cannot make" in str(error) or "would be empty" in str(error) or "is left" in str(error)
        return
    texts = {name: {normalise(t) for t in part["text"]} for name, part in parts.rows.items()}
    files = {name: set(part["file"]) for name, part in parts.rows.items()}
    for a, b in (("train", "dev"), ("train", "test"), ("dev", "test")):
        assert texts[a].isdisjoint(texts[b])
        assert files[a].isdisjoint(files[b])
    assert sum(len(part) for part in parts.rows.values()) <= rows.height


@settings(deadline=None)
@given(st.lists(words, min_size=10, max_size=100), st.integers(0, 5), st.randoms())
def test_the_same_seed_is_the_same_split_in_any_order(texts: list[str], seed: int, order: object) -> None:
    shuffled = sorted(texts)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    try:
        first, second = split(_rows(texts), THREE, seed=seed), split(_rows(shuffled), THREE, seed=seed)
    except ToolError:
        return
    for name in THREE:
        assert {normalise(t) for t in first.rows[name]["text"]} == {
            normalise(t) for t in second.rows[name]["text"]
        }


@given(st.lists(st.integers(1, 40), min_size=30, max_size=120), st.integers(0, 9))
def test_sizes_are_near_the_fractions(sizes: list[int], seed: int) -> None:
    groups = [group for group, size in enumerate(sizes) for _ in range(size)]
    where = assign(groups, THREE, seed)
    for name, share in THREE.items():
        # A split can miss its share by one group at most.
        assert abs(where.count(name) - share * len(groups)) <= max(sizes) + 1


def test_another_seed_is_another_split() -> None:
    rows = _rows([f"row number {n}" for n in range(500)])
    assert (
        split(rows, THREE, seed=0).rows["test"]["text"].to_list()
        != split(rows, THREE, seed=1).rows["test"]["text"].to_list()
    )


def test_one_huge_file_goes_to_train() -> None:
    files = ["huge"] * 900 + [f"small{n // 10}" for n in range(100)]
    parts = split(_rows([f"text {n}" for n in range(1000)], files), THREE)
    assert "huge" in set(parts.rows["train"]["file"])
    assert len(parts.rows["dev"]) > 0
    assert len(parts.rows["test"]) > 0


def test_a_training_row_that_repeats_a_held_out_one_is_dropped() -> None:
    texts = [f"own text of file {n}" for n in range(50)]
    files = [f"f{n}" for n in range(50)]
    shared = ["License: MIT", "license:   mit", "ＬＩＣＥＮＳＥ: MIT"]
    rows = _rows(texts + shared * 20, files + [f"f{n % 50}" for n in range(60)])
    parts = split(rows, THREE, group="file")
    held = {normalise(t) for name in ("dev", "test") for t in parts.rows[name]["text"]}
    assert normalise(shared[0]) in held
    assert normalise(shared[0]) not in {normalise(t) for t in parts.rows["train"]["text"]}
    assert parts.dropped > 0


def test_a_held_out_text_that_is_a_line_of_a_training_row_drops_it() -> None:
    line = "The quick brown fox jumps over the lazy dog."
    rows = pl.DataFrame({"text": [f"Before.\n{line}\nAfter.", "Something else entirely, of the same kind."]})
    parts = split(rows, {"train": 0.9, "test": 0.1}, given={"test": _rows([line])})
    assert parts.rows["train"]["text"].to_list() == ["Something else entirely, of the same kind."]
    assert parts.dropped == 1


def test_held_out_rows_meet_a_condition_that_training_rows_need_not() -> None:
    texts = [f"value_{n} = {n}" if n % 2 else f"if value_{n}:" for n in range(200)]
    parts = split(_rows(texts), THREE, held_where="parses_python(text)")
    for name in ("dev", "test"):
        assert all("=" in text for text in parts.rows[name]["text"])
    assert any(text.endswith(":") for text in parts.rows["train"]["text"])


def test_most_rows_are_drawn_from_all_groups_alike() -> None:
    files = ["long"] * 300 + [f"short{n // 10}" for n in range(300)]
    rows = _rows([f"text {n}" for n in range(600)], files)
    parts = split(rows, {"train": 0.2, "dev": 0.8}, max_rows={"train": 50, "dev": 40})
    assert {name: len(part) for name, part in parts.rows.items()} == {"train": 50, "dev": 40}
    assert max(parts.rows["dev"]["file"].value_counts()["count"]) <= 4


def test_splits_that_a_source_has_are_kept() -> None:
    rows = _rows([f"train text {n}" for n in range(100)])
    test = _rows([f"test text {n}" for n in range(30)] + ["train text 5"])
    parts = split(rows, THREE, given={"test": test})
    assert sorted(parts.rows["test"]["text"]) == sorted(test["text"])
    assert "train text 5" not in {*parts.rows["train"]["text"], *parts.rows["dev"]["text"]}
    assert len(parts.rows["dev"]) == 11


def test_a_prompt_identifies_its_row() -> None:
    rows = pl.DataFrame(
        {"prompt": [f"question {n % 40}" for n in range(80)], "completion": [str(n) for n in range(80)]}
    )
    parts = split(rows, THREE)
    prompts = [set(part["prompt"]) for part in parts.rows.values()]
    assert sum(map(len, prompts)) == len(set.union(*prompts))


def test_a_conversation_is_identified_by_what_the_user_says() -> None:
    rows = pl.DataFrame(
        {"messages": [[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": c}] for c in "ab"]}
    )
    assert texts_of(rows) == [("hi",), ("hi",)]


def test_few_held_out_rows_are_told() -> None:
    assert "Few held-out rows" in split(_rows([str(n) for n in range(60)]), THREE).notes[0]


@pytest.mark.parametrize(
    ("fractions", "told"),
    [
        ({"train": 0.9, "dev": 0.2}, "add up to 1.1"),
        ({"train": 1.0}, "at least one of dev and test"),
        ({"dev": 0.5, "test": 0.5}, "needs train"),
        ({"train": 1.2, "test": -0.2}, "Each is above 0"),
        ({"train": 0.9, "hidden": 0.1}, "no split 'hidden'"),
    ],
)
def test_fractions_that_make_no_sense(fractions: dict[str, float], told: str) -> None:
    with pytest.raises(ToolError) as caught:
        split(_rows(["a", "b", "c"]), fractions)
    assert told in str(caught.value)


def test_other_words_for_dev() -> None:
    parts = split(
        _rows([str(n) for n in range(50)]), {"train": 0.8, "validation": 0.2}, max_rows={"valid": 3}
    )
    assert len(parts.rows["dev"]) == 3


@pytest.mark.parametrize(
    ("texts", "more", "told"),
    [
        (["same"] * 50, {}, "1 groups cannot make 3 splits"),
        ([f"if {n}:" for n in range(50)], {"held_where": "parses_python(text)"}, "would be empty"),
        ([str(n) for n in range(50)], {"group": "fiel"}, "There is no column 'fiel'"),
        ([str(n) for n in range(50)], {"max_rows": {"dve": 3}}, "max_rows['dve'] = 3 does not fit"),
        ([str(n) for n in range(50)], {"max_rows": {"dev": 0}}, "max_rows['dev'] = 0 does not fit"),
    ],
)
def test_rows_that_cannot_be_split(texts: list[str], more: dict[str, object], told: str) -> None:
    with pytest.raises(ToolError) as caught:
        split(_rows(texts), THREE, **more)  # type: ignore[arg-type]
    assert told in str(caught.value)


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)
