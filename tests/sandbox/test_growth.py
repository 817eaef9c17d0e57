"""What folders grow by is seen soon, however it is done, and ends what does it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.ordinary import as_ordinary_user

from ml_intern.sandbox import growth as module
from ml_intern.sandbox.base import Limits, Sandbox
from ml_intern.sandbox.growth import Growth
from ml_intern.sandbox.host import KernelHost

OPEN = Callable[..., KernelHost]
SOON_S = 30.0
"""Far more than it takes, for machines that are busy."""
USUAL = module.SELDOM_S, module.SELDOM


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each question be answered anew: these tests do not wait between two."""
    monkeypatch.setattr(module, "PAUSE_S", 0.0)
    monkeypatch.setattr(module, "REST", 0)
    # Others on the same disk may give back more than a test takes: then only the count at intervals sees it.
    monkeypatch.setattr(module, "SELDOM_S", 0.5)
    monkeypatch.setattr(module, "SELDOM", 0)


def fill(path: Path, megabytes: float) -> None:
    path.write_bytes(os.urandom(int(megabytes * (1 << 20))))


def test_what_was_there_does_not_count(tmp_path: Path) -> None:
    fill(tmp_path / "old", 8)
    watched = Growth([tmp_path], 4)
    fill(tmp_path / "new", 2)
    assert not watched.over()
    fill(tmp_path / "more", 4)
    assert seen(watched)


def test_small_files_count_by_their_number(tmp_path: Path) -> None:
    disk = os.statvfs(tmp_path)
    share = disk.f_blocks * disk.f_frsize / disk.f_files if disk.f_files else 0
    watched = Growth([tmp_path], max(4096, share) * 1000 / (1 << 20))
    for number in range(950):
        (tmp_path / str(number)).touch()
    assert not watched.over()
    for number in range(100):
        (tmp_path / f"folder-{number}").mkdir()
    assert seen(watched)


def test_a_disk_that_has_less_left_sets_the_limit(tmp_path: Path) -> None:
    watched = Growth([tmp_path], 1e12)
    disk = os.statvfs(tmp_path)
    assert watched.limit_mb * (1 << 20) < disk.f_bavail * disk.f_frsize
    assert "what the disk had left" in watched.told and not watched.over()
    assert Growth([tmp_path], 4).told == "4 MB"


def test_what_others_write_on_the_disk_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    watched = Growth([tmp_path / "ours"], 4)
    fill(tmp_path / "theirs", 16)
    assert not watched.over()


@pytest.mark.parametrize("intervals", [(0.5, 0), USUAL], ids=["often", "as usual"])
def test_what_others_free_hides_ours_not_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, intervals: tuple[float, int]
) -> None:
    monkeypatch.setattr(module, "SELDOM_S", intervals[0])
    monkeypatch.setattr(module, "SELDOM", intervals[1])
    (tmp_path / "ours").mkdir()
    fill(tmp_path / "theirs", 16)
    watched = Growth([tmp_path / "ours"], 4)
    (tmp_path / "theirs").unlink()
    fill(tmp_path / "ours/new", 8)
    assert seen(watched)


def seen(watched: Growth) -> bool:
    deadline = time.monotonic() + SOON_S
    while time.monotonic() < deadline:
        if watched.over():
            return True
        time.sleep(0.02)
    return False


def test_names_of_one_file_and_holes_do_not_count_twice(tmp_path: Path) -> None:
    watched = Growth([tmp_path], 4)
    fill(tmp_path / "file", 3)
    for number in range(5):
        os.link(tmp_path / "file", tmp_path / f"name-{number}")
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(1 << 30)
    (tmp_path / "link").symlink_to("/usr")
    fill(tmp_path.parent / "other", 4)  # so that it counts and does not only guess
    assert not watched.over()


def test_folders_in_folders_in_folders_are_seen(tmp_path: Path) -> None:
    watched = Growth([tmp_path], 4)
    dig = "import os\nfor _ in range(1500):\n    os.mkdir('folder')\n    os.chdir('folder')\n"
    dig += "open('deep', 'wb').write(os.urandom(8 << 20))"
    try:
        subprocess.run([sys.executable, "-c", dig], cwd=tmp_path, check=True)
        assert seen(watched)
    finally:
        subprocess.run(["rm", "-rf", str(tmp_path / "folder")], check=True)


@pytest.mark.parametrize(
    "held", ["file.flush()", "import mmap; m = mmap.mmap(file.fileno(), 0); file.close()"]
)
def test_a_file_without_a_name_counts_while_somebody_holds_it(tmp_path: Path, held: str) -> None:
    hold = "import os\nfile = open('file', 'w+b')\nfile.write(os.urandom(8 << 20))\nos.unlink('file')\n"
    hold += f"file.flush()\n{held}\nprint('held', flush=True)\ninput()"
    child: list[subprocess.Popen[bytes]] = []
    watched = Growth([tmp_path], 4, lambda: [c.pid for c in child])
    with subprocess.Popen(
        [sys.executable, "-c", hold], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        child.append(process)
        assert process.stdin and process.stdout and process.stdout.readline() == b"held\n"
        assert list(tmp_path.iterdir()) == [] and seen(watched)
        process.stdin.close()


def test_work_over_the_limit_can_begin_again_and_clear_up(tmp_path: Path) -> None:
    watched = Growth([tmp_path], 4)
    fill(tmp_path / "big", 8)
    assert seen(watched)
    watched.renew()
    assert not watched.over()
    fill(tmp_path / "a-little", 1)
    assert not watched.over()
    fill(tmp_path / "too-much", 24)
    assert seen(watched)
    (tmp_path / "too-much").unlink()
    (tmp_path / "big").unlink()
    watched.renew()
    fill(tmp_path / "new", 4)
    assert seen(watched)


def test_a_folder_closed_to_an_ordinary_host_hides_nothing(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    # So much that nobody beside this test frees more on the same disk before the look.
    code = f"""
import os
from pathlib import Path
from ml_intern.sandbox import growth
growth.PAUSE_S = 0
watched = growth.Growth([Path({str(mine)!r})], 4)
os.mkdir({str(mine / "closed")!r})
with open({str(mine / "closed/big")!r}, 'wb') as file:
    os.posix_fallocate(file.fileno(), 0, 512 << 20)
os.chmod({str(mine / "closed")!r}, 0)
print(watched.over())
"""
    argv = as_ordinary_user([sys.executable, "-c", code], [mine])
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd="/")
    assert done.stdout == "True\n", done.stderr


BOMBS = {
    "big files": "i = 0\nwhile True:\n    i += 1\n    open(f'big-{i}', 'wb').write(bytes(1 << 20))",
    "small files": "i = 0\nwhile True:\n    i += 1\n    open(f'small-{i}', 'w').close()",
    "folders": "import os\nwhile True:\n    os.mkdir('f')\n    os.chdir('f')",
    "no names": "import os\nkept = []\nwhile True:\n    kept.append(open('x', 'wb'))\n"
    "    kept[-1].write(bytes(8 << 20))\n    os.unlink('x')",
    "children": "import subprocess, sys\nsubprocess.run(['/bin/sh', '-c', "
    "'for n in 1 2 3; do (i=0; while :; do i=$((i+1)); head -c 1M /dev/zero > c-$n-$i; done) & done; wait'])",
}


@pytest.mark.parametrize(
    "bomb", [pytest.param(name, marks=pytest.mark.thorough if name == "folders" else []) for name in BOMBS]
)
def test_a_cell_that_fills_the_workspace_is_ended_and_told_why(
    open_kernel: OPEN, sandbox: Sandbox, bomb: str
) -> None:
    kernel = open_kernel(sandbox, limits=Limits(growth_mb=40))
    began = time.monotonic()
    ended = kernel.run(BOMBS[bomb])
    assert time.monotonic() - began < SOON_S
    assert not ended.ok and "workspace grew by more than 40 MB" in ended.error, ended
    assert "sandbox_growth_mb" in ended.error and "restarted" in ended.lost
    assert kernel.run("1 + 1").value == "2"
    if bomb == "big files":
        assert len(list(kernel.mounts.workspace.glob("big-*"))) >= 39  # the files stay
        clear = "import glob, os\nfor f in glob.glob('big-*'): os.unlink(f)\nopen('new', 'w').close()"
        assert kernel.run(clear).ok
    subprocess.run(["rm", "-rf", str(kernel.mounts.workspace / "f")], check=True)


def test_what_a_cell_left_behind_is_watched_between_cells(open_kernel: OPEN, sandbox: Sandbox) -> None:
    kernel = open_kernel(sandbox, limits=Limits(growth_mb=16))
    later = "sleep 0.3; i=0; while :; do i=$((i+1)); head -c 1M /dev/zero > late-$i; done"
    assert kernel.run(f"import subprocess\nx = 1\np = subprocess.Popen(['setsid', 'sh', '-c', '{later}'])").ok
    deadline = time.monotonic() + SOON_S
    while kernel.alive and time.monotonic() < deadline:
        time.sleep(0.05)
    again = kernel.run("1 + 1")
    assert again.value == "2" and again.lost.startswith("Between the cells, the workspace grew")
    assert "Lost" in again.lost
