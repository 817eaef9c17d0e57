"""Files of the workspace, and commands in the sandbox."""

from __future__ import annotations

import difflib
import fnmatch
import hashlib
import itertools
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ml_intern.context import ToolContext
from ml_intern.data.loading import TABLE_SUFFIXES, kind_of
from ml_intern.errors import ToolError
from ml_intern.evals.carried import withheld
from ml_intern.tooling import tool
from ml_intern.workspace import safe_files
from ml_intern.workspace.editing import How, edit
from ml_intern.workspace.files import Files

PAGE_CHARS = 16_000
LINE_CHARS = 4_000
READ_BYTES = 256 << 20
EDIT_BYTES = 16 << 20
READ_AGAIN = "Read it again, then edit."
CUT_OFF = "Look at what is there of its work before you run it again."
READ_FILES = "files read"
"""Key in the session's notes: path to the hash of what was last read or written."""


@dataclass(frozen=True)
class FileLines:
    """Lines of a file. `next_start` is where to read on, None at the end."""

    path: str
    text: str
    start: int
    lines: int
    total_lines: int
    next_start: int | None


@dataclass(frozen=True)
class WrittenFile:
    """A file that was written."""

    path: str
    bytes: int
    lines: int


@dataclass(frozen=True)
class EditedFile:
    """A file that was edited: how many places, the first line touched, what had to be allowed, the change."""

    path: str
    places: int
    line: int
    note: str
    diff: str


@dataclass(frozen=True)
class FileEntry:
    """A file below a folder."""

    path: str
    bytes: int


@dataclass(frozen=True)
class FileList:
    """Files in the order of their paths. `next_offset` is where to list on, None at the end.

    Where nothing was found, `note` says where files may be.
    """

    folder: str
    files: list[FileEntry]
    total: int
    next_offset: int | None
    note: str = ""


@dataclass(frozen=True)
class CommandResult:
    """How a command ended. Where `output` is head and tail, `output_path` has the whole."""

    exit_code: int
    output: str
    output_path: str
    seconds: float
    timed_out: bool


@tool(effect="read")
def read_file(
    ctx: ToolContext,
    path: str,
    start: Annotated[int, Field(ge=1)] = 1,
    lines: Annotated[int, Field(ge=1, le=5000)] = 400,
) -> FileLines:
    """Read a text file by lines; what a sealed evaluation holds out is withheld.

    Args:
        path: In the workspace, or where the person pointed.
        start: First line, counted from 1.
        lines: How many lines at the most; a page also ends at 16,000 characters.
    """
    file = ctx.files.readable(path)
    if file.stat().st_size > READ_BYTES:
        raise ToolError(f"{path!r} is larger than {READ_BYTES >> 20} MB.", "Open it in a cell.")
    taken: list[str] = []
    total, room = 0, PAGE_CHARS
    digest = hashlib.sha256()
    with os.fdopen(_open(ctx, file), "rb") as stream:
        for total, raw in enumerate(stream, 1):
            digest.update(raw)
            if start <= total < start + lines and room > 0:
                line = _shown_line(raw, total)
                room -= len(line)
                if room >= 0 or not taken:
                    taken.append(line)
    if start > max(total, 1):
        raise ToolError(f"{path!r} has {total} lines, there is no line {start}.")
    _remember(ctx, file, digest.hexdigest())
    after = start + len(taken)
    taken = withheld(ctx.evals, taken, start, kind_of(file) in TABLE_SUFFIXES or file.suffix == ".txt")
    return FileLines(str(file), "".join(taken), start, len(taken), total, after if after <= total else None)


@tool(effect="write", repeatable="the same text is written")
def write_file(ctx: ToolContext, path: str, content: str) -> WrittenFile:
    """Write a text file in the workspace; an existing one is replaced.

    Args:
        path: In the workspace; folders are made.
        content: The whole text.
    """
    file = ctx.files.writable(path)
    data = content.encode()
    safe_files.write_file(ctx.files.workspace, file, data)
    _remember(ctx, file, hashlib.sha256(data).hexdigest())
    return WrittenFile(str(file), len(data), len(content.splitlines()))


def _edited(ctx: ToolContext, key: str) -> EditedFile | None:
    """What became of an edit that a crash cut off, by what stands in the file now."""
    noted = ctx.receipt.read()
    if noted is None:
        return None
    found = EditedFile(**noted["result"])
    file = ctx.files.writable(found.path)
    now = hashlib.sha256(_whole(ctx, file)).hexdigest()
    if now == noted["after"]:
        _remember(ctx, file, now)
        return found
    if now == noted["before"]:
        _remember(ctx, file, now)  # the workspace may have been put back since it was noted
        return None
    raise ToolError(f"Nobody knows whether {file.name!r} was edited: it is another file now.", READ_AGAIN)


@tool(effect="write", reconcile=_edited)
def edit_file(ctx: ToolContext, path: str, old: str, new: str, how: How = "replace") -> EditedFile:
    """Change a passage of a text file in the workspace.

    Args:
        path: In the workspace.
        old: The passage as it stands in the file, once, unless `how` is "all"; part of a line will do.
        new: What comes in its place, or beside it.
        how: "replace" the one place, "all" places, or put `new` "before" or "after" the one place.
    """
    file = ctx.files.writable(ctx.files.readable(path))
    data = _whole(ctx, file)
    seen = ctx.services.notes.get(READ_FILES, {}).get(str(file))
    was = hashlib.sha256(data).hexdigest()
    if seen and seen != was:
        raise ToolError(f"{path!r} changed since it was read.", READ_AGAIN)
    before = _decoded(data, path)
    done = edit(before, old, new, how)
    changed = done.text.encode()
    digest = hashlib.sha256(changed).hexdigest()
    result = EditedFile(str(file), done.places, done.line, done.note, _diff(before, done.text))
    ctx.receipt.write(before=was, after=digest, result=asdict(result))
    safe_files.write_file(ctx.files.workspace, file, changed)
    _remember(ctx, file, digest)
    return result


@tool(effect="read")
def list_files(
    ctx: ToolContext,
    path: str = ".",
    pattern: str = "*",
    offset: Annotated[int, Field(ge=0)] = 0,
    limit: Annotated[int, Field(ge=1, le=2000)] = 200,
) -> FileList:
    """List the files below a folder; hidden ones are left out.

    Args:
        path: In the workspace, or where the person pointed.
        pattern: Shell pattern for the path below the folder, such as "*.py" or "data/*.jsonl".
        offset: How many to pass over.
        limit: How many to give.
    """
    folder = ctx.files.readable(path)
    if not folder.is_dir():
        raise ToolError(f"{path!r} is not a folder.", "read_file reads a file.")
    found = sorted(entry for entry in _files_below(ctx.files, folder) if fnmatch.fnmatch(entry[0], pattern))
    page = [FileEntry(name, size) for name, size in found[offset : offset + limit]]
    after = offset + len(page)
    note = "" if found else _elsewhere(ctx.files, folder, pattern)
    return FileList(str(folder), page, len(found), after if after < len(found) else None, note)


def _elsewhere(files: Files, folder: Path, pattern: str) -> str:
    """Where the files are that somebody looked for in vain."""
    project = files.project
    if folder == project or not files.may_read(project):
        return ""
    some = itertools.islice(_files_below(files, project), 1000)
    there = sorted(name for name, _ in some if fnmatch.fnmatch(name, pattern))
    if not there:
        return ""
    shown = ", ".join(there[:5]) + (" …" if len(there) > 5 else "")
    return (
        f"Nothing here. The person's folder has {shown}: list_files({str(project)!r}). Tools take their names"
        " (inspect_dataset and split_dataset tables, read_file text); open() in a cell does not see them."
    )


def _ran(ctx: ToolContext, key: str) -> CommandResult | None:
    """What became of a command that a crash cut off; it ended with the process that had started it."""
    noted = ctx.receipt.read()
    if noted is None:
        return None
    if noted["result"]:
        return CommandResult(**noted["result"])
    if ctx.services.anew():
        return None
    raise ToolError("The command was cut off: the process that had started it ended.", CUT_OFF)


@tool(effect="write", reconcile=_ran)
def run_command(
    ctx: ToolContext,
    command: str | list[str],
    timeout: Annotated[float, Field(gt=0, le=3600)] = 120,
) -> CommandResult:
    """Run a command in the sandbox, in the workspace, without network.

    Args:
        command: A line for the shell, or a list of words that is run as it is.
        timeout: Seconds after which it is ended.
    """
    argv = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
    if not argv:
        raise ToolError("The command is empty.")
    run = ctx.services.run_in_sandbox
    if run is None:
        raise ToolError("This session has no sandbox for commands.")
    began = time.monotonic()
    ctx.receipt.write(result=None)
    try:
        done = run(argv, timeout)
        code, text, late = done.returncode, done.stdout or "", False
    except subprocess.TimeoutExpired as stopped:
        code, text, late = 124, _as_text(stopped.output), True
    seconds = round(time.monotonic() - began, 3)
    shown, where = _page_output(ctx, text)
    result = CommandResult(code, shown, where, seconds, late)
    ctx.receipt.write(result=asdict(result))
    return result


def _open(ctx: ToolContext, file: Path) -> int:
    """A regular file, opened so that a cell cannot swap it meanwhile."""
    workspace = ctx.files.workspace
    root = workspace if workspace in file.parents else file.parent
    return safe_files.open_file(root, file)


def _whole(ctx: ToolContext, file: Path) -> bytes:
    with os.fdopen(_open(ctx, file), "rb") as stream:
        data = stream.read(EDIT_BYTES + 1)
    if len(data) > EDIT_BYTES:
        raise ToolError(f"{file.name!r} is larger than {EDIT_BYTES >> 20} MB.", "Change it in a cell.")
    return data


def _decoded(data: bytes, path: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ToolError(f"{path!r} is not UTF-8 text (byte {error.start}).", "Open it in a cell.") from None


def _shown_line(raw: bytes, number: int) -> str:
    if b"\0" in raw:
        raise ToolError("The file is not text.", "Open it in a cell.")
    line = raw.decode("utf-8", "replace")
    if len(line) <= LINE_CHARS:
        return line
    return f"{line[:LINE_CHARS]}… (line {number} has {len(line)} characters; read the rest in a cell)\n"


def _remember(ctx: ToolContext, file: Path, digest: str) -> None:
    ctx.services.notes[READ_FILES] = {**ctx.services.notes.get(READ_FILES, {}), str(file): digest}


def _diff(before: str, after: str) -> str:
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=2))[2:]
    more = f"\n… {len(lines) - 60} more lines" if len(lines) > 60 else ""
    return "\n".join(line[:300] for line in lines[:60]) + more


def _files_below(allowed: Files, folder: Path) -> Iterator[tuple[str, int]]:
    for parent, folders, files in os.walk(folder):
        folders[:] = [n for n in folders if not n.startswith(".") and allowed.may_enter(Path(parent, n))]
        for name in files:
            file = Path(parent, name)
            plain = file.is_file() and not file.is_symlink()
            if not name.startswith(".") and plain and allowed.may_read(file.resolve()):
                yield str(file.relative_to(folder)), file.stat().st_size


def _page_output(ctx: ToolContext, text: str) -> tuple[str, str]:
    if len(text) <= PAGE_CHARS:
        return text, ""
    file = ctx.files.writable(f"command_outputs/{ctx.call}.txt")
    safe_files.write_file(ctx.files.workspace, file, text.encode("utf-8", "replace"))
    half = PAGE_CHARS // 2
    left = f"… {len(text) - 2 * half} characters left out; the whole text is in {file} …"
    return f"{text[:half]}\n{left}\n{text[-half:]}", str(file)


def _as_text(output: str | bytes | None) -> str:
    return output.decode("utf-8", "replace") if isinstance(output, bytes) else output or ""
