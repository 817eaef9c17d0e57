from __future__ import annotations

from pathlib import Path

import pytest
from support.answering_jobs import AnsweringJobs

from ml_intern.errors import UsageError
from ml_intern.evals.files import register_file
from ml_intern.evals.store import Evals
from ml_intern.ledger import Ledger
from ml_intern.settings import Settings


@pytest.fixture
def evals(tmp_path: Path) -> Evals:
    jobs = AnsweringJobs(tmp_path / "evals" / "jobs")
    return Evals(
        tmp_path / "evals", jobs, Ledger(tmp_path / "ledger.sqlite"), Settings(metric="numeric_match")
    )  # type: ignore[arg-type]


def test_jsonl_with_numbers(evals: Evals, tmp_path: Path) -> None:
    file = tmp_path / "my sums.jsonl"
    file.write_text("".join(f'{{"input": "{i}+1=", "target": {i + 1}}}\n' for i in range(40)))
    info = register_file(evals, file)
    assert (info.name, info.scorers, info.primary) == (
        "my-sums",
        ["exact_match", "numeric_match"],
        "numeric_match",
    )
    assert sum(info.rows.values()) == 40
    assert min(info.rows.values()) > 5


def test_csv_with_splits(evals: Evals, tmp_path: Path) -> None:
    file = tmp_path / "capitals.csv"
    file.write_text('question,answer,split\n"Capital of France?",Paris,dev\n"Of Spain, then?",Madrid,test\n')
    info = register_file(evals, file, "capitals")
    assert (info.rows, info.scorers) == ({"dev": 1, "test": 1}, ["exact_match"])


def test_long_answers_of_a_model_that_chats(tmp_path: Path) -> None:
    """A rubric about an answer of a page is no use where 64 tokens of it are drawn."""
    folder, settings = tmp_path / "evals", Settings(eval_tokens=900, eval_chat=True)
    jobs, ledger = AnsweringJobs(folder / "jobs"), Ledger(tmp_path / "ledger.sqlite")
    file = tmp_path / "advice.jsonl"
    file.write_text('{"prompt": "What helps?", "rubric": "Asks since when."}\n' * 2)
    asking = register_file(Evals(folder, jobs, ledger, settings), file).asking  # type: ignore[arg-type]
    assert (asking.max_new_tokens, asking.chat) == (900, True)


def test_texts_alone(evals: Evals, tmp_path: Path) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_text('{"text": "one text"}\n\n{"text": "two texts"}\n')
    assert register_file(evals, file).primary == "bits_per_byte"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("gone.jsonl", None, "There is no file"),
        ("a.txt", "x", "neither .jsonl nor .csv"),
        ("a.jsonl", "", "has no rows"),
        ("a.jsonl", '{"input": "a", "target": "b"}\n{"input": \n', "line 2 is not JSON"),
        ("a.jsonl", "[1]\n", "line 1 is not an object"),
        ("a.jsonl", '{"x": 1}\n', "has no column text, input"),
        (
            "a.jsonl",
            '{"input": "a", "target": "b"}\n{"input": "c"}\n',
            "row 2 has nothing in the column 'target'",
        ),
        ("a.csv", "input,target\na,b,c\n", "line 2 does not have 2 columns"),
        ("a.csv", "input,target\n,b\n", "row 1 has nothing in the column 'input'"),
    ],
)
def test_what_is_wrong_is_said(
    evals: Evals, tmp_path: Path, name: str, content: str | None, told: str
) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_text(content)
    with pytest.raises(UsageError, match=told):
        register_file(evals, file)


def test_not_text(evals: Evals, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"input": "\xff\xfe"}\n')
    with pytest.raises(UsageError, match="UTF-8"):
        register_file(evals, file)
