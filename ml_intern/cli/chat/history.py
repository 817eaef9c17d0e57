"""What the person wrote before: a file of the state folder that nobody else reads, without credentials."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from prompt_toolkit.history import FileHistory

from ml_intern.secrets.masking import mask

FILE = "chat_history"
MOST_BYTES = 1 << 20
"""A longer file is cut to its newer half."""


class MaskedHistory(FileHistory):
    """Keeps lines in `FILE`. A file that cannot be written is no reason to stop a chat.

    Args:
        state: The state folder.
    """

    def __init__(self, state: Path) -> None:
        self._path = state / FILE
        with suppress(OSError):
            state.mkdir(parents=True, exist_ok=True)
            os.close(self._open())
            self._shorten()
        super().__init__(str(self._path))

    def append_string(self, string: str) -> None:
        """Remember it, as it is shown: without credentials."""
        super().append_string(mask(string))

    def load_history_strings(self) -> Iterable[str]:
        """The newest first."""
        with suppress(OSError):
            return super().load_history_strings()
        return []

    def store_string(self, string: str) -> None:
        """Write it down."""
        with suppress(OSError):
            os.close(self._open())
            super().store_string(string)

    def _open(self) -> int:
        found = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        os.fchmod(found, 0o600)
        return found

    def _shorten(self) -> None:
        data = self._path.read_bytes()
        if len(data) > MOST_BYTES:
            newer = data[-MOST_BYTES // 2 :]
            self._path.write_bytes(newer[newer.find(b"\n#") + 1 :])
