"""What a cell that failed is told beside its error."""

from __future__ import annotations

import re
from pathlib import Path

from ml_intern.errors import ToolError
from ml_intern.workspace.files import Files

_MISSING = re.compile(r"No such file or directory:? ?'([^'\n]{1,300})'")


def missing_file(error: str, files: Files | None) -> str:
    """Where a file is that a cell did not find: cells see the workspace, tools the person's folder, too."""
    found = None if files is None else _MISSING.search(error.rstrip().rpartition("\n")[2])
    if found is None or files is None:
        return ""
    name = found[1]
    if Path(name).is_absolute():
        name = Path(name).name  # a place that was guessed
    try:
        path = files.readable(name)
    except (ToolError, OSError, ValueError):
        return ""
    if path.is_relative_to(files.workspace):
        return (
            f"Cells start in {files.workspace}; it lies there as {str(path.relative_to(files.workspace))!r}."
        )
    return (
        f"{path.name!r} lies in {path.parent}, which cells do not see. Tools read it: "
        f"inspect_dataset({name!r}) or split_dataset({name!r}, …) where it is a table, read_file({name!r}) "
        "where it is text."
    )
