"""A disk that is full, has no inodes, is read-only or gone: one line, and the run goes on when it can."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripted_run import ANSWER

SCRIPT = Path(__file__).with_name("on_a_disk.py")
pytestmark = pytest.mark.slow
Play = Callable[[str], dict[str, Any]]
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


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What came of each scenario."""
    if not namespace():
        pytest.skip("mounting a small disk needs root or user namespaces, and util-linux")
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    folder = tmp_path_factory.mktemp("disks")
    done = subprocess.run(
        [*namespace(), sys.executable, str(SCRIPT), str(folder)],
        env={**os.environ, "PYTHONPATH": paths, "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture
def play(everything: dict[str, dict[str, Any]]) -> Callable[[str], dict[str, Any]]:
    """What came of one."""

    def one(scenario: str) -> dict[str, Any]:
        assert "failed" not in everything[scenario], everything[scenario]["failed"]
        return everything[scenario]

    return one


def check_end(first: dict[str, Any], *words: str) -> None:
    assert (first["status"], first["code"]) == ("failed", 1)
    [line] = first["errors"]
    assert "\n" not in line and all(word in line for word in words)


@pytest.mark.parametrize("scenario", ["full-0", "full-2", "full-3", "full-for-good"])
def test_a_full_disk_ends_the_run_and_it_goes_on_later(play: Play, scenario: str) -> None:
    found = play(scenario)
    check_end(found["first"], "The journal", "the disk is full", "resume")
    assert found["journal"] == ["ok", "1"]


def test_the_last_words_have_room(play: Play) -> None:
    found = play("inodes")
    assert found["first"] == {"status": "done", "code": 0, "errors": []} and found["journal"] == ["ok", "1"]


def test_writes_that_all_fail_end_the_run(play: Play) -> None:
    found = play("limited")
    check_end(found["first"], "The journal")
    assert found["journal"] == ["ok", "1"]


@pytest.mark.parametrize(
    "scenario, words, code", [("start-full", "full", 1), ("start-read-only", "Read-only", 2)]
)
def test_nothing_is_asked_where_nothing_can_be_kept(play: Play, scenario: str, words: str, code: int) -> None:
    found = play(scenario)
    assert words in found["error"] and (found["code"], found["asked"]) == (code, 0)


def test_a_removed_state_folder_ends_the_run_in_a_line(play: Play) -> None:
    found = play("removed")
    check_end(found["first"], "is gone")
    assert found["stderr"] == ""


def test_a_full_workspace_is_the_brain_s_to_mend(play: Play) -> None:
    found = play("workspace")
    assert found["first"]["status"] == "done" and found["told"]


def test_no_kernel_is_rebuilt_without_room_for_a_copy(play: Play) -> None:
    found = play("no-copy")
    check_end(found["second"], "no room", "copy of the workspace")
    assert found["log"] == "line\n"


def test_a_job_that_fills_its_disk_is_told(play: Play) -> None:
    found = play("job")
    assert found == {"state": "failed", "kind": "disk_full", "next": "succeeded", "listed": 2}


def test_a_job_that_finds_no_room_is_made_later_and_once(play: Play) -> None:
    found = play("no-job")
    assert "No space" in found["told"]
    assert (found["before"], found["after"], found["state"]) == (0, 1, "succeeded")


def test_an_upload_that_does_not_fit_leaves_the_hub_as_it_was(play: Play) -> None:
    found = play("hub")
    assert found["told"] and found["files"] == ["a.txt", "b.txt"] and found["left"] < 1 << 20


def test_the_command_says_one_line_and_resumes(play: Play) -> None:
    found = play("command")
    first, second = found["runs"]
    assert first["code"] == 1 and "the disk is full" in first["stderr"] and first["answer"] == ""
    assert "Traceback" not in first["stderr"] and len(first["stderr"].splitlines()) == 1
    assert (second["code"], second["answer"]) == (0, ANSWER) and found["keys"] == [1, 1, 1]
