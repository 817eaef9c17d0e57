"""The embedded Hub's storage: repositories as folders, content by its hash, history as immutable files.

    root/objects/…                      every file's bytes, once
    root/repos/models/NAMESPACE/NAME/   repo.json  refs.json  commits/OID.json  discussions/N.json
    root/collections/NAMESPACE/SLUG.json
    root/locks/…                        one lock a repository, shared by all servers on this root

A commit becomes visible by one rename of ``refs.json``; everything it needs was written and flushed before.
So a kill at any moment leaves the state before the commit or the state after it.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ml_intern.hub.names import Kind, Problem, RepoName
from ml_intern.hub.objects import STALE_S, Objects, flush_folder, write_atomic
from ml_intern.hub.repository import MAIN, Repo, now, write_commit
from ml_intern.hub.trees import Commit

LARGE_SUFFIXES = (
    *("7z", "bz2", "gz", "lz4", "rar", "tar", "tgz", "xz", "zip", "zst"),
    *("arrow", "avro", "msgpack", "npy", "npz", "parquet"),
    *("bin", "ckpt", "ftz", "gguf", "h5", "joblib", "model", "onnx", "ot", "pb", "pickle", "pkl"),
    *("pt", "pth", "safetensors", "tflite", "wasm"),
)
GITATTRIBUTES = "".join(f"*.{s} filter=lfs diff=lfs merge=lfs -text\n" for s in LARGE_SUFFIXES).encode()


class Storage:
    """All repositories under one root. Safe for threads and for several servers at one time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("repos", "locks", "trash"):
            (root / name).mkdir(parents=True, exist_ok=True)
        self.objects = Objects(root)
        self._sweep()

    @property
    def secret(self) -> bytes:
        """What upload addresses are signed with; made once for a root."""
        path = self.root / "secret"
        if not path.exists():
            handle, name = tempfile.mkstemp(dir=self.root)  # mode 0600
            with os.fdopen(handle, "wb") as file:
                file.write(secrets.token_bytes(32))
            with _existing_is_fine():
                os.link(name, path)
            Path(name).unlink()
        return path.read_bytes()

    def create(self, name: RepoName, *, private: bool, author: str, **extra: Any) -> Repo:
        """Make a repository with a first commit.

        Raises:
            Problem: ``Conflict`` when it exists.
        """
        folder = self.folder(name)
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=self.root / "trash"))
        first = Commit.new(
            {".gitattributes": self.objects.put(GITATTRIBUTES)}, (), "initial commit", "", author, now()
        )
        write_commit(made, first)
        write_atomic(made / "repo.json", json.dumps({"private": private, "created": now(), **extra}).encode())
        write_atomic(
            made / "refs.json", json.dumps({"branches": {MAIN: first.oid}, "tags": {}, "pulls": {}}).encode()
        )
        with self.lock(name):
            if folder.exists():
                shutil.rmtree(made)
                raise Problem("Conflict", "You already created this repo.")
            made.rename(folder)
            flush_folder(folder.parent)
        return Repo(self, name)

    def get(self, name: RepoName) -> Repo:
        """An existing repository.

        Raises:
            Problem: ``RepoNotFound``.
        """
        repo = Repo(self, name)
        repo.require()
        return repo

    def list(self, kind: Kind) -> Iterator[Repo]:
        """Every repository of a kind, by name."""
        for path in sorted((self.root / "repos" / f"{kind}s").glob("*/*/repo.json")):
            yield Repo(self, RepoName(kind, path.parent.parent.name, path.parent.name))

    def delete(self, name: RepoName) -> None:
        """Remove a repository: gone at once, its files a moment later."""
        with self.lock(name):
            self.get(name)
            trash = Path(tempfile.mkdtemp(dir=self.root / "trash"))
            self.folder(name).rename(trash / "repo")
        shutil.rmtree(trash, ignore_errors=True)

    def move(self, name: RepoName, to: RepoName) -> None:
        """Rename a repository."""
        first, second = sorted({name, to}, key=str) if name != to else (name, None)
        with self.lock(first), self.lock(second) if second else _nothing():
            self.get(name)
            target = self.folder(to)
            if target.exists():
                raise Problem("Conflict", f"{to.id} exists already.")
            target.parent.mkdir(parents=True, exist_ok=True)
            self.folder(name).rename(target)

    @contextmanager
    def lock(self, name: RepoName) -> Iterator[None]:
        """Only one writer of a repository."""
        with self.locked(f"{name.kind}--{name.namespace}--{name.name}"):
            yield

    @contextmanager
    def locked(self, what: str) -> Iterator[None]:
        """Only one writer of something, over threads and processes; a dead holder's lock is free."""
        with (self.root / "locks" / what).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _sweep(self) -> None:
        """Finish the deletions that a kill interrupted, a day later: another server may be at work."""
        for left in (self.root / "trash").iterdir():
            with suppress(FileNotFoundError):  # who put it there has just cleared it away
                if time.time() - left.stat().st_mtime > STALE_S:
                    shutil.rmtree(left, ignore_errors=True)

    def folder(self, name: RepoName) -> Path:
        """Where a repository is, or would be."""
        return self.root / "repos" / f"{name.kind}s" / name.namespace / name.name


@contextmanager
def _existing_is_fine() -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        pass


@contextmanager
def _nothing() -> Iterator[None]:
    yield
