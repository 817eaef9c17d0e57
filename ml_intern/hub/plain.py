"""A downloaded snapshot as plain files.

huggingface_hub keeps the bytes in one folder and makes a snapshot of links to them. A job behind walls sees
the snapshot's folder alone, where such links lead nowhere; so the files get hard links in a folder of their
own.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def without_links(snapshot: Path) -> Path:
    """The folder with the snapshot's files as plain files; made once a commit, at no cost in bytes.

    Args:
        snapshot: ``.../models--owner--name/snapshots/COMMIT``.
    """
    plain = snapshot.parent.parent / "plain" / snapshot.name
    for file in (f for f in snapshot.rglob("*") if f.is_file()):
        target = plain / file.relative_to(snapshot)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            _place(file.resolve(), target)
    return plain


def _place(source: Path, target: Path) -> None:
    fresh = target.with_name(f"{target.name}.{os.getpid()}.new")
    fresh.unlink(missing_ok=True)
    try:
        fresh.hardlink_to(source)
    except OSError:
        # Another file system, or one without hard links.
        shutil.copyfile(source, fresh)
    fresh.replace(target)
