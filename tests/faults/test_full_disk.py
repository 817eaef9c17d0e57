"""A disk that is full, has no inodes, is read-only or gone: one line, and the run goes on when it can."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("on_a_disk.py")
ROOT = Path(__file__).parents[2]


@functools.cache
def namespace() -> list[str]:
    """The command that starts another with mounts of its own; nothing where this machine lets nobody."""
    for words in (["unshare", "-m"], ["unshare", "-r", "-m"]):
        if shutil.which("unshare"):
            probe = subprocess.run(
                [*words, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False
            )
            if probe.returncode == 0:
                return words
    return []


def play(scenario: str, folder: Path) -> dict[str, Any]:
    if not namespace():
        pytest.skip("mounting a small disk needs root or user namespaces, and util-linux")
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*namespace(), sys.executable, str(SCRIPT), scenario, str(folder)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def check_end(first: dict[str, Any], *words: str) -> None:
    assert (first["status"], first["code"]) == ("failed", 1)
    [line] = first["errors"]
    assert "\n" not in line and all(word in line for word in words)


@pytest.mark.parametrize("scenario", ["full-0", "full-2", "full-for-good"])
def test_a_full_disk_ends_the_run_and_it_goes_on_later(tmp_path: Path, scenario: str) -> None:
    found = play(scenario, tmp_path)
    check_end(found["first"], "The journal", "the disk is full", "resume")
    assert found["journal"] == ["ok", "1"]


@pytest.mark.parametrize("scenario", ["full-3", "inodes"])
def test_the_last_words_have_room(tmp_path: Path, scenario: str) -> None:
    found = play(scenario, tmp_path)
    assert found["first"] == {"status": "done", "code": 0, "errors": []} and found["journal"] == ["ok", "1"]


def test_writes_that_all_fail_end_the_run(tmp_path: Path) -> None:
    found = play("limited", tmp_path)
    check_end(found["first"], "The journal")
    assert found["journal"] == ["ok", "1"]


@pytest.mark.parametrize(
    "scenario, words, code", [("start-full", "full", 1), ("start-read-only", "Read-only", 2)]
)
def test_nothing_is_asked_where_nothing_can_be_kept(
    tmp_path: Path, scenario: str, words: str, code: int
) -> None:
    found = play(scenario, tmp_path)
    assert words in found["error"] and (found["code"], found["asked"]) == (code, 0)


def test_a_removed_state_folder_ends_the_run_in_a_line(tmp_path: Path) -> None:
    found = play("removed", tmp_path)
    check_end(found["first"], "is gone")
    assert found["stderr"] == ""


def test_a_full_workspace_is_the_brain_s_to_mend(tmp_path: Path) -> None:
    found = play("workspace", tmp_path)
    assert found["first"]["status"] == "done" and found["told"]


def test_no_kernel_is_rebuilt_without_room_for_a_copy(tmp_path: Path) -> None:
    found = play("no-copy", tmp_path)
    check_end(found["second"], "no room", "copy of the workspace")
    assert found["log"] == "line\n"


def test_a_job_that_fills_its_disk_is_told(tmp_path: Path) -> None:
    found = play("job", tmp_path)
    assert found == {"state": "failed", "kind": "disk_full", "next": "succeeded", "listed": 2}


def test_a_job_that_finds_no_room_is_made_later_and_once(tmp_path: Path) -> None:
    found = play("no-job", tmp_path)
    assert "No space" in found["told"]
    assert (found["before"], found["after"], found["state"]) == (0, 1, "succeeded")


def test_an_upload_that_does_not_fit_leaves_the_hub_as_it_was(tmp_path: Path) -> None:
    found = play("hub", tmp_path)
    assert found["told"] and found["files"] == ["a.txt", "b.txt"] and found["left"] < 1 << 20
