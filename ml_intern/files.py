"""Which paths tools may touch: read in the workspace and where the person pointed, write in the workspace."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from ml_intern.errors import ToolError


class Files:
    """Resolves the paths that a brain writes.

    Reading is allowed under the workspace, the folder the person started from, the roots that the settings
    name, and any path that stands in the person's own prompt; never below a hidden folder such as ``.ssh``.
    Writing is allowed in the workspace.
    """

    def __init__(self, workspace: Path, project: Path, roots: Iterable[Path] = ()) -> None:
        self.workspace = workspace.resolve()
        self.project = project.resolve()
        self.roots = [self.workspace, self.project, *(r.expanduser().resolve() for r in roots)]

    def allow_from(self, prompt: str) -> None:
        """Add the paths that the person named in a prompt."""
        for word in re.findall(r"[^\s'\"`,;()<>]+", prompt):
            path = (self.project / Path(word.rstrip(".:!?")).expanduser()).resolve()
            if path != self.project and path not in self.project.parents and path.exists():
                self.roots.append(path)

    def readable(self, name: str | Path) -> Path:
        """The path to read, absolute.

        Raises:
            ToolError: It does not exist, or it lies where tools may not read.
        """
        given = Path(name).expanduser()
        choices = [given] if given.is_absolute() else [self.workspace / given, self.project / given]
        found = next((p for p in choices if p.exists()), None)
        if found is None:
            raise ToolError(
                f"There is no file {str(name)!r}.",
                f"Relative names start in {self.workspace} or {self.project}.",
            )
        path = found.resolve()
        root = next((r for r in self.roots if path == r or r in path.parents), None)
        if root is None or any(part.startswith(".") for part in path.relative_to(root).parts):
            raise ToolError(
                f"{str(name)!r} lies outside of what tools may read.",
                "Name the path in the prompt, or add its folder to the setting data_dirs.",
            )
        return path

    def writable(self, name: str | Path) -> Path:
        """The path to write in the workspace, absolute; its folder is made.

        Raises:
            ToolError: It lies outside of the workspace.
        """
        path = (self.workspace / Path(name).expanduser()).resolve()
        if self.workspace not in path.parents:
            raise ToolError(f"{str(name)!r} lies outside of the workspace.", f"Write below {self.workspace}.")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path
