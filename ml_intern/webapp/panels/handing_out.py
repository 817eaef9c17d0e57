"""Copies of files for a browser to fetch, each below a name that nobody can guess, for an hour.

Gradio serves what lies in its own cache to everybody who is logged in and knows the path; so a path is handed
only to the page that asked for it, and what was handed out is removed again.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO

from ml_intern.errors import ToolError, UsageError
from ml_intern.workspace.safe_files import open_file

KEPT_S = 3600.0
MOST_BYTES = 8 << 30
"""What one download may have, packed or not."""
_MARK = "ml-intern-"
_PACKED = re.compile(r".*\.(safetensors|parquet|gz|zip|png|jpg|bin|arrow)", re.I)


class Counter:
    """Where copies are made and removed again.

    Args:
        cache: Gradio's own folder for files that it serves.
    """

    def __init__(self, cache: Path) -> None:
        self.cache = cache

    def file(self, root: Path, path: Path) -> Path:
        """A copy of a file below `root`; links are not followed.

        Raises:
            ToolError: It is none, or gone.
            UsageError: It is too large.
        """
        with os.fdopen(open_file(root, path), "rb") as source:
            _check_size(os.fstat(source.fileno()).st_size)
            with self._fresh(path.name).open("xb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
                return Path(target.name)

    def text(self, name: str, text: str) -> Path:
        """A text as a file."""
        path = self._fresh(name)
        path.write_text(text, encoding="utf-8", errors="replace")
        return path

    def packed(self, name: str, root: Path, paths: Iterable[Path], base: Path) -> Path:
        """Files below `root` as one zip; one that is gone or no file by now is left out.

        Args:
            name: Of the zip.
            root: Below it no link is followed.
            paths: The files.
            base: The names in the zip begin here.

        Raises:
            UsageError: They are too large.
        """
        target = self._fresh(name)
        total = 0
        try:
            with zipfile.ZipFile(target, "x", allowZip64=True) as archive:
                for path in paths:
                    with suppress(ToolError), os.fdopen(open_file(root, path), "rb") as source:
                        total += os.fstat(source.fileno()).st_size
                        _check_size(total)
                        _add(archive, path.relative_to(base), source)
        except BaseException:
            shutil.rmtree(target.parent, ignore_errors=True)
            raise
        return target

    def _fresh(self, name: str) -> Path:
        self.tidy()
        folder = self.cache / f"{_MARK}{secrets.token_hex(16)}"
        folder.mkdir(parents=True, mode=0o700)
        return folder / (re.sub(r"[^\w.,@+=()\[\] -]", "_", name)[-120:].lstrip(".") or "file")

    def tidy(self) -> None:
        """Remove what was handed out long ago."""
        for folder in self.cache.glob(f"{_MARK}*"):
            with suppress(OSError):
                if time.time() - folder.stat().st_mtime > KEPT_S:
                    shutil.rmtree(folder, ignore_errors=True)


def human_size(size: float) -> str:
    """``1.5 MB``."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} GB"


def _check_size(size: int) -> None:
    if size > MOST_BYTES:
        raise UsageError(
            f"That is more than {MOST_BYTES >> 30} GiB.", "Take it from the session's folder on the machine."
        )


def _add(archive: zipfile.ZipFile, inside: Path, source: IO[bytes]) -> None:
    """Weights and pictures are packed already: they are stored as they are."""
    named = inside.as_posix().encode("utf-8", "replace").decode()
    entry = zipfile.ZipInfo(named, time.localtime()[:6])
    entry.compress_type = zipfile.ZIP_STORED if _PACKED.fullmatch(inside.name) else zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    with archive.open(entry, "w", force_zip64=True) as target:
        shutil.copyfileobj(source, target, 1 << 20)
