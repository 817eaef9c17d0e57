from __future__ import annotations

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from ml_intern.hub.names import Problem, RepoName
from ml_intern.hub.repository import Add, Delete, Repo
from ml_intern.hub.storage import Storage
from ml_intern.hub.trees import Commit

NAME = RepoName.of("model", "local", "m")


@pytest.fixture
def repo(root: Path) -> Repo:
    return Storage(root).create(NAME, private=False, author="local")


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_ids_are_those_of_git(root: Path, tmp_path: Path) -> None:
    files = {
        "a.txt": b"a",
        "b/c.txt": b"c",
        "b/d/e": b"e",
        "b.txt": b"x",
        "b-c/f": b"f",
        "z\xe9": b"",
        "a/b": b"q",
    }
    files.pop("a/b")
    storage = Storage(root)
    entries = {path: storage.objects.put(data) for path, data in files.items()}
    ours = Commit.new(entries, (), "title", "more", "local", 1_700_000_000)
    env = {
        **os.environ,
        "GIT_AUTHOR_NAME": "local",
        "GIT_AUTHOR_EMAIL": "local@ml-intern.invalid",
        "GIT_AUTHOR_DATE": "1700000000 +0000",
        "GIT_COMMITTER_NAME": "local",
        "GIT_COMMITTER_EMAIL": "local@ml-intern.invalid",
        "GIT_COMMITTER_DATE": "1700000000 +0000",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_SYSTEM": "/dev/null",
    }
    work = tmp_path / "git"
    for path, data in files.items():
        (work / path).parent.mkdir(parents=True, exist_ok=True)
        (work / path).write_bytes(data)

    def git(*argv: str) -> str:
        done = subprocess.run(["git", *argv], cwd=work, env=env, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "-q")
    git("add", "-A")
    git("commit", "-q", "-m", "title", "-m", "more")
    assert git("rev-parse", "HEAD^{tree}") == ours.folders[""]
    assert git("rev-parse", "HEAD:b/d") == ours.folders["b/d"]
    assert git("rev-parse", "HEAD") == ours.oid


def test_a_commit_survives_being_written_and_read() -> None:
    commit = Commit.new({}, ("a" * 40,), "title", "mes\nsage", "ada", 5)
    again = Commit.load(commit.dump().decode())
    assert again == commit and again.oid == commit.oid


def test_two_servers_may_share_a_root(root: Path, repo: Repo) -> None:
    storages = [Storage(root) for _ in range(4)]

    def push(i: int) -> str:
        one = storages[i % 4].get(NAME)
        return one.push("main", [Add(f"{i}", one.storage.objects.put(b"x"))], str(i), "", "local", None).oid

    with ThreadPoolExecutor(8) as pool:
        oids = set(pool.map(push, range(32)))
    assert len(oids) == 32 and len(repo.commit().files) == 33


def test_creating_at_the_same_time_makes_one(root: Path) -> None:
    def create(_: int) -> bool:
        try:
            Storage(root).create(NAME, private=True, author="local")
        except Problem as problem:
            assert problem.code == "Conflict"
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(create, range(8))) == 1


def test_what_others_clear_away_meanwhile_is_no_matter(root: Path) -> None:
    Storage(root)
    done = Event()

    def come_and_go() -> None:
        while not done.is_set():
            folders = [root / "trash" / str(number) for number in range(20)]
            for folder in folders:
                folder.mkdir()
            for folder in folders:
                folder.rmdir()

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(come_and_go)
        try:
            for _ in range(300):
                Storage(root)
        finally:
            done.set()
        other.result()


def test_the_same_content_is_stored_once(root: Path, repo: Repo) -> None:
    for i in range(3):
        repo.push("main", [Add(f"{i}", repo.storage.objects.put(b"same"))], "t", "", "local", None)
    found = [p for p in (root / "objects").rglob("*") if p.is_file() and p.read_bytes() == b"same"]
    assert len(found) == 1


def test_deleting_a_folder_takes_what_is_below_and_no_neighbour(repo: Repo) -> None:
    entry = repo.storage.objects.put(b"x")
    repo.push("main", [Add(p, entry) for p in ("d/a", "d/e/b", "dd/c")], "t", "", "local", None)
    repo.push("main", [Delete("d/", folder=True)], "t", "", "local", None)
    assert set(repo.commit().files) == {".gitattributes", "dd/c"}


def test_secrets_and_leftovers(root: Path) -> None:
    storage = Storage(root)
    assert storage.secret == Storage(root).secret and len(storage.secret) == 32
    assert (root / "secret").stat().st_mode & 0o077 == 0
    old = root / "tmp" / "old"
    old.write_bytes(b"x")
    os.utime(old, (1, 1))
    fresh = root / "tmp" / "fresh"
    fresh.write_bytes(b"x")
    Storage(root)
    assert not old.exists() and fresh.exists()


@pytest.mark.parametrize(
    "name", ["", "a b", "a..b", "/a", "-a", "refs/x", "a.lock", "f" * 40, "a\nb", "a~1", "x/"]
)
def test_names_that_git_would_refuse(repo: Repo, name: str) -> None:
    for where in ("branches", "tags"):
        with pytest.raises(Problem):
            repo.set_ref(where, name, repo.head())
