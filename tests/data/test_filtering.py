"""Conditions on rows."""

from __future__ import annotations

import time
from pathlib import Path

import polars as pl
import pytest

from ml_intern.data.filtering import mask
from ml_intern.errors import ToolError

ROWS = pl.DataFrame(
    {
        "text": ["x = 1", "else:", "f(", None],
        "json": ['{"a": 1}', "[", "3", ""],
        "n": [1, 2, 3, 4],
    }
)


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ("parses_python(text)", [1]),
        ("NOT parses_python(text)", [2, 3, 4]),
        ("not parses_python( text ) and n < 3", [2]),
        ('parses_python("text") OR n = 4', [1, 4]),
        ("parses_json(json)", [1, 3]),
        ("parses_json(json) AND parses_python(text)", [1]),
        ("n >= 2 AND n <= 3", [2, 3]),
        ("n == 2", [2]),
        ("n IN (1, 4)", [1, 4]),
        ("char_length(text) > 2", [1, 2]),
        ("starts_with(text, 'x')", [1]),
        ("ends_with(text, ':')", [2]),
        ("text LIKE '%:'", [2]),
        ("text = 'parses_python(text)' OR n = 1", [1]),
        ("text IS NULL", [4]),
        ("1 = 1", [1, 2, 3, 4]),
    ],
)
def test_conditions(where: str, kept: list[int]) -> None:
    assert ROWS.filter(mask(ROWS, where))["n"].to_list() == kept


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("parses_python(txt)", "There is no column 'txt' (did you mean 'text'?). The columns"),
        ("parse_python(text)", "(did you mean 'parses_python'?). Write"),
        ("len(text) > 3", "(did you mean 'char_length'?). Write"),
        ("startswith(text, 'x')", "(did you mean 'starts_with'?). Write"),
        ("m > 1", "There is no column 'm'"),
        ("n >", "cannot be used"),
        ("", "cannot be used"),
        ("n", "does not say yes or no"),
        ("SELECT 1", "cannot be used"),
        ("n > 1; DROP TABLE x", "cannot be used"),
        ("text > 1", "cannot be used"),
        ("unheard(n)", "cannot be used"),
    ],
)
def test_conditions_that_cannot_be_used(where: str, told: str) -> None:
    with pytest.raises(ToolError) as caught:
        mask(ROWS, where)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


# What would open a file, grow without bound, or never end

_SECRET = "secret.csv"


@pytest.mark.parametrize(
    "where",
    [
        "text IN (SELECT * FROM read_csv('{file}'))",
        "n > (SELECT count(*) FROM read_parquet('{file}'))",
        "EXISTS (SELECT * FROM read_csv('{file}'))",
        "n IN (FROM read_csv('{file}'))",
        "n = ANY (TABLE secret)",
        "read_csv('{file}') IS NOT NULL",
        "\"read_csv\"('{file}') IS NOT NULL",
        "read_csv ('{file}') IS NOT NULL",
        "text = 'a\\' OR text IN (SELECT * FROM read_csv(\"{file}\")) OR text = 'b'",
        "n > 1; COPY rows TO '{file}'",
        "n > 1 -- SELECT",
        "n > /* SELECT */ 1",
        "n = $$1$$",
        "text = x'41'",
        "array_length(generate_series(1, 10000000000)) > 1",
        "char_length(lpad(text, 10000000000, 'x')) > 1",
        "char_length(replace(replace(text, 'e', 'eeeeeeee'), 'e', 'eeeeeeee')) > 1",
        "n > 0" + " OR n > 0" * 2_000,
        "NOT " * 3_000 + "(n > 1)",
        "(" * 3_000 + "n > 1" + ")" * 3_000,
        "n > 0" + " " * 20_000,
    ],
    ids=lambda where: where[:40].replace("\n", " "),
)
def test_a_condition_is_nothing_but_a_condition(where: str, tmp_path: Path) -> None:
    file = tmp_path / _SECRET
    file.write_text("text,n\ngood,1\n")
    began = time.process_time()
    with pytest.raises(ToolError) as caught:
        mask(ROWS, where.replace("{file}", str(file)))
    assert time.process_time() - began < 5
    assert "condition" in caught.value.message and "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700 and "good" not in caught.value.message.replace(where, "")


def test_the_words_of_a_query_may_be_names_and_values() -> None:
    rows = pl.DataFrame({"select": ["from", "table"], "values": [1, 2]})
    assert mask(rows, '"select" = \'from\' AND "values" = 1').to_list() == [True, False]
    assert mask(rows, "\"select\" IS NOT DISTINCT FROM 'table'").to_list() == [False, True]
