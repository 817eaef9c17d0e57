"""What an item looks like when somebody has hidden it: in base64, in hexadecimal, in rot13, backwards.

The items are disguised, once, not the training rows undressed each time. A row in base64 begins at any of
three offsets against an item inside it, so each item has three such forms; the few characters at its ends
that depend on its neighbours are cut off. Case, line breaks and the URL-safe alphabet do not matter, as only
letters are compared. What is compressed, encrypted or encoded twice is not found.
"""

from __future__ import annotations

import base64
import codecs
from collections.abc import Iterator

HEAD = 600
"""Characters of an item that are disguised: enough to know it by."""


def disguises(text: str) -> Iterator[tuple[str, str]]:
    """The kind of each disguise and the item in it."""
    head = text[:HEAD]
    yield "in rot13", codecs.encode(head, "rot13")
    yield "backwards", head[::-1]
    yield "in hexadecimal", head.encode().hex()
    for offset in range(3):
        coded = base64.b64encode(b"\0" * offset + head.encode()).decode().rstrip("=")
        yield "in base64", coded[4 if offset else 0 : -2]
