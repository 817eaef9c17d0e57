"""What can go wrong with a page, each as one line with a hint."""

from __future__ import annotations

from ml_intern.errors import ToolError


class WebError(ToolError):
    """A page could not be had.

    Attributes:
        status: The HTTP status that was answered, if one was.
        body: The beginning of what came with it.
    """

    def __init__(self, message: str, hint: str = "", status: int | None = None, body: bytes = b"") -> None:
        super().__init__(message, hint)
        self.status = status
        self.body = body


class Blocked(WebError):
    """An address that no tool may reach: private, or with a scheme, port or password that is not allowed."""


class NotCached(WebError):
    """Offline, and the cache does not hold the page."""


class Missing(WebError):
    """The server says that there is no such page."""


class Throttled(WebError):
    """The server asks for more patience than a call has."""


class Unreachable(WebError):
    """No answer came: no network, no such host, a timeout, or errors of the server again and again."""


class TooLarge(WebError):
    """The answer is longer than the call takes."""


class BadAnswer(WebError):
    """An answer that cannot be read: malformed, truncated, redirected in circles."""
