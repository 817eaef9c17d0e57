"""Control groups of sandboxes that live beside each other. They need a machine that lets us make some."""

from __future__ import annotations

import os
import subprocess
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
