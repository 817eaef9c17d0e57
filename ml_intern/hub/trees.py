"""Commits and the trees they name, with the ids that git itself would compute."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

from ml_intern.hub.objects import Entry, git_object

Files = Mapping[str, Entry]


@dataclass(frozen=True)
class Commit:
    """One state of a repository. `date` is seconds since the epoch."""

    files: Files
    parents: tuple[str, ...]
    title: str
    message: str
    author: str
    date: int
    oid: str = field(default="", compare=False)

    @classmethod
    def new(
        cls, files: Files, parents: tuple[str, ...], title: str, message: str, author: str, date: int
    ) -> Commit:
        """A commit with its id."""
        commit = cls(dict(sorted(files.items())), parents, title, message, author, date)
        return replace(commit, oid=git_object("commit", commit._git_text()))

    @classmethod
    def load(cls, text: str) -> Commit:
        """What `dump` wrote."""
        raw = json.loads(text)
        files = {path: Entry(**entry) for path, entry in raw.pop("files").items()}
        return cls(files=files, parents=tuple(raw.pop("parents")), **raw)

    def dump(self) -> bytes:
        """The commit as JSON."""
        raw: dict[str, Any] = {**vars(self), "files": {p: asdict(e) for p, e in self.files.items()}}
        raw.pop("folders", None)
        return json.dumps(raw, separators=(",", ":")).encode()

    @cached_property
    def folders(self) -> dict[str, str]:
        """The id of every folder; the whole tree is the empty string."""
        return folder_ids(self.files)

    def _git_text(self) -> bytes:
        who = f"{self.author} <{self.author}@ml-intern.invalid> {self.date} +0000"
        lines = [f"tree {self.folders['']}", *(f"parent {p}" for p in self.parents)]
        lines += [f"author {who}", f"committer {who}", "", self.title]
        body = f"\n\n{self.message}" if self.message else ""
        return ("\n".join(lines) + body + "\n").encode()


def folder_ids(files: Files) -> dict[str, str]:
    """The id that git gives to each folder of a set of files."""
    below: dict[str, dict[str, tuple[str, str]]] = {"": {}}
    for path, entry in files.items():
        folder, _, name = path.rpartition("/")
        while folder and folder not in below:
            below[folder] = {}
            folder = folder.rpartition("/")[0]
        below[path.rpartition("/")[0]][name] = ("100644", entry.oid)
    found: dict[str, str] = {}
    for folder in sorted(below, key=lambda f: f.count("/") if f else -1, reverse=True):
        found[folder] = git_object("tree", _git_tree(below[folder]))
        if folder:
            parent, _, name = folder.rpartition("/")
            below[parent][name] = ("40000", found[folder])
    return found


def _git_tree(rows: dict[str, tuple[str, str]]) -> bytes:
    """Git sorts folders as if their names ended in a slash."""
    ordered = sorted(rows.items(), key=lambda r: (r[0] + "/" if r[1][0] == "40000" else r[0]).encode())
    return b"".join(f"{mode} {name}\0".encode() + bytes.fromhex(oid) for name, (mode, oid) in ordered)
