"""Reads a ``.env`` file with suspicion: it may have come with a project that somebody else wrote."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

FILE = ".env"
LARGEST = 64 << 10
"""A file of names and keys is small; a larger one is something else."""


def read_env_file(path: Path) -> dict[str, str]:
    """Names and values; empty where there is no such file, or a folder of that name (a virtual environment).

    Raises:
        ValueError: It is not read; says why.
    """
    try:
        return _parse(_text_of(path))
    except (FileNotFoundError, IsADirectoryError):
        return {}
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from None


def _text_of(path: Path) -> str:
    """A small regular file of the person's own, read without following a link.

    Raises:
        OSError: It cannot be opened.
        ValueError: It is something else; says what.
    """
    if path.is_symlink():
        raise ValueError("it is a link")
    if path.is_dir():
        raise IsADirectoryError
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is no plain file")
        if found.st_uid not in (os.geteuid(), 0):
            raise ValueError("it belongs to another user")
        if found.st_mode & stat.S_IWOTH:
            raise ValueError("everybody may write it (chmod o-w .env)")
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST >> 10} kB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None


def _parse(text: str) -> dict[str, str]:
    """Names and values as python-dotenv reads them; ``${NAME}`` stays as it stands, and nothing is run."""
    from dotenv.parser import parse_stream

    found: dict[str, str] = {}
    for line in parse_stream(io.StringIO(text)):
        value = (line.value or "").strip()
        if line.key and not line.error:
            found[line.key] = value
    return found
