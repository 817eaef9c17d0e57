"""The workspace before each cell: looked at, put back, and what recorded calls bring back."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from ml_intern.workspace.snapshots import Snapshots, moved_on

Open = Callable[..., Snapshots]
Tree = dict[str, str]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "a workspace"
    folder.mkdir()
    return folder


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def process(tmp_path: Path, work: Path, told: list[str]) -> Open:
    """`process()` is what the next process of the session knows of its workspace."""
    (tmp_path / "session").mkdir()

    def make(files: int = 1000, size: int = 1 << 20) -> Snapshots:
        return Snapshots(tmp_path / "session", work, files, size, told.append)

    return make


def tree(folder: Path) -> Tree:
    """What is there, in words; without our own folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        kind = (
            f"-> {path.readlink()}" if path.is_symlink() else "folder" if path.is_dir() else path.read_text()
        )
        mode = "" if path.is_symlink() else f" {path.stat().st_mode & 0o777:o} {path.stat().st_mtime_ns}"
        found[name] = kind + ("" if kind == "folder" else mode)
    return found


def fill(work: Path) -> None:
    (work / "in" / "deep").mkdir(parents=True)
    (work / "in" / "deep" / "one").write_text("one")
    (work / "log").write_text("begun\n")
    (work / "run").write_text("#!/bin/sh")
    (work / "run").chmod(0o755)
    (work / "link").symlink_to("in/deep")
    (work / "odd \n\udcff").write_text("odd")


def test_a_cell_that_was_cut_begins_with_the_files_as_they_were(work: Path, process: Open) -> None:
    fill(work)
    before = tree(work)
    process().before_cell(3)
    (work / "log").open("a").write("half\n")
    (work / "new" / "er").mkdir(parents=True)
    (work / "new" / "er" / "file").write_text("new")
    (work / "run").chmod(0o600)
    (work / "in" / "deep" / "one").unlink()
    (work / "in" / "deep").rmdir()
    (work / "in" / "deep").write_text("a file where a folder was")
    (work / "link").unlink()
    (work / "link").mkdir()
    process().resume(3)
    assert tree(work) == before


def test_a_change_that_leaves_size_and_time_is_seen(work: Path, process: Open) -> None:
    (work / "counter").write_text("1")
    snapshots = process()
    snapshots.before_cell(1)
    times = (work / "counter").stat().st_mtime_ns
    (work / "counter").write_text("2")
    os.utime(work / "counter", ns=(times, times))
    snapshots.after_cell(1, False)
    snapshots.before_cell(2)
    (work / "counter").write_text("3")
    process().resume(2)
    assert (work / "counter").read_text() == "2"


def test_what_a_call_wrote_comes_back_when_it_is_answered(work: Path, process: Open) -> None:
    (work / "log").write_text("")
    snapshots = process()
    snapshots.before_cell(1)
    (work / "log").write_text("from the cell\n")
    with snapshots.around("key", "write"):
        (work / "log").write_text("edited\n")
        (work / "folder").mkdir()
        (work / "folder" / "made").write_text("made")
    (work / "log").open("a").write("after\n")

    again = process()
    again.resume(1)
    assert tree(work).keys() == {"log"} and (work / "log").read_text() == "" and again.again
    again.before_cell(1)
    (work / "log").write_text("from the cell\n")
    again.call_again("key")
    assert (work / "log").read_text() == "edited\n" and (work / "folder" / "made").read_text() == "made"
    again.after_cell(1, False)
    again.call_again("key")
    assert not again.again


def test_what_a_call_had_written_when_it_was_cut_comes_back_if_it_has_happened(
    work: Path, process: Open
) -> None:
    snapshots = process()
    snapshots.before_cell(1)
    with pytest.raises(KeyboardInterrupt), snapshots.around("key", "publish"):
        (work / "card").write_text("published")
        raise KeyboardInterrupt
    lines = (work.parent / "session" / "snapshots" / "history.jsonl").read_text().splitlines(keepends=True)
    assert '"result"' in lines[-1]
    (work.parent / "session" / "snapshots" / "history.jsonl").write_text("".join(lines[:-1]))

    for _ in range(2):  # the second time after a crash in between
        again = process()
        again.resume(1)
        assert tree(work) == {}
    again.before_cell(1)
    with again.around("key", "publish"):
        again.call_again("key")
    assert (work / "card").read_text() == "published"
    assert process()._past.calls["key"].entries.keys() == {"card"}


def test_finished_cells_begin_at_the_beginning_and_meet_the_same_changes(work: Path, process: Open) -> None:
    (work / "log").write_text("of the person\n")
    snapshots = process()
    snapshots.before_cell(1)
    (work / "log").open("a").write("one\n")
    snapshots.after_cell(1, False)
    (work / "log").open("a").write("between\n")
    snapshots.before_cell(2)
    (work / "lost").write_text("of a cell that killed its kernel")
    snapshots.after_cell(2, True)
    snapshots.before_cell(3)
    (work / "log").open("a").write("three\n")
    snapshots.after_cell(3, False)
    end = tree(work)

    again = process()
    again.resume(0)
    assert again.hold()
    again.rewind([1, 2, 3])
    assert (work / "log").read_text() == "of the person\n" and not (work / "lost").exists()
    again.come_to(1, False)
    (work / "log").open("a").write("one\n")
    again.come_to(2, True)
    assert (work / "log").read_text() == "of the person\none\nbetween\n" and (work / "lost").exists()
    cut = process()  # the process was killed while cells ran again
    cut.resume(0)
    assert tree(work) == end and not cut.again
    again.release()
    assert tree(work) == end


def test_links_and_pipes_of_a_hostile_workspace(work: Path, process: Open, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("not for cells")
    (work / "folder").mkdir()
    (work / "folder" / "file").write_text("ours")
    snapshots = process()
    snapshots.before_cell(1)
    (work / "folder" / "file").unlink()
    (work / "folder").rmdir()
    (work / "folder").symlink_to(outside)
    (work / "peek").symlink_to(outside / "secret")
    os.mkfifo(work / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(work / "socket"))
        with snapshots.around("key", "write"):
            (work / "made").write_text("by the call")
        again = process()
        again.resume(1)
        assert tree(work).keys() == {"folder", "folder/file"}
    (work / "folder" / "file").unlink()
    (work / "folder").rmdir()
    (work / "folder").symlink_to(outside)
    again.release()
    again.resume(1)
    assert {path.name for path in outside.iterdir()} == {"secret"}
    kept = (work.parent / "session" / "snapshots" / "objects").iterdir()
    assert all(b"not for cells" not in path.read_bytes() for path in kept)


def test_folders_without_end_are_not_covered_and_go_away_again(
    work: Path, process: Open, told: list[str]
) -> None:
    (work / "log").write_text("begun\n")
    process().before_cell(1)
    folder = os.open(work, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("x", dir_fd=folder)
        folder, outer = os.open("x", os.O_RDONLY, dir_fd=folder), folder
        os.close(outer)
    os.close(folder)
    (work / "log").write_text("half\n")
    process().resume(1)
    assert tree(work).keys() == {"log"} and (work / "log").read_text() == "begun\n"
    assert len([text for text in told if "64 deep" in text]) == 1


@pytest.mark.parametrize("limit", ["files", "bytes"])
def test_above_the_limits_it_is_told_once_and_nothing_is_put_back(
    work: Path, process: Open, told: list[str], limit: str
) -> None:
    for n in range(20):
        (work / f"{n}").write_text("x" * 1000)
    limits = {"files": 10} if limit == "files" else {"size": 10_000}
    snapshots = process(**limits)
    for step in (1, 2):
        snapshots.before_cell(step)
        (work / "log").open("a").write("half\n")
    assert len(told) == 1 and "not kept" in told[0]
    again = process(**limits)
    again.resume(2)
    assert (work / "log").read_text() == "half\nhalf\n" and not again.again and not again.hold()
    assert any("may be there twice" in text for text in told[1:])


def test_what_a_person_changed_is_kept_aside(work: Path, process: Open, told: list[str]) -> None:
    (work / "notes").write_text("before")
    process().before_cell(4)
    (work / "notes").write_text("mended by hand")
    process().resume(4)
    assert (work / "notes").read_text() == "before"
    [kept] = (work.parent / "session" / "put-back").iterdir()
    assert (kept / "notes").read_text() == "mended by hand" and str(kept) in told[-1]


def test_undoing_has_the_last_word(work: Path, process: Open) -> None:
    (work / "log").write_text("before the turn")
    snapshots = process()
    snapshots.before_cell(1)
    (work / "log").write_text("of the turn")
    snapshots.after_cell(1, False)
    again = process()
    assert again.hold()
    again.rewind([1])  # and the process is killed
    (work / "log").write_text("before the turn")
    moved_on(work.parent / "session", work)
    process().resume(0)
    assert (work / "log").read_text() == "before the turn"


def test_contents_that_nobody_needs_any_more_go(work: Path, process: Open) -> None:
    snapshots = process()
    for step in range(1, 30):
        snapshots.before_cell(step)
        (work / "checkpoint").write_text(f"{step}" * 1000)
        snapshots.after_cell(step, False)
    objects = work.parent / "session" / "snapshots" / "objects"
    assert len(list(objects.iterdir())) <= 3
    (objects / "half.part").write_text("left by a kill")
    process()
    assert not (objects / "half.part").exists()


def test_a_history_that_grows_too_long_is_forgotten_and_cut_cells_are_still_put_back(
    work: Path, process: Open
) -> None:
    snapshots = process(size=10_000)
    for step in range(1, 8):
        snapshots.before_cell(step)
        with snapshots.around(f"key {step}", "write"):
            (work / "data").write_text(f"{step}" * 5000)
        snapshots.after_cell(step, False)
    assert len(list((work.parent / "session" / "snapshots" / "objects").iterdir())) <= 6
    again = process(size=10_000)
    assert again.hold()
    again.rewind([*range(1, 8)])
    assert (work / "data").read_text() == "7" * 5000  # cells run again in the workspace as it is
    again.release()
    again.before_cell(8)
    (work / "data").write_text("half")
    process(size=10_000).resume(8)
    assert (work / "data").read_text() == "7" * 5000


def test_another_workspace_is_not_put_to_what_this_one_was(
    work: Path, process: Open, tmp_path: Path, told: list[str]
) -> None:
    (work / "mine").write_text("mine")
    process().before_cell(1)
    other = tmp_path / "other"
    other.mkdir()
    (other / "theirs").write_text("theirs")
    Snapshots(tmp_path / "session", other, 1000, 1 << 20, told.append).resume(1)
    assert tree(other).keys() == {"theirs"}


def test_a_half_written_line_counts_as_none(work: Path, process: Open) -> None:
    (work / "log").write_text("begun\n")
    process().before_cell(1)
    history = work.parent / "session" / "snapshots" / "history.jsonl"
    with history.open("a") as file:
        file.write('{"at": "done", "name"')
    (work / "log").write_text("half\n")
    again = process()
    again.resume(1)
    again.before_cell(1)
    assert (work / "log").read_text() == "begun\n"
    assert process()._past.before("1") is not None


def test_a_history_with_a_gap_counts_as_none(work: Path, process: Open) -> None:
    snapshots = process()
    for step in (1, 2, 3):
        (work / "log").write_text(f"{step}")
        snapshots.before_cell(step)
    history = work.parent / "session" / "snapshots" / "history.jsonl"
    lines = history.read_text().splitlines(keepends=True)
    history.write_text("".join(lines[:2] + lines[3:]))
    (work / "log").write_text("half")
    process().resume(3)
    assert (work / "log").read_text() == "half"


@pytest.mark.parametrize(
    "entry",
    [
        '{"../outside": ["file", 420, 0, 1, "%s"]}' % ("0" * 64),
        '{"/outside": ["folder", 493, 0, 0, ""]}',
        '{"inside": ["file", 420, 0, 1, "../../secret"]}',
        '{"inside": ["file", "x", 0, 1]}',
        '["inside"]',
    ],
    ids=["above", "absolute", "no hash", "no number", "a list"],
)
def test_a_history_that_makes_no_sense_counts_as_none(work: Path, process: Open, entry: str) -> None:
    process().before_cell(1)
    history = work.parent / "session" / "snapshots" / "history.jsonl"
    with history.open("a") as file:
        file.write(f'{{"n": 1, "at": "cell", "name": "2", "set": {entry}}}\n')
    (work / "log").write_text("half")
    process().resume(2)
    assert tree(work.parent).keys() >= {"a workspace/log"} and not (work.parent / "outside").exists()


def test_a_workspace_behind_a_link(work: Path, tmp_path: Path, told: list[str]) -> None:
    (tmp_path / "link").symlink_to(work)
    (tmp_path / "session").mkdir()
    for _ in range(2):
        snapshots = Snapshots(tmp_path / "session", tmp_path / "link", 1000, 1 << 20, told.append)
        snapshots.resume(1)
        assert tree(work) == {}
        snapshots.before_cell(1)
        (work / "log").write_text("half")


def test_where_nothing_can_be_written_the_run_goes_on(work: Path, process: Open, told: list[str]) -> None:
    (work.parent / "session" / "snapshots").write_text("in the way")
    snapshots = process()
    snapshots.before_cell(1)
    (work / "log").write_text("x")
    with snapshots.around("key", "write"):
        (work / "log").write_text("y")
    snapshots.after_cell(1, False)
    assert len(told) == 1 and (work / "log").read_text() == "y"
