"""One repository of the embedded Hub: its settings, its refs, its history, and how a commit comes into it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.hub.names import Problem, RepoName, file_path, looks_like_commit, ref_name
from ml_intern.hub.objects import Entry, write_atomic
from ml_intern.hub.trees import Commit

if TYPE_CHECKING:
    from ml_intern.hub.storage import Storage

MAIN = "main"


@dataclass(frozen=True)
class Add:
    """Put a file at a path."""

    path: str
    entry: Entry


@dataclass(frozen=True)
class Delete:
    """Remove a file, or a folder with all that is in it."""

    path: str
    folder: bool = False


Operation = Add | Delete


class Repo:
    """One repository."""

    def __init__(self, storage: Storage, name: RepoName) -> None:
        self.storage = storage
        self.name = name
        self.folder = storage.folder(name)

    def require(self) -> None:
        """Raise ``RepoNotFound`` unless it exists."""
        if not (self.folder / "repo.json").is_file():
            raise Problem("RepoNotFound", f"There is no {self.name.kind} {self.name.id}.")

    @property
    def settings(self) -> dict[str, Any]:
        """``private``, ``created`` and what else was set."""
        return self._read("repo.json")

    def update(self, **changes: Any) -> None:
        """Change settings."""
        with self.storage.lock(self.name):
            self._write("repo.json", {**self.settings, **changes})

    @property
    def refs(self) -> dict[str, Any]:
        """``branches`` and ``pulls`` by name, ``tags`` with target and message."""
        return self._read("refs.json")

    def head(self, revision: str = MAIN) -> str:
        """The commit that a branch, tag, pull request or (short) commit id names.

        Raises:
            Problem: ``RevisionNotFound``.
        """
        refs = self.refs
        if revision.startswith("refs/pr/"):
            found = refs["pulls"].get(revision.removeprefix("refs/pr/"))
        else:
            name = revision.removeprefix("refs/heads/").removeprefix("refs/tags/")
            found = refs["branches"].get(name) or refs["tags"].get(name, {}).get("target")
        if found is None and looks_like_commit(revision):
            matches = [p.stem for p in (self.folder / "commits").glob(f"{revision}*.json")]
            found = matches[0] if len(matches) == 1 else None
        if found is None:
            raise Problem("RevisionNotFound", f"{self.name.id} has no revision {revision!r}.")
        return str(found)

    def commit(self, revision: str = MAIN) -> Commit:
        """The commit that a revision names."""
        return _load_commit(self.folder / "commits" / f"{self.head(revision)}.json")

    def history(self, revision: str = MAIN) -> Iterator[Commit]:
        """Commits from the newest to the first."""
        oid: str | None = self.head(revision)
        while oid:
            commit = _load_commit(self.folder / "commits" / f"{oid}.json")
            yield commit
            oid = commit.parents[0] if commit.parents else None

    def last_changes(self, revision: str, paths: Iterable[str]) -> dict[str, Commit]:
        """The newest commit that changed each path (a file or a folder)."""
        wanted, found = set(paths), dict[str, Commit]()
        commits = list(self.history(revision))
        for commit, before in zip(commits, [*commits[1:], None], strict=True):
            same = {p for p in wanted if before is not None and _id_at(commit, p) == _id_at(before, p)}
            found.update(dict.fromkeys(wanted - same, commit))
            wanted = same
        return found

    def push(
        self,
        revision: str,
        operations: Iterable[Operation],
        title: str,
        message: str,
        author: str,
        parent: str | None,
    ) -> Commit:
        """Commit to a branch or a pull request, all or nothing.

        Raises:
            Problem: ``StaleParent`` when `parent` is given and is not the newest commit.
        """
        with self.storage.lock(self.name):
            self.require()
            where, key = self._movable(revision)
            newest = self.commit(revision)
            if parent is not None and not newest.oid.startswith(parent):
                raise Problem(
                    "StaleParent", f"{revision} is at {newest.oid}, not at {parent}: fetch and try again."
                )
            files = apply(newest.files, operations)
            commit = Commit.new(files, (newest.oid,), title, message, author, now())
            write_commit(self.folder, commit)
            self._point(where, key, commit.oid)
        return commit

    def set_ref(self, where: str, name: str, target: Any, *, new: bool = True) -> None:
        """Make a branch, a tag or a pull request's ref.

        Raises:
            Problem: ``Conflict`` when `new` and it exists.
        """
        if where != "pulls":
            ref_name(name)
        with self.storage.lock(self.name):
            self.require()
            if new and name in self.refs[where]:
                raise Problem("Conflict", f"{name!r} exists already.")
            self._point(where, name, target)

    def drop_ref(self, where: str, name: str) -> None:
        """Remove a branch or a tag; ``main`` stays."""
        if where == "branches" and name == MAIN:
            raise Problem("Forbidden", "The branch 'main' cannot be deleted.")
        with self.storage.lock(self.name):
            refs = self.refs
            if refs[where].pop(name, None) is None:
                raise Problem("RevisionNotFound", f"{self.name.id} has no {name!r} to delete.")
            self._write("refs.json", refs)

    def squash(self, branch: str, message: str, author: str) -> Commit:
        """Replace a branch's history by one commit with the same files."""
        with self.storage.lock(self.name):
            where, key = self._movable(branch)
            commit = Commit.new(self.commit(branch).files, (), message, "", author, now())
            write_commit(self.folder, commit)
            self._point(where, key, commit.oid)
        return commit

    def path_of(self, entry: Entry) -> Path:
        """Where a file's bytes are."""
        return self.storage.objects.path(entry.sha256)

    def _movable(self, revision: str) -> tuple[str, str]:
        refs = self.refs
        if revision.startswith("refs/pr/") and (number := revision.removeprefix("refs/pr/")) in refs["pulls"]:
            return "pulls", number
        name = revision.removeprefix("refs/heads/")
        if name in refs["branches"]:
            return "branches", name
        raise Problem("RevisionNotFound", f"{self.name.id} has no branch {revision!r}.")

    def _point(self, where: str, name: str, target: Any) -> None:
        refs = self.refs
        refs[where][name] = target
        self._write("refs.json", refs)

    def _read(self, name: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.folder / name).read_text())
        except (FileNotFoundError, NotADirectoryError):
            raise Problem("RepoNotFound", f"There is no {self.name.kind} {self.name.id}.") from None
        return found

    def _write(self, name: str, value: Any) -> None:
        write_atomic(self.folder / name, json.dumps(value).encode())


def apply(files: Any, operations: Iterable[Operation]) -> dict[str, Entry]:
    """The files after some operations.

    Raises:
        Problem: A file to delete is not there, or a path is both file and folder.
    """
    after: dict[str, Entry] = dict(files)
    for operation in operations:
        path = file_path(operation.path.rstrip("/") if isinstance(operation, Delete) else operation.path)
        if isinstance(operation, Add):
            after[path] = operation.entry
            continue
        gone = (
            [p for p in after if p.startswith(f"{path}/")]
            if operation.folder
            else [p for p in (path,) if p in after]
        )
        if not gone:
            raise Problem("EntryNotFound", f"A file with this name doesn't exist: {path!r}.")
        for name in gone:
            del after[name]
    clash = next((p for p in after if any(a in after for a in _ancestors(p))), None)
    if clash:
        raise Problem("BadRequest", f"{clash!r} lies below a path that is a file.")
    return after


def _ancestors(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _id_at(commit: Commit, path: str) -> str | None:
    entry = commit.files.get(path)
    return entry.oid if entry else commit.folders.get(path)


def write_commit(folder: Path, commit: Commit) -> None:
    """Put a commit among the others; nothing refers to it yet."""
    (folder / "commits").mkdir(exist_ok=True)
    write_atomic(folder / "commits" / f"{commit.oid}.json", commit.dump())


@lru_cache(maxsize=64)
def _load_commit(path: Path) -> Commit:
    """Commits never change, so that a few are worth keeping."""
    return Commit.load(path.read_text())


def now() -> int:
    """Seconds since the epoch."""
    return int(time.time())
