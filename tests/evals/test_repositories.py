"""Repositories of evaluations are refused by name, and copies of them by what is in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ml_intern.data import sealing
from ml_intern.data.store import DatasetStore
from ml_intern.errors import ToolError
from ml_intern.evals.store import Evals
from ml_intern.ledger import Ledger
from ml_intern.settings import Settings
from ml_intern.workspace.files import Files

WORDS = [
    "amber",
    "basalt",
    "copper",
    "dune",
    "ember",
    "fjord",
    "garnet",
    "heath",
    "island",
    "juniper",
    "kelp",
    "lagoon",
]
ROWS = [
    {
        "question": f"How far is it from {a} to {b} by way of {c}, if nobody stops at {d} for {n} days?",
        "answer": n,
    }
    for n, (a, b, c, d) in enumerate(
        zip(WORDS, WORDS[3:] + WORDS[:3], WORDS[5:] + WORDS[:5], WORDS[1:] + WORDS[:1], strict=True)
    )
]


@pytest.fixture
def evals(tmp_path: Path) -> Evals:
    nothing: Any = None
    return Evals(tmp_path / "evals", nothing, Ledger(tmp_path / "ledger.sqlite"), Settings(state=tmp_path))


@pytest.fixture
def fetched(tmp_path: Path) -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, evals: Evals, fetched: list[str]) -> DatasetStore:
    """A Hub whose repositories all have a clean train split, and the items as their test split."""

    def fetch(repository: str) -> Path:
        fetched.append(repository)
        folder = tmp_path / repository.replace("/", "-")
        folder.mkdir(exist_ok=True)
        clean = [{"question": f"A clean row about {word} and nothing else", "answer": 0} for word in WORDS]
        for split, rows in (("train", clean), ("test", ROWS)):
            (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return folder

    (tmp_path / "work").mkdir()
    return DatasetStore(tmp_path / "datasets", Files(tmp_path / "work", tmp_path), fetch, evals.refuse)


def register(evals: Evals, name: str = "distances", **more: Any) -> None:
    evals.register(name, ROWS, ["exact_match"], **more)


@pytest.mark.parametrize("source", ["owner/far", "Owner/Far:test", "owner/far:train"])
def test_a_whole_repository_is_refused_before_it_is_fetched(
    evals: Evals, store: DatasetStore, fetched: list[str], source: str
) -> None:
    register(evals, repositories=["owner/far"])
    with pytest.raises(
        ToolError, match="is where the sealed evaluation 'distances' comes from: no tool opens it"
    ):
        store.open(source)
    assert fetched == []


def test_a_split_is_refused_and_the_others_are_open(
    evals: Evals, store: DatasetStore, fetched: list[str]
) -> None:
    register(evals, repositories=["owner/far:test"])
    assert store.open("owner/far").rows.height == len(WORDS)
    assert store.open("owner/far:train").split == "train"
    fetched.clear()
    for source, split in (("owner/far:test", None), ("owner/far", "test")):
        with pytest.raises(ToolError, match=r"owner/far:test is where"):
            store.open(source, split)
    assert fetched == []
    assert evals.get("distances").repositories == ["owner/far:test"]


def test_a_namesake_counts_as_a_copy(evals: Evals, store: DatasetStore) -> None:
    register(evals, "far-away")
    assert store.open("somebody/Far_Away:train").rows.height == len(WORDS)
    with pytest.raises(ToolError, match="'far-away'"):
        store.open("somebody/Far_Away:test")


def test_a_renamed_copy_is_known_by_its_rows(evals: Evals, store: DatasetStore) -> None:
    register(evals, repositories=["owner/far"])
    table = store.open("thief/pretty-problems:test")
    with pytest.raises(ToolError, match=r"is a copy of the sealed evaluation distances: 12 of its 12 rows"):
        sealing.openly(evals, table)
    assert sealing.openly(evals, store.open("thief/pretty-problems:train")).notes == ()


def test_files_are_told_by_their_names(evals: Evals) -> None:
    register(evals, repositories=["owner/far:test"])
    evals.refuse("owner/far", path="README.md")
    evals.refuse("owner/far", path="main/train-00000.jsonl")
    evals.refuse("owner/near", path="main/test-00000.jsonl")
    with pytest.raises(ToolError):
        evals.refuse("owner/far", path="main/test-00000.jsonl")
