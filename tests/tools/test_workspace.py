"""Files of the workspace and commands in the sandbox, through the tools."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ml_intern.agent.hints import missing_file
from ml_intern.context import Services, ToolContext
from ml_intern.errors import ToolError
from ml_intern.evals.store import Evals
from ml_intern.sandbox.bare import BareSandbox
from ml_intern.sandbox.base import Limits, Mounts
from ml_intern.sandbox.run import run_in_sandbox
from ml_intern.settings import Settings
from ml_intern.tools.workspace import edit_file, list_files, read_file, run_command, write_file
from ml_intern.workspace.files import Files


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder


@pytest.fixture
def ctx(workspace: Path, tmp_path: Path) -> ToolContext:
    (tmp_path / "project").mkdir()
    nothing: Any = None
    services = Services(
        session="s",
        folder=tmp_path,
        settings=Settings(),
        files=Files(workspace, tmp_path / "project"),
        datasets=nothing,
        jobs=nothing,
        ledger=nothing,
        evals=Evals(tmp_path / "evals", nothing, nothing, Settings()),
        hub=nothing,
        emit=lambda event: None,
    )
    sandbox = BareSandbox()
    services.run_in_sandbox = lambda argv, timeout: run_in_sandbox(
        sandbox, Mounts(workspace), Limits(), argv, timeout
    )
    return ToolContext(services, "call-1", "key-1")


def test_a_file_is_read_page_by_page(ctx: ToolContext, workspace: Path) -> None:
    (workspace / "a.txt").write_text("".join(f"line {n}\n" for n in range(1, 1001)))
    first = read_file(ctx, "a.txt", lines=300)
    assert first.text.startswith("line 1\n") and (first.lines, first.total_lines, first.next_start) == (
        300,
        1000,
        301,
    )
    start, text = 1, ""
    while start:
        page = read_file(ctx, "a.txt", start=start, lines=300)
        text, start = text + page.text, page.next_start
    assert text == (workspace / "a.txt").read_text()
    with pytest.raises(ToolError, match="no line 2000"):
        read_file(ctx, "a.txt", start=2000)


def test_a_page_is_bounded_and_long_lines_say_how_long_they_are(ctx: ToolContext, workspace: Path) -> None:
    (workspace / "wide.txt").write_text("x" * 3000 + "\n" + "y" * 100_000 + "\nend")
    page = read_file(ctx, "wide.txt")
    assert (
        len(page.text) < 17_000 and "line 2 has 100001 characters" in page.text and page.text.endswith("end")
    )
    (workspace / "many.txt").write_text(("z" * 99 + "\n") * 1000)
    page = read_file(ctx, "many.txt", lines=1000)
    assert len(page.text) <= 16_000 and page.next_start == 161


def test_an_empty_file_and_a_missing_one(ctx: ToolContext, workspace: Path) -> None:
    (workspace / "empty").touch()
    assert read_file(ctx, "empty").text == ""
    with pytest.raises(ToolError, match="no file"):
        read_file(ctx, "missing")


def test_what_is_no_text_is_refused(ctx: ToolContext, workspace: Path) -> None:
    (workspace / "b.bin").write_bytes(b"a\0b")
    with pytest.raises(ToolError, match="not text"):
        read_file(ctx, "b.bin")
    (workspace / "latin").write_bytes(b"caf\xe9 x")
    with pytest.raises(ToolError, match="not UTF-8"):
        edit_file(ctx, "latin", "x", "y")
    os.mkfifo(workspace / "pipe")
    with pytest.raises(ToolError, match="not a file"):
        read_file(ctx, "pipe")
    with pytest.raises(ToolError):
        read_file(ctx, ".")


def test_writing_makes_folders_and_stays_in_the_workspace(
    ctx: ToolContext, workspace: Path, tmp_path: Path
) -> None:
    done = write_file(ctx, "src/deep/a.py", "x = 1\ny = 2\n")
    assert (done.bytes, done.lines) == (12, 2) and (
        workspace / "src/deep/a.py"
    ).read_text() == "x = 1\ny = 2\n"
    with pytest.raises(ToolError, match="outside"):
        write_file(ctx, "../escaped", "x")
    (workspace / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(ToolError, match="outside"):
        write_file(ctx, "link", "x")
    (workspace / "folder").symlink_to(tmp_path)
    with pytest.raises(ToolError, match="outside"):
        write_file(ctx, "folder/x", "x")
    assert not (tmp_path / "outside").exists() and not (tmp_path / "x").exists()


def test_new_files_belong_to_the_workspaces_owner(ctx: ToolContext, workspace: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only a root host has another owner in the workspace")
    os.chown(workspace, 50_001, 50_001)
    write_file(ctx, "new/a.txt", "x")
    assert [(workspace / p).stat().st_uid for p in ("new", "new/a.txt")] == [50_001, 50_001]


def test_editing_a_unique_passage(ctx: ToolContext, workspace: Path) -> None:
    file = workspace / "train.py"
    file.write_text("lr = 1e-3  # rate\nsteps = 10\n")
    file.chmod(0o750)
    done = edit_file(ctx, "train.py", "1e-3", "3e-4")
    assert file.read_text() == "lr = 3e-4  # rate\nsteps = 10\n"  # the rest of the line stays
    assert (done.places, done.line, done.note) == (1, 1, "")
    assert "-lr = 1e-3  # rate" in done.diff and "+lr = 3e-4  # rate" in done.diff
    assert file.stat().st_mode & 0o777 == 0o750


def test_an_ambiguous_passage_counts_its_places(ctx: ToolContext, workspace: Path) -> None:
    (workspace / "a").write_text("x = 1\ny = 1\nz = 1\n")
    with pytest.raises(ToolError, match=r"3 times \(lines 1, 2, 3\)"):
        edit_file(ctx, "a", "= 1", "= 2")
    with pytest.raises(ToolError, match="3 times"):
        edit_file(ctx, "a", "= 1", "= 2", "after")
    assert edit_file(ctx, "a", "= 1", "= 2", "all").places == 3
    assert (workspace / "a").read_text() == "x = 2\ny = 2\nz = 2\n"


def test_text_is_put_before_and_after(ctx: ToolContext, workspace: Path) -> None:
    (workspace / "a").write_text("one\nthree\n")
    edit_file(ctx, "a", "three\n", "two\n", "before")
    edit_file(ctx, "a", "three\n", "four\n", "after")
    assert (workspace / "a").read_text() == "one\ntwo\nthree\nfour\n"


def test_small_inaccuracies_are_allowed_and_told(ctx: ToolContext, workspace: Path) -> None:
    (workspace / "a").write_text("def f():   \n    return 1\t\n")
    assert (
        "spaces at line ends" in edit_file(ctx, "a", "def f():\n    return 1", "def f():\n    return 2").note
    )
    assert (workspace / "a").read_text() == "def f():\n    return 2\t\n"
    (workspace / "b").write_text("print('it’s “fine”')\n")
    assert "curly quotes" in edit_file(ctx, "b", 'it\'s "fine"', "ok").note
    assert (workspace / "b").read_text() == "print('ok')\n"
    (workspace / "c").write_text("class A:\n    def f(self):\n        if x:\n            return 1\n")
    note = edit_file(ctx, "c", "if x:\n    return 1", "if y:\n    return 2\nreturn 3").note
    assert "indentation" in note
    assert (workspace / "c").read_text() == (
        "class A:\n    def f(self):\n        if y:\n            return 2\n        return 3\n"
    )


def test_an_inaccurate_passage_that_fits_twice_is_an_error(ctx: ToolContext, workspace: Path) -> None:
    text = "if a:\n    x = 1 \n    y = 2\nif b:\n    x = 1\t\n    y = 2\n"
    (workspace / "a").write_text(text)
    with pytest.raises(ToolError, match="2 times"):
        edit_file(ctx, "a", "x = 1\n    y = 2", "pass")
    with pytest.raises(ToolError, match="2 times"):
        edit_file(ctx, "a", "x = 1\ny = 2", "pass")
    assert (workspace / "a").read_text() == text


def test_another_nesting_is_not_another_indentation(ctx: ToolContext, workspace: Path) -> None:
    (workspace / "a").write_text("    if a:\n        b()\n    c()\n")
    with pytest.raises(ToolError, match="not in the file"):
        edit_file(ctx, "a", "if a:\n    b()\n    c()", "pass")


def test_windows_line_ends_are_kept(ctx: ToolContext, workspace: Path) -> None:
    (workspace / "a").write_bytes(b"one\r\ntwo\r\nthree\r\n")
    edit_file(ctx, "a", "one\ntwo", "1\n2")
    assert (workspace / "a").read_bytes() == b"1\r\n2\r\nthree\r\n"


def test_a_passage_that_is_not_there_gets_the_nearest_line(ctx: ToolContext, workspace: Path) -> None:
    (workspace / "a").write_text("alpha = 1\nlearning_rate = 2e-5\n")
    with pytest.raises(ToolError, match="nearest is line 2: 'learning_rate = 2e-5'"):
        edit_file(ctx, "a", "learning_rate = 3e-5", "x")
    with pytest.raises(ToolError, match="empty"):
        edit_file(ctx, "a", "", "x")
    with pytest.raises(ToolError, match="changes nothing"):
        edit_file(ctx, "a", "alpha", "alpha")


def test_a_file_changed_since_it_was_read_is_not_edited(ctx: ToolContext, workspace: Path) -> None:
    file = workspace / "a"
    file.write_text("one\ntwo\n")
    read_file(ctx, "a", lines=1)
    file.write_text("one\nTWO\n")
    with pytest.raises(ToolError, match="changed since it was read"):
        edit_file(ctx, "a", "one", "1")
    read_file(ctx, "a")
    edit_file(ctx, "a", "one", "1")
    edit_file(ctx, "a", "TWO", "2")  # its own edits count as read
    assert file.read_text() == "1\n2\n"


def test_files_outside_of_the_workspace_are_not_edited(ctx: ToolContext, tmp_path: Path) -> None:
    (tmp_path / "project/a.txt").write_text("one")
    assert read_file(ctx, "a.txt").text == "one"
    with pytest.raises(ToolError, match="outside of the workspace"):
        edit_file(ctx, "a.txt", "one", "two")


def test_files_are_listed_in_order_and_paged(ctx: ToolContext, workspace: Path) -> None:
    for name in ("b.py", "a.txt", "sub/c.py", ".hidden/x", ".dot"):
        (workspace / name).parent.mkdir(exist_ok=True)
        (workspace / name).write_text(name)
    (workspace / "link").symlink_to(workspace / "b.py")
    assert [f.path for f in list_files(ctx).files] == ["a.txt", "b.py", "sub/c.py"]
    assert [f.path for f in list_files(ctx, pattern="*.py").files] == ["b.py", "sub/c.py"]
    page = list_files(ctx, offset=1, limit=1)
    assert [f.path for f in page.files] == ["b.py"] and (page.total, page.next_offset) == (3, 2)
    with pytest.raises(ToolError, match="not a folder"):
        list_files(ctx, "b.py")


def test_a_command_runs_in_the_workspace(ctx: ToolContext, workspace: Path) -> None:
    done = run_command(ctx, "echo hello > made; cat made; echo wrong >&2; exit 3")
    assert (done.exit_code, done.output, done.timed_out) == (3, "hello\nwrong\n", False)
    assert run_command(ctx, ["printf", "%s", "a b; $HOME"]).output == "a b; $HOME"


def test_a_commands_long_output_is_in_a_file(ctx: ToolContext) -> None:
    done = run_command(ctx, "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done")
    assert len(done.output) < 17_000 and "characters left out" in done.output
    assert Path(done.output_path).read_text().endswith("line 19999\n")


def test_a_command_that_takes_too_long_is_ended(ctx: ToolContext) -> None:
    done = run_command(ctx, "echo begun; sleep 60", timeout=0.5)
    assert (done.exit_code, done.output, done.timed_out) == (124, "begun\n", True)


def test_without_a_sandbox_no_command_runs(ctx: ToolContext) -> None:
    ctx.services.run_in_sandbox = None
    with pytest.raises(ToolError, match="no sandbox"):
        run_command(ctx, "true")


def test_nothing_of_the_workspace_is_left_half_written(
    ctx: ToolContext, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file(ctx, "a", "old")

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(ToolError, match="cannot be written: No space left"):
        write_file(ctx, "a", "new")
    assert [p.name for p in workspace.iterdir()] == ["a"] and (workspace / "a").read_text() == "old"


def test_subprocess_results_without_output(ctx: ToolContext) -> None:
    ctx.services.run_in_sandbox = lambda argv, timeout: subprocess.CompletedProcess(argv, 0, None, None)
    assert run_command(ctx, "true").output == ""


def test_an_empty_list_says_where_the_files_are(ctx: ToolContext, workspace: Path, tmp_path: Path) -> None:
    assert list_files(ctx).note == ""
    (tmp_path / "project" / "sums.jsonl").write_text("{}")
    found = list_files(ctx)
    assert not found.files and f"list_files({str(tmp_path / 'project')!r})" in found.note
    assert "sums.jsonl" in found.note and "inspect_dataset" in found.note
    assert list_files(ctx, pattern="*.csv").note == ""
    (workspace / "own.txt").write_text("x")
    assert list_files(ctx).note == ""


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            "Traceback\nFileNotFoundError: [Errno 2] No such file or directory: 'sums.jsonl'",
            "split_dataset('sums",
        ),
        (
            "FileNotFoundError: [Errno 2] No such file or directory: '/data/sums.jsonl'",
            "inspect_dataset('sums",
        ),
        (
            "FileNotFoundError: [Errno 2] No such file or directory: '/x/own.txt'",
            "it lies there as 'own.txt'",
        ),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'none.jsonl'", ""),
        ("ValueError: No such file", ""),
        ("FileNotFoundError: [Errno 2] No such file or directory: '../../etc/passwd'", ""),
    ],
    ids=["relative", "absolute", "in-the-workspace", "nowhere", "another", "outside"],
)
def test_a_file_that_a_cell_did_not_find_is_pointed_to(
    ctx: ToolContext, workspace: Path, tmp_path: Path, error: str, told: str
) -> None:
    (tmp_path / "project" / "sums.jsonl").write_text("{}")
    (workspace / "own.txt").write_text("x")
    found = missing_file(error, ctx.files)
    assert told in found and bool(found) == bool(told)
