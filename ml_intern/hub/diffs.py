"""What a pull request of the embedded Hub changes, as git would show it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from ml_intern.hub.objects import Entry
from ml_intern.hub.repository import Repo
from ml_intern.hub.trees import Files

LARGEST = 256 * 1024
"""Bytes of a file above which only its hashes are shown."""
MOST = 1_000_000
"""Characters of a whole diff."""


def diff(repo: Repo, before: Files, after: Files) -> str:
    """The changes from one set of files to another."""
    parts, length = [], 0
    for path in sorted({*before, *after}):
        old, new = before.get(path), after.get(path)
        if old == new:
            continue
        part = "".join(_of_file(repo, path, old, new))
        length += len(part)
        if length > MOST:
            break
        parts.append(part)
    return "".join(parts)


def conflicts(base: Files, ours: Files, theirs: Files) -> list[str]:
    """Files that both sides changed, and not in the same way."""
    changed = [p for p in sorted({*base, *theirs}) if base.get(p) != theirs.get(p)]
    return [p for p in changed if ours.get(p) not in (base.get(p), theirs.get(p))]


def _of_file(repo: Repo, path: str, old: Entry | None, new: Entry | None) -> Iterator[str]:
    yield f"diff --git a/{path} b/{path}\n"
    if old is None:
        yield "new file mode 100644\n"
    if new is None:
        yield "deleted file mode 100644\n"
    oids = [entry.oid[:10] if entry else "0" * 10 for entry in (old, new)]
    yield f"index {oids[0]}..{oids[1]}{' 100644' if old and new else ''}\n"
    texts = [_text(repo, entry) for entry in (old, new)]
    names = [f"a/{path}" if old else "/dev/null", f"b/{path}" if new else "/dev/null"]
    if None in texts:
        yield f"Binary files {names[0]} and {names[1]} differ\n"
        return
    lines = [(text or "").splitlines(keepends=True) for text in texts]
    for line in difflib.unified_diff(lines[0], lines[1], names[0], names[1]):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _text(repo: Repo, entry: Entry | None) -> str | None:
    """A file's text; None for what is none or too long."""
    if entry is None:
        return ""
    if entry.lfs or entry.size > LARGEST:
        return None
    data = repo.path_of(entry).read_bytes()
    return None if b"\0" in data else data.decode("utf-8", "replace")
