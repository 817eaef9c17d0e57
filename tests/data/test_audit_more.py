"""Evidence, personal data, languages, tokens, and sources that are read in pieces."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ml_intern.data import language, personal
from ml_intern.data.audit import audit
from ml_intern.data.sources import stream_path
from ml_intern.errors import ToolError

ENGLISH = "The quick brown fox jumps over the lazy dog while number {} looks on from the garden."
GERMAN = "Der schnelle braune Fuchs springt über den faulen Hund, während Nummer {} aus dem Garten zusieht."


def _rows(n: int = 400) -> pl.DataFrame:
    draw = random.Random(7)
    words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]
    texts: list[str | None] = [" ".join(draw.choices(words, k=12)) + f" {at}" for at in range(n)]
    texts[5] = texts[3]
    texts[9], texts[11] = "", None
    texts[20], texts[30] = "Row one.", "row two"
    texts[40] = texts[20]
    texts[50] = "write to someone@firm.de"
    texts[60] = "broken \ufffd text"
    label = ["good" if at % 10 else "bad" for at in range(n)]
    return pl.DataFrame({"text": texts, "label": label, "n": range(n), "none": [None] * n})


def test_every_finding_has_its_row_numbers() -> None:
    report = audit(_rows(), "test")
    assert report.evidence["exact duplicates"] == [5, 11, 40]
    assert report.evidence["empty rows"] == [9, 11]
    assert report.evidence["missing text"] == [11]
    assert report.evidence["e-mail addresses"] == [50]
    assert report.evidence["replacement characters"] == [60]
    assert 30 not in report.evidence["exact duplicates"]
    assert report.evidence["missing none"] == list(range(10))
    assert "3 rows (0.8%) repeat an earlier one (rows 5, 11, 40)." in report.findings
    assert len(report.model_dump_json()) < 6_000


@pytest.mark.parametrize("size", [pytest.param(1, marks=pytest.mark.thorough), 7, 100, 399, 400, 1000])
def test_in_pieces_or_whole_the_findings_are_the_same(size: int) -> None:
    rows = _rows()
    whole = audit(rows, "test")
    pieces = audit((rows.slice(at, size) for at in range(0, rows.height, size)), "test")
    pieces.streamed = whole.streamed = False
    assert pieces == whole


def test_pieces_may_have_other_columns() -> None:
    report = audit([pl.DataFrame({"text": ["a", "b"]}), pl.DataFrame({"text": ["a"], "n": [1]})], "test")
    assert {c.name: (c.type, c.missing) for c in report.columns} == {"text": ("text", 0), "n": ("integer", 2)}
    assert report.evidence["exact duplicates"] == [2]


def test_nothing_at_all() -> None:
    report = audit(pl.DataFrame({"text": []}, schema={"text": pl.String}), "test")
    assert (report.rows, report.findings) == (0, ["Nothing wrong was found."])


def test_tokens_are_counted_where_there_is_a_counter() -> None:
    rows = pl.DataFrame({"text": ["a b c", "a"]})
    assert audit(rows, "test").tokens is None
    tokens = audit(rows, "test", count_tokens=lambda texts: [len(t.split()) for t in texts]).tokens
    assert tokens is not None and (tokens.min, tokens.max, tokens.total) == (1, 3, 4)


# Personal data. The numbers are made up or the test numbers of their networks and registries.

HOLDS = [
    ("e-mail addresses", "mail jane.doe+news@mail.firm.co.uk today"),
    ("card numbers", "4111 1111 1111 1111"),
    ("card numbers", "paid with 5555-5555-5555-4444."),
    ("card numbers", "378282246310005"),
    ("card numbers", "6011111111111117"),
    ("IBANs", "DE89 3704 0044 0532 0130 00"),
    ("IBANs", "to GB82WEST12345698765432, please"),
    ("IBANs", "NO9386011117947"),
    ("US social security numbers", "SSN 123-45-6789"),
    ("phone numbers", "call +49 30 901820 now"),
    ("phone numbers", "+1 (212) 736-5000"),
]
LACKS = [
    "nobody@example.com, a@b.test, x@localhost",
    "@decorator on a.b, price 3@4.50",
    "4111 1111 1111 1112",
    "1234567812345670",
    "0000 0000 0000 0000",
    "3.14159265358979323846",
    "2024-01-02-03-04-05-06-07-08",
    "DE88 3704 0044 0532 0130 00",
    "ZZ89 3704 0044 0532 0130 00",
    "000-12-3456, 666-12-3456, 912-34-5678, 123-00-4567, 123-45-0000",
    "3 + 49 = 52 and 100000000 + 1",
    "f(x) = +1234",
]


@pytest.mark.parametrize(("kind", "text"), HOLDS)
def test_personal_data_is_found(kind: str, text: str) -> None:
    assert personal.find(pl.Series([None, "fine", text])) == {kind: [2]}


@pytest.mark.parametrize("text", LACKS)
def test_what_only_looks_like_it_is_not(text: str) -> None:
    assert personal.find(pl.Series([text])) == {}


def test_national_phone_numbers_need_their_country() -> None:
    texts = pl.Series(["Tel. 030 901820"])
    assert personal.find(texts) == {}
    assert personal.find(texts, "DE") == {"phone numbers": [0]}


def test_a_column_of_numbers_is_no_list_of_cards() -> None:
    """One in ten numbers of that length has a right check digit; few of those are in a network's range."""
    draw = random.Random(0)
    texts = pl.Series(["".join(draw.choices("0123456789", k=16)) for _ in range(2_000)])
    assert len(personal.find(texts).get("card numbers", [])) < 80


def test_personal_data_is_counted_and_never_shown() -> None:
    rows = pl.DataFrame({"text": [text for _, text in HOLDS]})
    report = audit(rows, "test")
    assert report.personal["card numbers"] == 4 and report.evidence["IBANs"] == [5, 6, 7]
    told = report.model_dump_json()
    assert not any(part in told for part in ("jane.doe", "4111", "DE89", "6789", "901820"))


def test_a_hostile_text_takes_no_time() -> None:
    texts = pl.Series(["a@" * 50_000, "1 " * 50_000, "A" * 100_000, "+1" + "-" * 99_000, "a." * 50_000 + "@"])
    assert personal.find(texts) == {}


# Languages


def test_languages_are_shares_and_a_mixture_is_told() -> None:
    rows = [ENGLISH.format(n) for n in range(60)] + [GERMAN.format(n) for n in range(40)] + ["12", "short"]
    report = audit(pl.DataFrame({"text": rows}), "test")
    assert report.languages == {"en": 60, "de": 40, language.SHORT: 2}
    assert report.language_rows == 102
    assert any(
        "40.0% of the rows are in another language than the rest: en 60, de 40" in f for f in report.findings
    )
    english = audit(pl.DataFrame({"text": rows[:60]}), "test")
    assert not any("language" in f for f in english.findings)


def test_code_is_in_no_language() -> None:
    report = audit(pl.DataFrame({"text": ["x = f(1)", "import os"] * 30}), "test")
    assert (report.looks_like_python, report.languages, report.language_rows) == (True, None, 0)


# Files in pieces


def _write(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pl.DataFrame(rows).write_parquet(path)
    elif path.suffix == ".csv":
        pl.DataFrame(rows).write_csv(path)
    else:
        data = "".join(json.dumps(row) + "\n" for row in rows).encode()
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize(
    "name", [pytest.param("a.jsonl", marks=pytest.mark.thorough), "a.jsonl.gz", "a.csv", "a.parquet"]
)
def test_a_large_file_comes_in_pieces(tmp_path: Path, name: str) -> None:
    rows = [{"text": f'row "{n}", ä', "n": n} for n in range(120_000)]
    path = _write(tmp_path / name, rows)
    assert stream_path(path, name, above=path.stat().st_size) is None
    stream = stream_path(path, name)
    assert stream is not None
    pieces = list(stream.pieces())
    assert pl.concat(pieces).rows() == [tuple(row.values()) for row in rows]
    if name in ("a.csv", "a.parquet"):
        assert len(pieces) > 1 and max(piece.height for piece in pieces) <= 50_000


def test_a_folder_is_streamed_by_split(tmp_path: Path) -> None:
    for name in ("train-0", "train-1", "test-0"):
        _write(tmp_path / f"{name}.jsonl", [{"text": name}])
    stream = stream_path(tmp_path, "data", "train")
    assert stream is not None and stream.splits == ("test", "train")
    assert [piece["text"][0] for piece in stream.pieces()] == ["train-0", "train-1"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.txt").write_text("text")
    assert stream_path(tmp_path / "other", "other") is None


def test_a_broken_line_far_inside_is_named(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.csv", [{"a": n, "b": n} for n in range(60_000)])
    with path.open("a") as file:
        file.write("1,2,3\n")
    stream = stream_path(path, "a.csv")
    assert stream is not None
    with pytest.raises(ToolError, match="line 60002: 3 fields"):
        list(stream.pieces())
    path.write_bytes(b"a,b\n" + b"1,2\n" * 10 + b"1,\xff\n")
    with pytest.raises(ToolError, match="not UTF-8"):
        list(stream.pieces())
