"""Tools read where the person pointed and write in the workspace."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_intern.errors import ToolError
from ml_intern.workspace.files import Files


@pytest.fixture
def files(tmp_path: Path) -> Files:
    for name in ("work", "project/.secret", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "project" / "data.txt").write_text("a")
    (tmp_path / "project" / ".secret" / "key").write_text("k")
    (tmp_path / "elsewhere" / "other.txt").write_text("b")
    return Files(tmp_path / "work", tmp_path / "project")


def test_relative_names_start_in_the_workspace_then_in_the_project(files: Files, tmp_path: Path) -> None:
    assert files.readable("data.txt") == tmp_path / "project" / "data.txt"
    (tmp_path / "work" / "data.txt").write_text("mine")
    assert files.readable("data.txt") == tmp_path / "work" / "data.txt"


@pytest.mark.parametrize("name", ["../elsewhere/other.txt", ".secret/key", "/etc/hostname"])
def test_the_rest_of_the_machine_is_not_read(files: Files, name: str) -> None:
    with pytest.raises(ToolError, match="outside"):
        files.readable(name)


def test_a_link_does_not_lead_out(files: Files, tmp_path: Path) -> None:
    (tmp_path / "work" / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ToolError, match="outside"):
        files.readable("link/other.txt")
    with pytest.raises(ToolError, match="outside"):
        files.writable("link/new.txt")


def test_what_the_prompt_names_is_read(files: Files, tmp_path: Path) -> None:
    files.allow_from(f"train on {tmp_path}/elsewhere/other.txt, please.")
    assert files.readable(tmp_path / "elsewhere" / "other.txt").read_text() == "b"


def test_a_bare_name_in_the_prompt_is_a_path_of_the_project(files: Files, tmp_path: Path) -> None:
    known = len(files.roots)
    files.allow_from("train on it (data.txt), all of . and ..")
    assert files.roots[known:] == [tmp_path / "project" / "data.txt"]


def test_missing_files_are_told(files: Files) -> None:
    with pytest.raises(ToolError, match="no file 'nothing'"):
        files.readable("nothing")


@pytest.mark.parametrize("name", ["../out.txt", "/tmp/out.txt", "."])
def test_writing_stays_in_the_workspace(files: Files, name: str) -> None:
    with pytest.raises(ToolError, match="outside"):
        files.writable(name)
