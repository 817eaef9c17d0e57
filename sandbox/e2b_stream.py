"""What comes over the link out of a sandbox, as messages; nothing of it is trusted."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from ml_intern.errors import InternError

LINE = 200
"""Longest header."""

MARK = 4096
MESSAGE = 64 << 20
"""Longest message in bytes: a report of very many files."""

WORDS = 8192


@cache
def failures() -> tuple[type[Exception], ...]:
    """What E2B's client raises when a request fails, also when the connection breaks under it."""
    from connectrpc.errors import ConnectError
    from e2b.exceptions import AuthenticationException, SandboxException, ServiceBusyException
    from httpx import HTTPError

    return SandboxException, AuthenticationException, ServiceBusyException, ConnectError, HTTPError, OSError


class Broken(Exception):
    """The stream does not say what it should."""


@dataclass(frozen=True)
class End:
    """How a command ended, and the last of what it wrote to its output file.

    Attributes:
        code: Negative for a signal.
        words: The end of its error stream.
        size: Of its output file, in bytes.
        tail: The end of that file.
        reason: Why, where it is not the command's own doing: the sandbox is gone, say.
    """

    code: int
    words: str = ""
    size: int = 0
    tail: bytes = b""
    reason: str = ""

    @classmethod
    def of(cls, payload: str) -> End:
        """As the other end tells it."""
        told = json.loads(payload)
        tail = base64.b64decode(told["end"])
        return cls(int(told["code"]), str(told["words"])[-WORDS:], int(told["size"]), tail)


class Reply:
    """What comes of a request."""

    def __init__(self) -> None:
        self._here = threading.Event()
        self._told: dict[str, Any] = {}

    @property
    def here(self) -> bool:
        """It has come."""
        return self._here.is_set()

    def settle(self, told: dict[str, Any]) -> None:
        """It came."""
        self._told = told
        self._here.set()

    def value(self, seconds: float) -> Any:
        """Wait for it.

        Raises:
            InternError: It failed inside, or did not come.
        """
        if not self._here.wait(seconds):
            raise InternError(f"The E2B sandbox did not answer within {seconds:g} s.")
        if "error" in self._told:
            raise InternError(f"The E2B sandbox could not do it: {str(self._told['error'])[:300]}.")
        return self._told.get("value")


class Parser:
    """Messages out of the text of a stream, from the mark on that a new attachment begins with.

    Args:
        nonce: What the mark has.
        held: The beginning of a message, as an earlier stream left it.
    """

    def __init__(self, nonce: str, held: str = "") -> None:
        self._mark = f"\n#{nonce} "
        self._held = held
        self._text = ""
        self._marked = False

    def rest(self, after: int) -> str:
        """What is there of the message after this one; nothing where it is not sure to be one."""
        if not self._marked:
            return self._held
        head, line, _ = self._text.partition("\n")
        return self._text if line and head.split(" ")[0] == str(after + 1) else ""

    def feed(self, text: str) -> Iterator[tuple[int, str, str]]:
        """Number, kind and payload of each message that is whole; the mark itself is of kind ``m``.

        Raises:
            Broken: This is no message.
        """
        self._text += text
        if not self._marked:
            yield from self._find_mark()
            if not self._marked:
                return
        at = 0
        while (line := self._text.find("\n", at, at + LINE)) >= 0:
            number, kind, length = self._header(self._text[at:line])
            end = line + 1 + length
            if len(self._text) <= end:
                break
            yield number, kind, self._text[line + 1 : end]
            at = end + 1
        else:
            if len(self._text) - at >= LINE:
                raise Broken("no header")
        self._text = self._text[at:]

    def _find_mark(self) -> Iterator[tuple[int, str, str]]:
        start = self._text.find(self._mark)
        if start < 0:
            self._text = self._text[-len(self._mark) :]
            return
        line = self._text.find("\n", start + 1, start + MARK)
        if line < 0:
            self._text = self._text[start : start + MARK + 1]
            if len(self._text) > MARK:
                raise Broken("no mark")
            return
        told = self._text[start + len(self._mark) : line]
        if json.loads(told).get("skip", 0) != len(self._held):
            raise Broken("another beginning")
        self._text, self._marked = self._held + self._text[line + 1 :], True
        yield 0, "m", told

    @staticmethod
    def _header(line: str) -> tuple[int, str, int]:
        parts = line.split(" ")
        if len(parts) != 3 or not (parts[0].isdecimal() and parts[2].isdecimal()):
            raise Broken("no header")
        length = int(parts[2])
        if length > MESSAGE:
            raise Broken("too long")
        return int(parts[0]), parts[1], length
