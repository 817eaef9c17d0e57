"""What is wrong with a dataset, in numbers."""

from __future__ import annotations

import polars as pl
import pytest

from ml_intern.data.audit import audit, leaks
from ml_intern.errors import ToolError


def test_duplicates_near_ones_and_empty_rows() -> None:
    report = audit(pl.DataFrame({"text": ["Row 1.", "Row 1.", "row 2", "other", "", "  "]}), "test")
    assert (report.exact_duplicates, report.near_duplicates, report.empty_rows) == (1, 1, 2)


def test_lengths_are_in_characters_and_in_bytes() -> None:
    report = audit(pl.DataFrame({"text": ["é", "ab", "abc"]}), "test")
    assert (report.chars.min, report.chars.median, report.chars.max, report.chars.total) == (1, 2, 3, 6)
    assert (report.bytes.min, report.bytes.total) == (2, 7)


def test_the_share_that_parses_is_there_for_python_only() -> None:
    code = ["x = 1", "else:", "f(a)", "if x:"] * 5
    assert audit(pl.DataFrame({"text": code}), "test").python_parse_share == 0.5
    prose = audit(pl.DataFrame({"text": ["emma", "olivia", "One day, a fox came by."]}), "test")
    assert (prose.looks_like_python, prose.python_parse_share) == (False, None)
    named = audit(pl.DataFrame({"text": ["data", "("], "file": ["a.py", "b.py"]}), "test")
    assert named.python_parse_share == 0.5


def test_missing_values_and_labels() -> None:
    rows = pl.DataFrame({"text": [f"text {n}" for n in range(40)], "label": ["good"] * 38 + ["bad", None]})
    report = audit(rows, "test")
    assert report.labels == {"label": {"good": 38, "bad": 1}}
    assert {c.name: c.missing for c in report.columns} == {"text": 0, "label": 1}
    assert any("out of balance" in finding for finding in report.findings)


def test_signs_of_a_wrong_encoding() -> None:
    report = audit(pl.DataFrame({"text": ["a\ufffd", "grÃ¶ÃŸer", "\x1b[0m", "\ufeffx", "größer"]}), "test")
    assert report.encoding == {
        "replacement characters": 1,
        "double-encoded characters": 1,
        "control characters": 1,
        "byte order marks": 1,
    }


def test_several_text_columns_are_taken_together() -> None:
    rows = pl.DataFrame({"question": ["a", "a", "a"], "answer": ["b", "b", "c"]})
    report = audit(rows, "test")
    assert (report.text, report.exact_duplicates) == (None, 1)
    assert audit(rows, "test", text="question").exact_duplicates == 2
    with pytest.raises(ToolError, match="did you mean 'question'"):
        audit(rows, "test", text="qestion")


def test_messages_are_read() -> None:
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    assert audit(pl.DataFrame({"messages": [chat, chat]}), "test").exact_duplicates == 1


def test_one_row_and_no_text_at_all() -> None:
    assert audit(pl.DataFrame({"n": [1]}), "test").rows == 1
    assert audit(pl.DataFrame({"text": ["fine words"]}), "test").findings == ["Nothing wrong was found."]
    assert audit(pl.DataFrame({"text": [None, None]}, schema={"text": pl.String}), "test").empty_rows == 2


def test_leaks_between_splits() -> None:
    found = leaks(
        {
            "test": pl.DataFrame({"text": ["One", "new"]}),
            "train": pl.DataFrame({"text": ["one", "two"]}),
            "dev": pl.DataFrame({"text": ["three", "new"]}),
        }
    )
    assert [(leak.split, leak.against, leak.rows, leak.share) for leak in found] == [
        ("test", "train", 1, 0.5),
        ("test", "dev", 1, 0.5),
    ]
