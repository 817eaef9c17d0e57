"""A page that came: from the wire, or from the cache with its age."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Page:
    """An answer.

    Attributes:
        url: Where it came from, after redirects.
        status: HTTP status.
        headers: With names in small letters.
        content: The body, unpacked.
        cached: It was not fetched just now.
        age_s: Seconds since it was fetched or found unchanged.
        note: What the reader should know of its age; empty where there is nothing to say.
        data: What the caller's `parse` made of it.
    """

    url: str
    status: int
    headers: Mapping[str, str]
    content: bytes = field(repr=False)
    cached: bool = False
    age_s: float = 0.0
    note: str = ""
    data: Any = field(default=None, repr=False)

    @property
    def text(self) -> str:
        """The body as text: as it is labelled, as UTF-8 where the label is wrong, never an error."""
        label = self._charset()
        for charset in filter(None, (label, "utf-8-sig")):
            try:
                return self.content.decode(charset)
            except (UnicodeDecodeError, LookupError):
                continue
        return self.content.decode("utf-8", errors="replace")

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            ValueError: It is none.
        """
        try:
            return json.loads(self.content)
        except UnicodeDecodeError:
            return json.loads(self.text)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None

    def _charset(self) -> str:
        label = self.headers.get("content-type", "").lower().partition("charset=")[2]
        return label.partition(";")[0].strip(" \"'")


def age_in_words(seconds: float) -> str:
    """``3 days``, ``2 hours``, ``5 minutes``, ``40 seconds``."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{int(seconds)} seconds"
