"""Names that may become paths: repositories, revisions and files, checked once and before anything else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["model", "dataset", "space"]
KINDS: tuple[Kind, ...] = ("model", "dataset", "space")
PREFIXES: dict[Kind, str] = {"model": "", "dataset": "datasets/", "space": "spaces/"}

# What huggingface_hub itself refuses to send, so that every name stored here can be asked for again.
_PART = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_LONGEST = 96
_RESERVED = {"api", "lfs", "models", "datasets", "spaces"}
_OID = re.compile(r"[0-9a-f]{7,40}")


class Problem(Exception):
    """A request that cannot be served.

    Args:
        code: Word that clients branch on, such as ``RepoNotFound``.
        message: One line for people.
        commit: The commit in which something is missing, so that a client can remember that it is.
    """

    def __init__(self, code: str, message: str, commit: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.commit = commit


@dataclass(frozen=True)
class RepoName:
    """The full name of a repository."""

    kind: Kind
    namespace: str
    name: str

    @classmethod
    def of(cls, kind: str, namespace: str, name: str) -> RepoName:
        """Check the parts of a name.

        Raises:
            Problem: ``BadRequest``; the message says what is wrong.
        """
        if kind not in KINDS:
            raise Problem("BadRequest", f"{kind!r} is not a kind of repository: model, dataset or space.")
        wrong = repo_name_problem(f"{namespace}/{name}")
        if wrong:
            raise Problem("BadRequest", wrong)
        return cls(kind, namespace, name)

    @property
    def id(self) -> str:
        """``namespace/name``."""
        return f"{self.namespace}/{self.name}"

    @property
    def path(self) -> str:
        """The name as it stands in addresses: ``datasets/namespace/name``."""
        return f"{PREFIXES[self.kind]}{self.id}"


def repo_name_problem(repo: str) -> str:
    """What is wrong with ``namespace/name`` or ``name``; an empty string when nothing is."""
    parts = repo.split("/")
    if len(parts) > 2 or not all(parts):
        return f"{repo!r} is not a repository name: write 'name' or 'namespace/name'."
    if len(repo) > _LONGEST:
        return f"The repository name is {len(repo)} characters long; {_LONGEST} are allowed."
    if not all(_PART.fullmatch(p) for p in parts):
        return (
            f"{repo!r} is not a repository name: use letters, digits, '-', '_' and '.', "
            "and begin and end each part with a letter or a digit."
        )
    if "--" in repo or ".." in repo or any(p.endswith((".git", ".ipynb")) for p in parts):
        return (
            f"{repo!r} is not a repository name: '--', '..' and a final '.git' or '.ipynb' are not allowed."
        )
    if len(parts) == 2 and parts[0] in _RESERVED:
        return f"{parts[0]!r} cannot be a namespace: the Hub has other addresses there."
    return ""


def file_path(path: str) -> str:
    """A file's path inside a repository, as it may be stored.

    Raises:
        Problem: It could point outside of the folder it is later downloaded to.
    """
    parts = path.split("/")
    refused = any(p in ("", ".", "..") or p.lower() == ".git" for p in parts)
    if refused or "\\" in path or "\0" in path or len(path) > 1024 or any(ord(c) < 32 for c in path):
        raise Problem("BadRequest", f"{path!r} is not a path that a repository can hold.")
    return path


def ref_name(name: str) -> str:
    """The name of a branch or tag.

    Raises:
        Problem: Git would refuse it, or it reads like a commit.
    """
    bad = not re.fullmatch(r"[A-Za-z0-9._/+@-]{1,200}", name) or ".." in name or "//" in name
    if bad or name.startswith(("/", "-", ".", "refs/")) or name.endswith(("/", ".lock", ".")):
        raise Problem("BadRequest", f"{name!r} is not a name for a branch or a tag.")
    if re.fullmatch(r"[0-9a-f]{40}", name):
        raise Problem("BadRequest", f"{name!r} reads like a commit.")
    return name


def looks_like_commit(revision: str) -> bool:
    """Whether a revision may be a commit's id or the beginning of one."""
    return bool(_OID.fullmatch(revision))
