"""Files and folders of every kind become rows."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import polars as pl
import pytest

from ml_intern.data import sources
from ml_intern.data.sources import read_path
from ml_intern.errors import ToolError

ROWS = [{"question": "1+1?", "answer": "2"}, {"question": "2+2?", "answer": "4"}]


def _lines(rows: list[dict[str, object]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", _lines(ROWS)),
        ("a.ndjson", "\n" + _lines(ROWS) + "\n\n"),
        ("a.jsonl", "\ufeff" + _lines(ROWS)),
        ("a.jsonl", _lines(ROWS).replace("\n", "\r\n")),
        ("a.json", json.dumps(ROWS)),
        ("a.json", json.dumps({"version": "1", "data": ROWS})),
        ("a.json", json.dumps({"question": ["1+1?", "2+2?"], "answer": ["2", "4"]})),
        ("a.json", _lines(ROWS)),
        ("a.jsonl.gz", gzip.compress(_lines(ROWS).encode(), mtime=0)),
    ],
)
def test_every_shape_of_json(tmp_path: Path, name: str, content: str | bytes) -> None:
    assert read_path(_write(tmp_path / name, content), name).rows.to_dicts() == ROWS


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_csv_with_any_separator_quotes_and_types(tmp_path: Path, separator: str) -> None:
    text = 'text,count,share,zip\n"a, b; c\t| ""d""\nnext",1,0.5,01234\nplain,2,,04321\n'.replace(
        ",", separator
    )
    rows = read_path(_write(tmp_path / "a.csv", text), "a.csv").rows.to_dicts()
    assert rows[0]["text"].endswith('"d"\nnext')
    assert [row["count"] for row in rows] == [1, 2]
    assert [row["share"] for row in rows] == [0.5, None]
    assert [row["zip"] for row in rows] == ["01234", "04321"]


def test_parquet_and_arrow(tmp_path: Path) -> None:
    frame = pl.DataFrame(ROWS)
    frame.write_parquet(tmp_path / "a.parquet")
    frame.write_ipc(tmp_path / "b.arrow")
    frame.write_ipc_stream(tmp_path / "c.arrow")
    for name in ("a.parquet", "b.arrow", "c.arrow"):
        assert read_path(tmp_path / name, name).rows.to_dicts() == ROWS


def test_utf16_is_read_and_told(tmp_path: Path) -> None:
    table = read_path(_write(tmp_path / "a.txt", "größer\nkleiner\n".encode("utf-16")), "a.txt")
    assert table.rows["text"].to_list() == ["größer", "kleiner"]
    assert "UTF-16" in table.notes[0]


def test_a_python_file_in_its_declared_encoding(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.py", "# -*- coding: latin-1 -*-\nname = 'größer'\n".encode("latin-1"))
    assert read_path(path, "a.py").rows["text"].to_list() == ["name = 'größer'"]


def test_half_characters_are_replaced_and_told(tmp_path: Path) -> None:
    table = read_path(_write(tmp_path / "a.jsonl", '{"text": "a\\ud83d"}\n{"text": "\\ud83d\\ude00"}\n'), "a")
    assert table.rows["text"].to_list() == ["a\ufffd", "\U0001f600"]
    assert "1 texts" in table.notes[0]


def test_mixed_types_are_read_as_text_and_told(tmp_path: Path) -> None:
    table = read_path(_write(tmp_path / "a.jsonl", '{"label": 1}\n{"label": "one"}\n'), "a.jsonl")
    assert table.rows["label"].to_list() == ["1", "one"]
    assert "label" in table.notes[0]


def test_rows_with_different_keys_have_missing_values(tmp_path: Path) -> None:
    table = read_path(_write(tmp_path / "a.jsonl", '{"a": 1}\n{"b": 2.5}\n'), "a.jsonl")
    assert table.rows.to_dicts() == [{"a": 1, "b": None}, {"a": None, "b": 2.5}]


# What is wrong with a file, as (name, bytes) and what the one line must say.
BROKEN: list[tuple[str, str | bytes, str]] = [
    ("empty.jsonl", "", "empty.jsonl is empty"),
    ("blank.jsonl", "\n\n  \n", "blank.jsonl is empty"),
    ("cut.jsonl", '{"a": 1}\n{"a": 2}\n{"a": ', "cut.jsonl line 3: not JSON"),
    ("quotes.jsonl", "{\"a\": 1}\n\n{'a': 2}\n", "quotes.jsonl line 3: not JSON"),
    ("list.jsonl", '{"a": 1}\n[1, 2]\n', "list.jsonl line 2: expected an object, found a list"),
    ("number.jsonl", "1\n2\n", "number.jsonl line 1: expected an object, found a number"),
    ("nothing.jsonl", "{}\n{}\n", "nothing.jsonl has no columns"),
    ("deep.jsonl", '{"a": ' + "[" * 100_000 + "\n", "deep.jsonl line 1: not JSON"),
    ("kinds.jsonl", '{"a": [1]}\n{"a": {"b": 1}}\n', "kinds.jsonl: column 'a' mixes"),
    ("latin.jsonl", '{"a": "x"}\n{"a": "größer"}\n'.encode("latin-1"), "latin.jsonl line 2: byte 0xf6"),
    ("latin.csv", "a,b\n1,größer\n".encode("latin-1"), "latin.csv line 2: byte 0xf6 is not UTF-8"),
    ("zeros.txt", b"abc\n\0\0\n", "zeros.txt line 2: null byte"),
    ("empty.json", "  ", "empty.json is empty"),
    ("cut.json", '[{"a": 1},\n {"a": ', "cut.json line 2: not JSON"),
    ("text.json", '"hello"', "text.json holds a text"),
    ("items.json", '[{"a": 1}, 2]', "items.json holds a list whose item 2 is a number"),
    ("columns.json", '{"a": [1, 2], "b": [1]}', "columns.json holds columns of different lengths"),
    ("none.json", "[]", "none.json has no rows"),
    ("ragged.csv", "a,b\n1,2\n3\n", "ragged.csv line 3: 1 fields, but the header has 2"),
    ("wide.csv", 'a,b\n"x\ny",2\n1,2,3\n', "wide.csv line 4: 3 fields, but the header has 2"),
    ("open.csv", 'a,b\n1,"never closed\n2,3\n', "open.csv line 2: unexpected end of data"),
    ("twice.csv", "a,b,a\n1,2,3\n", "twice.csv has two columns called 'a'"),
    ("header.csv", "a,b\n", "header.csv has no rows"),
    ("false.parquet", "PAR1 this is no parquet", "false.parquet is not a whole Parquet file"),
    ("false.arrow", "ARROW1 this is no arrow", "false.arrow is not a whole Arrow file"),
    ("false.jsonl.gz", "not packed", "false.jsonl.gz is not a whole gzip file"),
    (
        "cut.jsonl.gz",
        gzip.compress(_lines(ROWS * 50).encode(), mtime=0)[:-20],
        "cut.jsonl.gz is not a whole gzip file",
    ),
    ("cookie.py", "# coding: klingon\nx = 1\n", "cookie.py line 1: unknown encoding"),
    ("comments.py", "# nothing\n# but comments\n", "comments.py has no statements"),
    ("empty.txt", "", "empty.txt is empty"),
    ("table.xlsx", b"PK\x03\x04", "Save it as CSV"),
    ("rows.pkl", b"\x80\x04", "Save the rows as JSON lines"),
]


@pytest.mark.parametrize(("name", "content", "told"), BROKEN, ids=[name for name, _, _ in BROKEN])
def test_a_broken_file_is_one_clear_line(tmp_path: Path, name: str, content: str | bytes, told: str) -> None:
    with pytest.raises(ToolError) as caught:
        read_path(_write(tmp_path / name, content), name)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_cut_parquet_file(tmp_path: Path) -> None:
    pl.DataFrame(ROWS).write_parquet(tmp_path / "whole.parquet")
    cut = _write(tmp_path / "cut.parquet", (tmp_path / "whole.parquet").read_bytes()[:-30])
    with pytest.raises(ToolError, match="not a whole Parquet file"):
        read_path(cut, "cut.parquet")


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(ToolError, match="not a file that can be read"):
        read_path(tmp_path / "pipe.jsonl", "pipe.jsonl")


def test_a_folder_of_splits(tmp_path: Path) -> None:
    _write(tmp_path / "train-00000-of-00002.jsonl", _lines(ROWS[:1]))
    _write(tmp_path / "train-00001-of-00002.jsonl", _lines(ROWS[1:]))
    _write(tmp_path / "validation.csv", "question,answer\n3+3?,six\n")
    _write(tmp_path / "README.md", "# About\n")
    table = read_path(tmp_path, "qa")
    assert table.rows.to_dicts() == ROWS
    assert (table.split, table.splits) == ("train", ("train", "validation"))
    assert read_path(tmp_path, "qa", "dev").rows["answer"].to_list() == ["six"]
    with pytest.raises(ToolError, match=r"has no split 'test'\. It has: train, validation"):
        read_path(tmp_path, "qa", "test")


def test_splits_by_folder(tmp_path: Path) -> None:
    _write(tmp_path / "train" / "part.jsonl", _lines(ROWS))
    _write(tmp_path / "test" / "part.jsonl", _lines(ROWS[:1]))
    assert read_path(tmp_path, "qa", "test").rows.height == 1


def test_words_that_only_contain_a_split_name_are_none(tmp_path: Path) -> None:
    _write(tmp_path / "contest.jsonl", _lines(ROWS))
    _write(tmp_path / "developers.jsonl", _lines(ROWS))
    assert read_path(tmp_path, "qa").splits == ("train",)


def test_configurations_of_a_hub_dataset(tmp_path: Path) -> None:
    for config in ("main", "socratic"):
        for split in ("train", "test"):
            _write(
                tmp_path / config / f"{split}-00000-of-00001.jsonl",
                _lines([{"config": config, "split": split}]),
            )
    with pytest.raises(ToolError, match="main/train"):
        read_path(tmp_path, "gsm")
    table = read_path(tmp_path, "gsm", "socratic/test")
    assert table.rows.to_dicts() == [{"config": "socratic", "split": "test"}]


def test_configurations_that_the_readme_declares(tmp_path: Path) -> None:
    _write(tmp_path / "a.jsonl", _lines(ROWS))
    _write(tmp_path / "b.jsonl", _lines(ROWS[:1]))
    head = "configs:\n- config_name: first\n  default: true\n  data_files:\n"
    head += "  - split: train\n    path: a.jsonl\n"
    _write(tmp_path / "README.md", f"---\n{head}- config_name: second\n  data_files: b.jsonl\n---\n")
    assert read_path(tmp_path, "x").rows.height == 2
    assert read_path(tmp_path, "x", "second/train").rows.height == 1


def test_a_folder_of_sources_is_read_with_its_files_as_groups(tmp_path: Path) -> None:
    _write(tmp_path / "a.py", "import os, sys\n")
    _write(tmp_path / "pkg" / "b.py", "value = compute()\n")
    _write(tmp_path / "package.json", '{"name": "x"}')
    _write(tmp_path / ".git" / "hidden.py", "secret = 'hidden'\n")
    _write(tmp_path / "__pycache__" / "c.py", "cached = 'compiled'\n")
    table = read_path(tmp_path, "src")
    assert table.rows.rows() == [("import os, sys", "a.py"), ("value = compute()", "pkg/b.py")]
    assert table.unit == "statements"


def test_one_unreadable_file_of_a_folder_is_left_out_and_told(tmp_path: Path) -> None:
    _write(tmp_path / "a.txt", "fine\n")
    _write(tmp_path / "b.txt", "größer\n".encode("latin-1"))
    table = read_path(tmp_path, "texts")
    assert table.rows["text"].to_list() == ["fine"]
    assert "1 of 2 files were left out" in table.notes[0]


def test_one_broken_data_file_of_a_folder_stops(tmp_path: Path) -> None:
    _write(tmp_path / "a.jsonl", _lines(ROWS))
    _write(tmp_path / "b.jsonl", "oops\n")
    with pytest.raises(ToolError, match=r"b\.jsonl line 1"):
        read_path(tmp_path, "data")


def test_links_out_of_a_folder_are_not_followed(tmp_path: Path) -> None:
    outside = _write(tmp_path / "outside" / "secret.txt", "password\n")
    _write(tmp_path / "inside" / "a.txt", "fine\n")
    (tmp_path / "inside" / "b.txt").symlink_to(outside)
    (tmp_path / "inside" / "more").symlink_to(outside.parent)
    assert read_path(tmp_path / "inside", "inside").rows["text"].to_list() == ["fine"]
    # The cache of the Hub is made of links; there they are meant.
    linked = read_path(tmp_path / "inside", "inside", follow_links=True)
    assert "password" in linked.rows["text"].to_list()


@pytest.mark.parametrize(
    "files", [{}, {"picture.png": b"\x89PNG"}, {"a.txt": b""}, {"__pycache__/a.py": b"x = 1"}]
)
def test_folders_without_data(tmp_path: Path, files: dict[str, bytes]) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, content in files.items():
        _write(folder / name, content)
    with pytest.raises(ToolError, match=r"folder|have no"):
        read_path(folder, "folder")


def test_files_that_share_no_column_do_not_make_one_table(tmp_path: Path) -> None:
    _write(tmp_path / "a.jsonl", _lines(ROWS))
    _write(tmp_path / "b.jsonl", '{"id": 7}\n')
    with pytest.raises(ToolError, match="no column in common"):
        read_path(tmp_path, "mixed")


def test_the_standard_library() -> None:
    table = sources.read_stdlib()
    assert table.rows.height > 50_000
    assert table.rows["file"].n_unique() > 200
    assert not any(
        name.startswith(("test/", "site-packages/", "encodings/")) for name in table.rows["file"].unique()
    )
    assert sources.read_stdlib(unit="files").rows.height <= table.rows["file"].n_unique() + 100


def test_the_fingerprint_follows_the_bytes(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.txt", "one\ntwo\n")
    first = read_path(path, "a").fingerprint
    assert read_path(path, "other name").fingerprint == first
    _write(path, "one\ntwo \n")
    assert read_path(path, "a").fingerprint != first
