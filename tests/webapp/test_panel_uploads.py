"""A dataset that a person uploads: what is taken, what is refused, how it is shown."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import pytest
from support.fragments import harmless
from support.web_session import NASTY

from ml_intern.errors import InternError
from ml_intern.webapp.panels.upload_view import uploaded_html
from ml_intern.webapp.panels.uploading import safe_name, take_in

MB = 1 << 20
PAIRS = "prompt,completion\n1+1=,2\n2+2=,4\n"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "workspace").mkdir()
    return tmp_path / "workspace"


def brought(folder: Path, name: str, data: str | bytes) -> Path:
    path = folder / "upload" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("pairs.csv", PAIRS, "fine-tune MODEL on pairs.csv"),
        ("texts.jsonl", '{"text": "a b"}\n{"text": "c"}\n', "pretrain a small model on texts.jsonl"),
        ("notes.md", "# Notes\nsome text\n", "pretrain a small model on notes.md"),
        (
            "best.json",
            '[{"prompt": "a", "chosen": "b", "rejected": "c"}]',
            "preferences in best.json with dpo",
        ),
        ("odd.csv", "x;y\n1;2\n", "look at odd.csv"),
    ],
    ids=["pairs", "texts", "notes", "preferences", "odd"],
)
def test_a_dataset_is_put_where_the_tools_read_and_shown(
    tmp_path: Path, workspace: Path, name: str, data: str, said: str
) -> None:
    found = take_in(brought(tmp_path, name, data), name, workspace, MB)
    assert (workspace / name).read_text() == data
    words = harmless(uploaded_html(found, "the workspace"))
    assert said in words and f"{name} (" in words


def test_the_first_rows_are_shown(tmp_path: Path, workspace: Path) -> None:
    found = take_in(brought(tmp_path, "pairs.csv", PAIRS), "pairs.csv", workspace, MB)
    assert found.preview.columns == ["prompt", "completion"] and found.preview.count == 2
    assert found.preview.rows == [["1+1=", "2"], ["2+2=", "4"]]


def test_a_packed_dataset_is_looked_through(tmp_path: Path, workspace: Path) -> None:
    path = brought(tmp_path, "pairs.csv.gz", gzip.compress(PAIRS.encode()))
    assert take_in(path, path.name, workspace, MB).preview.count == 2


def test_outside_of_a_session_a_prompt_names_it_by_its_path(tmp_path: Path, workspace: Path) -> None:
    found = take_in(brought(tmp_path, "p.csv", PAIRS), "p.csv", workspace, MB, inside=False)
    assert found.sentences == (f"fine-tune MODEL on {workspace / 'p.csv'} in 10 minutes",)


def test_rows_that_cannot_be_read_are_told_and_the_file_is_kept(tmp_path: Path, workspace: Path) -> None:
    found = take_in(brought(tmp_path, "bad.jsonl", '{"a": 1}\n{"a": \n'), "bad.jsonl", workspace, MB)
    assert "line 2" in found.preview.problem and (workspace / "bad.jsonl").exists()
    assert "line 2" in harmless(uploaded_html(found, "the workspace"))


def _zip(path: Path) -> bytes:
    with zipfile.ZipFile(path / "made.zip", "w") as archive:
        archive.writestr("../../evil", "x")
    return (path / "made.zip").read_bytes()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("many.zip", "Unpack it first"),
        ("fake.csv", "zip archive"),
        ("run.sh", "no kind of file"),
        ("weights.pkl", "JSON lines or Parquet"),
        ("page.html", "no kind of file"),
    ],
)
def test_what_is_no_dataset_is_refused_and_leaves_nothing(
    tmp_path: Path, workspace: Path, name: str, told: str
) -> None:
    data = _zip(tmp_path) if name in ("many.zip", "fake.csv") else b"echo hello\n"
    with pytest.raises(InternError, match=told):
        take_in(brought(tmp_path, name, data), name, workspace, MB)
    assert list(workspace.iterdir()) == []


def test_what_is_too_large_or_empty_is_refused(tmp_path: Path, workspace: Path) -> None:
    with pytest.raises(InternError, match="1 MB is the most"):
        take_in(brought(tmp_path, "big.txt", "x" * (MB + 1)), "big.txt", workspace, MB)
    with pytest.raises(InternError, match="is empty"):
        take_in(brought(tmp_path, "none.txt", ""), "none.txt", workspace, MB)
    assert list(workspace.iterdir()) == []


@pytest.mark.parametrize(
    ("called", "name"),
    [
        ("../../etc/passwd.csv", "passwd.csv"),
        ("C:\\data\\my rows.csv", "my_rows.csv"),
        (".ssh", "ssh"),
        ("-rf.csv", "rf.csv"),
        ("a b; rm -rf $HOME.csv", "a_b_rm_-rf_HOME.csv"),
        ("", "data"),
        ("...", "data"),
        ("x" * 300 + ".jsonl", "x" * 80 + ".jsonl"),
        ("naïve.csv", "na_ve.csv"),
    ],
    ids=["up", "windows", "hidden", "option", "shell", "nothing", "dots", "long", "letters"],
)
def test_a_name_means_nothing_to_a_path_or_a_shell(called: str, name: str) -> None:
    assert safe_name(called) == name


def test_hostile_names_and_rows_stay_words(tmp_path: Path, workspace: Path) -> None:
    path = brought(tmp_path, "rows.jsonl", '{"<img src=x onerror=1>": "<script>alert(1)</script>"}\n')
    found = take_in(path, NASTY + ".jsonl", workspace, MB)
    words = harmless(uploaded_html(found, "the workspace"))
    assert "<img src=x onerror=1>" in words and "<script>alert(1)</script>" in words
    assert [file.name for file in workspace.iterdir()] == [found.name]


def test_another_file_of_that_name_stays_and_the_same_one_is_not_doubled(
    tmp_path: Path, workspace: Path
) -> None:
    for data, name in ((PAIRS, "p.csv"), (PAIRS, "p.csv"), (PAIRS + "3+3=,6\n", "p-2.csv")):
        assert take_in(brought(tmp_path, "p.csv", data), "p.csv", workspace, MB).name == name
    assert (workspace / "p.csv").read_text() == PAIRS


def test_a_link_of_that_name_is_not_written_through(tmp_path: Path, workspace: Path) -> None:
    (workspace / "p.csv").symlink_to(tmp_path / "outside.csv")
    assert take_in(brought(tmp_path, "p.csv", PAIRS), "p.csv", workspace, MB).name == "p-2.csv"
    assert not (tmp_path / "outside.csv").exists()
