"""Runs a command as an ordinary user, where the tests run as root.

    argv = as_ordinary_user([sys.executable, "-c", "..."], folders=[tmp_path / "mine"])
    subprocess.run(argv, ...)

Such a user has no rights, no control group and a home of its own that ends with the command. What root keeps
in closed folders (the Python that runs here, a test's temporary folder) stays closed to it, so the command
gets a mount namespace in which exactly the paths that it needs are open.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import pytest

USER = 65_533
HOME = "/mnt"
"""In its own namespace only: a tmpfs that belongs to the user."""

REPOSITORY = Path(__file__).resolve().parents[2]

# $1: user. Then the closed folders, "--", the paths to open again below them, "--", the command.
# Each path is moved aside before the closed folder above it is covered, and back afterwards.
ENTER = """
set -e
umask 022
user=$1; shift
mount -t tmpfs -o mode=0755 ordinary /mnt
closed=; while [ "$1" != -- ]; do closed="$closed $1"; shift; done; shift
n=0
for path; do
  [ "$path" = -- ] && break
  n=$((n+1))
  if [ -d "$path" ]; then mkdir /mnt/$n; else : > /mnt/$n; fi
  mount --bind "$path" /mnt/$n
done
for folder in $closed; do mount -t tmpfs -o mode=0755 ordinary "$folder"; done
n=0
while [ "$1" != -- ]; do
  n=$((n+1))
  if [ -d /mnt/$n ]; then mkdir -p "$1"; else mkdir -p "${1%/*}"; [ -e "$1" ] || : > "$1"; fi
  mount --bind /mnt/$n "$1"
  shift
done
shift
umount -R /mnt
mount -t tmpfs -o mode=0755 ordinary /mnt
mkdir /mnt/tmp
chown -R "$user:$user" /mnt
exec setpriv --reuid "$user" --regid "$user" --clear-groups --inh-caps=-all "$@"
"""


def as_ordinary_user(argv: Sequence[str], folders: Iterable[Path] = (), user: int = USER) -> list[str]:
    """The argv that runs `argv` as a user without rights; skips the test where that cannot be done.

    The environment is a fresh one: name what the command needs with ``env NAME=VALUE`` in front of it.

    Args:
        argv: The command. The repository and the running Python are readable for it.
        folders: Become the user's: reachable at their path, owned and writable with all that is in them.
        user: The user's number.
    """
    if problem := _problem():
        pytest.skip(problem)
    folders = [folder.resolve() for folder in folders]
    for folder in folders:
        _give(folder, user)
    paths = [*map(str, _needed()), *map(str, folders)]
    closed = sorted({folder for path in paths if (folder := _closed_above(Path(path)))})
    inner = [path for path in paths if _closed_above(Path(path))]
    own = {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": HOME,
        "TMPDIR": f"{HOME}/tmp",
        "USER": "ordinary",
        "LOGNAME": "ordinary",
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
    }
    variables = [f"{name}={value}" for name, value in own.items()]
    enter = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", ENTER, "ordinary"]
    return ["env", "-i", *variables, *enter, str(user), *closed, "--", *inner, "--", *argv]


@lru_cache(maxsize=1)
def _problem() -> str:
    if os.geteuid() != 0:
        return "only root can become an ordinary user"
    missing = [name for name in ("unshare", "setpriv", "mount") if shutil.which(name) is None]
    if missing:
        return f"{' and '.join(missing)} (util-linux) is not installed"
    trial = ["unshare", "--mount", "--propagation", "private", "mount", "-t", "tmpfs", "trial", HOME]
    done = subprocess.run(trial, capture_output=True, text=True, check=False)
    return f"no mount namespace can be made here ({done.stderr.strip()})" if done.returncode else ""


def _needed() -> list[Path]:
    """The repository and what the running Python needs."""
    folders = [REPOSITORY, *map(Path, (sys.prefix, sys.base_prefix))]
    return list(dict.fromkeys(path.resolve() for path in folders))


def _closed_above(path: Path) -> str:
    """The first folder on the way that others may not pass; nothing where all are open."""
    for folder in reversed(path.parents):
        if folder.stat().st_mode & 0o001 == 0:
            return str(folder)
    return ""


def _give(path: Path, user: int) -> None:
    os.chown(path, user, user, follow_symlinks=False)
    for place, folders, files in os.walk(path):
        for name in (*folders, *files):
            os.chown(Path(place, name), user, user, follow_symlinks=False)
