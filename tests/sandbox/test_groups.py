"""Control groups of sandboxes that live beside each other. They need a machine that lets us make some."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ml_intern.sandbox import cgroup
from ml_intern.sandbox.base import Limits
from ml_intern.sandbox.cgroup import ENTER, PREFIX, Groups, find_groups


@pytest.fixture
def groups() -> Groups:
    found = find_groups()
    if found is None:
        pytest.skip("no control group can be made here")
    return found


def named(groups: Groups, name: str) -> list[Path]:
    return [f / name for f in dict.fromkeys((groups.memory, groups.pids)) if (f / name).exists()]


def run(groups: Groups, *argv: str) -> int:
    return subprocess.run([*groups.enter(Limits()), *argv], check=False).returncode


def test_groups_are_found_from_many_threads_at_once(groups: Groups) -> None:
    start = threading.Barrier(8)

    def find(_: int) -> bool:
        start.wait(60)
        return find_groups() is not None

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(find, range(8))) == [True] * 8
    mine = f"{PREFIX}probe-{os.getpid()}-*"
    assert not [*groups.memory.glob(mine), *groups.pids.glob(mine)]


def test_a_sandbox_removes_its_own_groups_only(groups: Groups) -> None:
    other = find_groups()
    assert other
    assert run(groups, "true") == run(other, "true") == 0
    ours, theirs = groups.made[0], other.made[0]
    assert ours != theirs
    groups.remove()
    groups.sweep()
    assert not named(groups, ours) and named(other, theirs)
    other.remove()
    assert not named(other, theirs)


def test_a_group_in_use_stays(groups: Groups) -> None:
    words = groups.enter(Limits())
    name = groups.made[0]
    with subprocess.Popen([*words, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin and child.stdout
        child.stdin.write(b"in\n")
        child.stdin.flush()
        assert child.stdout.readline() == b"in\n"
        groups.remove()
        assert named(groups, name)
        child.stdin.close()
    groups.made.append(name)
    groups.remove()
    assert not named(groups, name)


def test_an_old_empty_group_goes_whoever_made_it(groups: Groups, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(groups, "true") == 0
    name = groups.made[0]
    groups.sweep()
    assert named(groups, name)
    monkeypatch.setattr(cgroup, "STALE_S", -1.0)
    groups.sweep()
    assert not named(groups, name)


def test_a_group_that_vanishes_on_entering_is_made_again(tmp_path: Path) -> None:
    # Stands for a control group: the first one is swept away just before it is entered.
    group, tools = tmp_path / "group", tmp_path / "tools"
    tools.mkdir()
    (tools / "mkdir").write_text(
        f'#!/bin/sh\nif [ -e {tmp_path}/once ]; then exec /bin/mkdir "$@"; fi\n: > {tmp_path}/once\n'
    )
    (tools / "mkdir").chmod(0o755)
    steps = [group, "memory.max", "5", group, "cgroup.procs", "self"]
    done = subprocess.run(
        ["/bin/sh", "-c", ENTER, "ml-intern", *map(str, steps), "--", "echo", "a b", "--", "c"],
        env={"PATH": f"{tools}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("a b -- c\n", "", 0)
    assert (group / "memory.max").read_text() == "5\n" and (group / "cgroup.procs").read_text().strip()


def test_a_group_that_cannot_be_made_ends_the_command_and_says_why(tmp_path: Path) -> None:
    steps = [str(tmp_path / "group"), "no/such", "5"]
    argv = ["/bin/sh", "-c", ENTER, "ml-intern", *steps, "--", "echo", "never"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 125 and done.stdout == "" and "no/such" in done.stderr


BUSY = """
import os, time
begun, end = os.times(), time.monotonic() + 1.5
def spin():
    while time.monotonic() < end:
        pass
for _ in range(2):
    if os.fork() == 0:
        spin()
        os._exit(0)
spin()
os.wait(), os.wait()
print(sum(os.times()[:4]) - sum(begun[:4]))
"""


def test_a_whole_group_gets_its_part_of_the_time(groups: Groups) -> None:
    if groups.cpu is None:
        pytest.skip("no cpu controller here")
    argv = [*groups.enter(Limits(cpus=0.2)), sys.executable, "-c", BUSY]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    groups.remove()
    assert float(done.stdout) < 1.0  # three processes: 1.5 at the least where nothing bounds them


# Version 2, where this machine has version 1: a tree of ordinary files in its place. It shows what is written
# where, and not that it holds.


def tree_of_version_2(root: Path, here: str, controllers: str = "cpu memory pids") -> Path:
    folder = root
    for part in (".", *Path(here).parts):
        folder = folder / part
        folder.mkdir(exist_ok=True)
        (folder / "cgroup.procs").touch()
        (folder / "cgroup.subtree_control").write_text(controllers)
    own = root / "own"
    own.write_text(f"0::/{here}\n")
    return own


def test_version_2_writes_its_limits_beside_the_own_group(tmp_path: Path) -> None:
    own = tree_of_version_2(tmp_path, "user.slice/session.scope")
    groups = find_groups(tmp_path, own)
    assert groups and groups.version == 2
    assert groups.memory == groups.pids == groups.cpu == tmp_path / "user.slice"
    argv = [*groups.enter(Limits(memory_mb=100, processes=7, cpus=0.5)), "/bin/sh", "-c", "echo $$"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    made = tmp_path / "user.slice" / groups.made[-1]
    written = {file.name: file.read_text().strip() for file in made.iterdir()}
    assert written == {
        "memory.max": str(100 << 20),
        "pids.max": "7",
        "cpu.max": "50000 100000",
        "cgroup.procs": done.stdout.strip(),
    }


def test_version_2_hands_controllers_down(tmp_path: Path) -> None:
    own = tree_of_version_2(tmp_path, "user.slice/session.scope", controllers="pids")
    find_groups(tmp_path, own)
    # The last one written stands in an ordinary file; a real one takes each.
    control = (tmp_path / "user.slice/cgroup.subtree_control").read_text()
    assert control.startswith(("+memory", "+cpu"))
    own = tree_of_version_2(tmp_path, "user.slice/session.scope")
    find_groups(tmp_path, own)
    assert (tmp_path / "user.slice/cgroup.subtree_control").read_text() == "cpu memory pids"


def test_a_container_looks_no_higher_than_its_own_root(tmp_path: Path) -> None:
    own = tree_of_version_2(tmp_path / "root", "")
    (tmp_path / "cgroup.procs").touch()
    groups = find_groups(tmp_path / "root", own)
    assert groups and groups.memory == tmp_path / "root"


def test_ordinary_folders_are_no_control_groups(tmp_path: Path) -> None:
    for kind in ("memory", "pids", "cpu"):
        (tmp_path / kind).mkdir()
    (tmp_path / "own").write_text("3:memory:/\n2:pids:/\n1:cpu:/\n0::/\n")
    assert find_groups(tmp_path, tmp_path / "own") is None
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cpu", "memory", "own", "pids"]
