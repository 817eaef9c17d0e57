"""Which paths tools may touch: read in the workspace and where the person pointed, write in the workspace."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from ml_intern.errors import ToolError


class Closed(ToolError):
    """A path that is there and that nobody opens to tools."""


class Files:
    """Resolves the paths that a brain writes.

    Reading is allowed under the workspace, the folder the person started from, the roots that the settings
    name, and any path that stands in the person's own prompt; never below a hidden folder such as ``.ssh``.
    Writing is allowed in the workspace.

    Args:
        workspace: The folder the intern works in.
        project: The folder the person started from.
        roots: Further folders to read.
        closed: Folders and files that are never read, wherever they lie: the state folder with its sealed
            items and other sessions, the settings with their keys.
        open: What is read in spite of that: this session's own datasets and jobs.
    """

    def __init__(
        self,
        workspace: Path,
        project: Path,
        roots: Iterable[Path] = (),
        closed: Iterable[Path] = (),
        open: Iterable[Path] = (),
    ) -> None:
        self.workspace = workspace.resolve()
        self.closed = [c.resolve() for c in closed]
        self.open = [self.workspace, *(o.resolve() for o in open)]
        self.project = project.resolve()
        self.roots = [self.workspace, self.project, *(r.expanduser().resolve() for r in roots)]

    def allow_from(self, prompt: str) -> None:
        """Add the paths that the person named in a prompt."""
        for word in re.findall(r"[^\s'\"`,;()<>]+", prompt):
            path = _existing(self.project, word.rstrip(".:!?"))
            if path and path != self.project and path not in self.project.parents:
                self.roots.append(path)

    def readable(self, name: str | Path) -> Path:
        """The path to read, absolute.

        Raises:
            ToolError: It does not exist, or it lies where tools may not read.
        """
        path = _existing(self.workspace, name) or _existing(self.project, name)
        if path is None:
            raise ToolError(
                f"There is no file {str(name)!r}.",
                f"Relative names start in {self.workspace} or {self.project}.",
            )
        if _below(path, self.closed) and not _below(path, self.open):
            raise Closed(
                f"{str(name)!r} is closed to all tools: sealed items, settings, keys and other sessions are.",
                "Go on without it; evaluate() measures on what is sealed.",
            )
        if not self.may_read(path):
            raise ToolError(
                f"{str(name)!r} lies outside of what tools may read.",
                "Name the path in the prompt, or add its folder to the setting data_dirs.",
            )
        return path

    def close(self, path: Path) -> None:
        """Never read this file again."""
        self.closed.append(path.resolve())

    def may_read(self, path: Path) -> bool:
        """Whether tools may read a path; links must be resolved before."""
        if _below(path, self.closed) and not _below(path, self.open):
            return False
        roots = [r for r in (*self.roots, *self.open) if _below(path, [r])]
        return any(not _has_hidden_part(path, r) for r in roots)

    def may_enter(self, folder: Path) -> bool:
        """Whether something that tools may read can lie below a folder."""
        return self.may_read(folder.resolve()) or any(folder.resolve() in o.parents for o in self.open)

    def writable(self, name: str | Path) -> Path:
        """The path to write in the workspace, absolute; its folder is made.

        Raises:
            ToolError: It lies outside of the workspace.
        """
        try:
            path = (self.workspace / Path(name).expanduser()).resolve()
            if self.workspace not in path.parents:
                raise ToolError(
                    f"{str(name)!r} lies outside of the workspace.", f"Write below {self.workspace}."
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            os.path.lexists(path)
        except (OSError, ValueError, RuntimeError) as error:
            told = getattr(error, "strerror", None) or error
            raise ToolError(f"{str(name)[:100]!r} cannot be written: {told}.", "Choose another.") from None
        return path


def _below(path: Path, folders: Iterable[Path]) -> bool:
    return any(path == folder or folder in path.parents for folder in folders)


def _has_hidden_part(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _existing(folder: Path, name: str | Path) -> Path | None:
    """The path that a name stands for; nothing where there is none, or no path can be called so."""
    try:
        path = (folder / Path(name).expanduser()).resolve()
        return path if path.exists() else None
    except (OSError, RuntimeError, ValueError):  # too long, "~5 minutes", a zero byte
        return None
